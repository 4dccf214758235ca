"""The folder of a run: made once, never overwritten, opened again by every command after training.

Takes and gives paths and records. A run holds `config.yaml` (resolved), `environment.json`, `log.txt`, `history.csv`,
`tensorboard/`, `checkpoints/`, `model.keras`, `labels.txt`, `metrics.json`, `exports/` and `report.html`; and
`quarantine.csv`, if image files were left out, and `acceleration.json`, if precision or XLA were measured.
"""

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from kerastrain import config as configs
from kerastrain import models, runtime
from kerastrain.errors import InputError
from kerastrain.hub import trust
from kerastrain.hub.layer import HubLayer
from kerastrain.system import files
from kerastrain.system.terminal import PrintableFormatter
from kerastrain.transfer import freezing

RESUME_MAY_CHANGE = (
    "fit.checkpoint_every",
    "fit.checkpoints_kept",
    "fit.on_nonfinite",
    "fit.roll_back_factor",
    "fit.roll_backs",
    "runtime.all_reduce",
    "runtime.devices",
    "runtime.start_timeout_seconds",
    "runtime.strategy",
)

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Run:
    """A finished run, opened.

    Args:
        directory: Path of its folder.
        config: Config that made it.
        model: keras.Model as it was after training.
    """

    directory: Path
    config: configs.Config
    model: keras.Model


def refuse_existing(directory: str | Path) -> Path:
    """`directory` as a Path, if nothing stands there yet.

    Raises:
        FileExistsError: a file or folder stands there; of a run that was stopped it says how to go on with it.
    """
    directory = Path(directory)
    if (directory / "config.yaml").is_file() and not (directory / "finished.json").is_file():
        raise FileExistsError(
            f"{str(directory)!r} holds a run that was stopped before its end. Go on with it by `kerastrain train "
            f"--resume {directory}`, or choose another name."
        )
    if blocking := next((parent for parent in directory.parents if parent.is_file()), None):
        raise FileExistsError(f"{str(directory)!r} cannot be made: {str(blocking)!r} is a file. Choose another folder.")
    if directory.exists():
        raise FileExistsError(
            f"{str(directory)!r} exists already and nothing is overwritten. Choose another name, or remove it."
        )
    return directory


@contextlib.contextmanager
def create(directory: Path, config: configs.Config, *, data_sha256: str | None = None) -> Iterator[Path]:
    """A new run directory, whose `log.txt` takes what the logger "kerastrain" says while the block runs.

    Args:
        directory: Path that must not exist.
        config: Config, saved with every value spelled out.
        data_sha256: str, `data.fingerprint` of what the run trains on.

    Yields:
        Path, the directory, with `config.yaml` and `environment.json` in it.

    Raises:
        FileExistsError: a file or folder stands there.
    """
    with files.atomic(refuse_existing(directory)) as folder:
        folder.mkdir()
        files.write_text(folder / "config.yaml", configs.dump(config))
        files.write_json(folder / "environment.json", {**runtime.record(), "data_sha256": data_sha256})
    with _locked(directory), _logged(directory):
        yield directory


@contextlib.contextmanager
def reopen(directory: Path, config: configs.Config, *, data_sha256: str | None = None) -> Iterator[Path]:
    """The directory of a run that was stopped, to go on in; what a killed process left half written is removed.

    Args:
        directory: Path of the run.
        config: Config from `resumable`.
        data_sha256: str, `data.fingerprint` of what the run would go on with.

    Yields:
        Path, the directory.

    Raises:
        InputError: the data are not those that the run was begun with, or another process works in the directory.
    """
    before = json.loads((directory / "environment.json").read_text(encoding="utf-8"))
    if before["data_sha256"] != data_sha256:
        raise InputError(
            f"a run goes on with the data that it was begun with. Received: other data at {config.data.path!r} than those "
            f"of {str(directory)!r} (files were added, removed or changed). Put them back, or train a new run."
        )
    with _locked(directory), _logged(directory):
        files.remove_leftovers(directory)
        files.write_text(directory / "config.yaml", configs.dump(config))
        logger.info("the run goes on")
        now = runtime.record()
        for name in [name for name in now if name not in ("command", "git") and now[name] != before.get(name)]:
            logger.warning(
                "%s was %s and is %s: the last digits of the result may differ", name, before.get(name), now[name]
            )
        yield directory


def resumable(directory: str | Path, config: configs.Config | None = None) -> configs.Config:
    """The config to go on with in the run that was stopped in `directory`.

    Args:
        directory: folder of the run.
        config: Config that is wanted, or None for the run's own. Only `RESUME_MAY_CHANGE` may differ.

    Raises:
        FileNotFoundError: there is no such folder, or no `config.yaml` in it.
        InputError: the run is finished, or `config` is another one.
    """
    directory = _existing(directory)
    if (directory / "finished.json").is_file():
        raise InputError(
            f"the run in {str(directory)!r} is finished and has nothing to go on with. Its model is "
            f"{str(directory / 'model.keras')!r}; to train it further, give that file to a new run as `model.backbone`."
        )
    own = configs.load(directory / "config.yaml")
    if config is None:
        return own
    # What was left to the clock was chosen when the run began, and stays.
    measured = {name: getattr(own.runtime, name) for name, value in config.runtime if value == "measure"}
    config = config.model_copy(update={"runtime": config.runtime.model_copy(update=measured)})
    differences = [
        f"{key}={wanted!r} (in the run {had!r})"
        for (key, wanted), (_, had) in zip(_values(config), _values(own), strict=True)
        if wanted != had and key not in RESUME_MAY_CHANGE
    ]
    if differences:
        raise InputError(
            f"a run goes on with the config that it was begun with. Received: {', '.join(differences)}. Leave them out, or "
            "train a new run."
        )
    return config


def finish(directory: Path, seconds: float) -> None:
    """Marks the run as finished and removes the states that it could have gone on from.

    Args:
        directory: Path of the run, whose files are all written.
        seconds: float, wall-clock time of the process that finished it.
    """
    files.write_json(directory / "finished.json", {"seconds": round(seconds, 3)})
    if resume_folder(directory).exists():
        files.remove(resume_folder(directory))


def resume_folder(directory: Path) -> Path:
    """The folder of the checkpoints that a stopped run in `directory` goes on from."""
    return directory / "checkpoints" / "resume"


def load(directory: str | Path, *, allow_modules: bool = False) -> Run:
    """The finished run in `directory`.

    Args:
        directory: folder of the run.
        allow_modules: bool, whether a Hub module inside its model may run although the user never trained with it;
            it is remembered then (see `trust`).

    Raises:
        FileNotFoundError: there is no such folder, or no `config.yaml` in it.
        InputError: the run has no `model.keras`: it was stopped before the end.
    """
    directory = _existing(directory)
    if not (directory / "model.keras").is_file():
        raise InputError(
            f"the run in {str(directory)!r} was stopped before it had a model. Go on with it by `kerastrain train "
            f"--resume {directory}`."
        )
    run = Run(
        directory,
        configs.load(directory / "config.yaml"),
        models.load(directory / "model.keras", allow_modules=allow_modules),
    )
    if allow_modules:
        remember_modules(run.model)
    return run


def remember_modules(model: keras.Model) -> None:
    """Remembers the Hub modules in a model as the user's own, so that files that bring them open again."""
    for layer in freezing.every_layer(model):
        if isinstance(layer, HubLayer):
            trust.remember(layer.fingerprint)


def _existing(directory: str | Path) -> Path:
    directory = Path(directory)
    if not (directory / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{str(directory)!r} is no run directory: it has no config.yaml. Give the folder that `train` printed."
        )
    return directory


def _values(config: configs.Config) -> list[tuple[str, object]]:
    """Every key of a config with its value, such as ("fit.epochs", 5)."""
    return [
        (f"{section}.{key}", value)
        for section, values in config.model_dump(mode="json").items()
        for key, value in values.items()
    ]


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps a second process out of the directory; the lock goes with the process, however it ends."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(
            f"another process is training in {str(directory)!r}. Wait for its end, or stop it first."
        ) from error
    except OSError:
        logger.warning("the file system of %s has no locks: start no second process in it", directory)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _logged(directory: Path) -> Iterator[None]:
    handler = logging.FileHandler(directory / "log.txt", encoding="utf-8")
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
