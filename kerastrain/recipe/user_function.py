"""A function of the user, hp -> compiled keras.Model, that a search takes its models from: where it is, and what it searches.

Takes `FILE.py:FUNCTION`; returns a record, and the space of the hyperparameters that the function registers. The function runs
in another process, because it imports TensorFlow, which this module must not do.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerastrain.config import EPOCHS, Config
from kerastrain.errors import InputError, unknown
from kerastrain.system import files
from kerastrain.tuning import hyperparameters
from kerastrain.tuning.space import Space

FILE = "build.json"
"""The file in the folder of a search that names its function."""

PREFIX = "hp."
"""What the hyperparameters of a function are called in a space: `hp.units` for `hp.Int("units", 32, 256)`."""

_PROGRAM = "kerastrain.recipe.user_function_program"


@dataclass(frozen=True)
class UserFunction:
    """A function that makes compiled models from hyperparameters.

    Args:
        path: str, the absolute path of its file.
        name: str, its name in the file.
        sha256: str, the digest of the file when the search began.
        hyperparameters: mapping, those that the function registers, as `keras_tuner.HyperParameters.get_config()` has them.
        input_shape: list of int or None, the shape of a batch of inputs of the model with the default hyperparameters.
    """

    path: str
    name: str
    sha256: str
    hyperparameters: Mapping[str, Any]
    input_shape: list[int | None]

    @property
    def text(self) -> str:
        """`FILE.py:FUNCTION`."""
        return f"{self.path}:{self.name}"

    @property
    def space(self) -> Space:
        """The hyperparameters, under names that begin with `PREFIX`.

        Raises:
            InputError: the function registers none, or one twice with different values.
        """
        if not self.hyperparameters["space"]:
            raise InputError(
                f"{self.text} registers no hyperparameter. Call hp.Int, hp.Float, hp.Choice or hp.Boolean in it."
            )
        return hyperparameters.from_keras_tuner(self.hyperparameters, prefix=PREFIX)

    def require_unchanged(self) -> None:
        """Checks that the file is the one that the search began with.

        Raises:
            InputError: it is not, or it is gone.
        """
        if not Path(self.path).is_file() or _sha256(Path(self.path)) != self.sha256:
            raise InputError(
                f"{self.path} has changed since the search began, whose trials can only be compared with the same function. "
                "Restore the file, or start another search."
            )


def discover(text: str) -> UserFunction:
    """Runs a function to find out which hyperparameters it registers.

    Args:
        text: str "FILE.py:FUNCTION".

    Returns:
        UserFunction.

    Raises:
        InputError: the file or the function does not exist, the function raises an error, or it returns no compiled
            keras.Model.
    """
    name, path = _parsed(text)
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        finished = subprocess.run(
            [sys.executable, "-m", _PROGRAM, str(path), name, str(result)],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if not result.is_file():
            last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"{text} ended its process with code {finished.returncode}: {last}")
        found = files.read_json(result)
    if found["error"] is not None:
        raise InputError(found["error"])
    return UserFunction(str(path), name, _sha256(path), found["hyperparameters"], found["input_shape"])


def write(directory: Path, function: UserFunction) -> None:
    """Notes the function of a search in its folder.

    Args:
        directory: Path of the search.
        function: UserFunction.
    """
    files.write_json(directory / FILE, asdict(function))


def read(directory: Path) -> UserFunction | None:
    """Reads the function of a search.

    Args:
        directory: Path of the search.

    Returns:
        UserFunction, or None if the models are those of the config.
    """
    path = directory / FILE
    return UserFunction(**files.read_json(path)) if path.is_file() else None


def require_same(directory: Path, build: str | UserFunction | None) -> UserFunction | None:
    """Returns the function of a search that is resumed, which the user must name again.

    The folder of a search that somebody sent must not run their code: it names the function, but does not choose it.

    Args:
        directory: Path of the search.
        build: str "FILE.py:FUNCTION" or UserFunction; None for none.

    Returns:
        UserFunction, or None if the models are those of the config.

    Raises:
        InputError: `build` is not the function of the search, or its file has changed.
    """
    own, given = read(directory), build.text if isinstance(build, UserFunction) else build
    if own is None and given is None:
        return None
    if own is None:
        raise InputError(f"the search in {str(directory)!r} has no function. Received: --build {given}. Remove it.")
    if given is None:
        raise InputError(
            f"the models of the search in {str(directory)!r} are made by a function, which must be named again. Received: "
            f"none. If you trust it, add --build {own.text}"
        )
    name, path = _parsed(given)
    if (str(path), name) != (own.path, own.name):
        raise InputError(f"a search is resumed with its own function. Received: --build {given}. It is {own.text}.")
    own.require_unchanged()
    return own


def epochs(config: Config) -> int:
    """The epochs of a model of a function, which trains in one phase.

    Args:
        config: Config of the search.
    """
    return EPOCHS if config.fit.epochs is None else config.fit.epochs


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divides the values of a point.

    Args:
        values: mapping from the keys of a space to values.

    Returns:
        (dict, dict): the values of keys of the config; and those of hyperparameters of a function, by their own names.

    Example:
        >>> split({"fit.epochs": 3, "hp.units": 64})
        ({'fit.epochs': 3}, {'units': 64})
    """
    own = {key.removeprefix(PREFIX): value for key, value in values.items() if key.startswith(PREFIX)}
    return {key: value for key, value in values.items() if not key.startswith(PREFIX)}, own


def _parsed(text: str) -> tuple[str, Path]:
    file, colon, name = str(text).rpartition(":")
    if not colon or not name.isidentifier() or not file:
        raise InputError(f"a function is named FILE.py:FUNCTION, such as model.py:build. Received: {text}.")
    path = Path(os.path.abspath(file))
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = f" {unknown('file', path.name, near)}" if near else ""
        raise InputError(f"there is no file {file!r}.{hint}")
    return name, path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
