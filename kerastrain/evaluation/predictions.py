"""What a model predicted for a dataset, beside the truth: a record in memory, and its file in a run.

Takes and returns arrays. Whatever is asked about predictions later, such as measures, thresholds or mistakes, is computed from
the record, so that the model runs only once. Must not import TensorFlow.
"""

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from kerastrain.errors import InputError, unknown
from kerastrain.system import files
from kerastrain.tasks import TASKS, Task

FOLDER = "predictions"
"""The folder of a run in which the predictions for each part are."""

_SLICE, _PROPERTY = "slice_", "property_"


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """The outputs of a model for n examples, with their targets.

    Args:
        targets: int64 (n,) in [0, len(labels)) for "single_label"; else float32 (n, len(labels)).
        outputs: float32 (n, len(labels)), the logits of a classifier, or predicted numbers. A classifier with a single
            logit or sigmoid has two columns here, one for each class.
        labels: tuple of str, the names of the classes or numbers.
        task: "single_label", "multi_label" or "regression".
        keys: tuple of n str, the name of each example, as `Examples.keys`; None numbers them "1", "2", ….
        digests: uint64 (n,), as from `data.overlap.digests`; None if they are unknown.
        slices: mapping from the name of a column to an array (n,) of str, its value for each example.
        properties: mapping from the name of a property of inputs, such as "brightness", to float32 (n,).

    Raises:
        InputError: the task is unknown, or the shapes or lengths do not match.

    Example:
        >>> predictions = Predictions(np.array([1]), np.zeros((1, 2)), ("cat", "dog"), "single_label")
        >>> predictions.probabilities
        array([[0.5, 0.5]])
        >>> predictions.keys
        ('1',)
    """

    targets: np.ndarray
    outputs: np.ndarray
    labels: tuple[str, ...]
    task: Task
    keys: tuple[str, ...] | None = None
    digests: np.ndarray | None = None
    slices: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    properties: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.task not in TASKS:
            raise InputError(unknown("task", self.task, TASKS))
        is_single = self.task == "single_label"
        values = {
            "targets": np.asarray(self.targets, np.int64 if is_single else np.float32),
            "outputs": np.asarray(self.outputs, np.float32),
            "labels": tuple(map(str, self.labels)),
            "digests": None if self.digests is None else np.asarray(self.digests, np.uint64),
            "slices": {name: np.asarray(values, object) for name, values in self.slices.items()},
            "properties": {name: np.asarray(values, np.float32) for name, values in self.properties.items()},
        }
        count = len(values["targets"])
        values["keys"] = tuple(str(i + 1) for i in range(count)) if self.keys is None else tuple(map(str, self.keys))
        for name, value in values.items():
            object.__setattr__(self, name, value)
        shape = (count, len(self.labels))
        if self.outputs.shape != shape or self.targets.shape != (shape[:1] if is_single else shape):
            raise InputError(
                f"`outputs` must be {shape}, a row for each target and a column for each label, and `targets` must fit them. "
                f"Received: outputs {self.outputs.shape} and targets {self.targets.shape}."
            )
        columns = {"keys": self.keys, "digests": self.digests} | self.slices | self.properties
        for name, column in columns.items():
            if column is not None and len(column) != count:
                raise InputError(f"`{name}` must hold one value for each target. Received: {len(column)} for {count}.")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def probabilities(self) -> np.ndarray:
        """float64 (n, len(labels)) in [0, 1], the probability of each class or label.

        Raises:
            InputError: the task is "regression".
        """
        if self.task == "regression":
            raise InputError("predicted numbers have no probabilities. Use `outputs`.")
        logits = self.outputs.astype(np.float64)
        if self.task == "multi_label":
            return np.exp(-np.logaddexp(0, -logits))  # The plain formula overflows for large negative logits.
        with np.errstate(invalid="ignore"):  # `measure` raises for NaN and infinity.
            return np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))


def write(predictions: Predictions, path: str | os.PathLike) -> Path:
    """Writes predictions to a file.

    It is an `.npz` file of plain arrays. Those of names (`keys`, `labels`, `task` and each `slice_NAME`) are the UTF-8 bytes of
    a JSON list, because an array of str gives every text the room of the longest; `read` returns them as str.

    Args:
        predictions: Predictions.
        path: path of the file, such as `RUN/predictions/test.npz`.

    Returns:
        Path of the file.

    Raises:
        WriteError: the file cannot be written.
    """
    arrays = {"targets": predictions.targets, "outputs": predictions.outputs}
    arrays |= {"keys": _packed(predictions.keys), "labels": _packed(predictions.labels)}
    arrays["task"] = _packed([predictions.task])
    if predictions.digests is not None:
        arrays["digests"] = predictions.digests
    arrays |= {f"{_SLICE}{name}": _packed(values) for name, values in predictions.slices.items()}
    arrays |= {f"{_PROPERTY}{name}": values for name, values in predictions.properties.items()}
    with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            # np.savez takes the names as keyword arguments, of which a column may have the same as one of its own.
            with archive.open(f"{quote(name, safe='')}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
    return Path(path)


def read(path: str | os.PathLike) -> Predictions:
    """Reads predictions from a file that `write` wrote.

    Args:
        path: path of the file.

    Returns:
        Predictions.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not a file of predictions.

    Example:
        >>> predictions.read("runs/flowers/predictions/test.npz").probabilities  # doctest: +SKIP
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no predictions at {os.fspath(path)!r}: the file does not exist.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {unquote(name): arrays[name] for name in arrays.files}
        return Predictions(
            values["targets"],
            values["outputs"],
            tuple(_unpacked(values["labels"])),
            _unpacked(values["task"])[0],
            tuple(_unpacked(values["keys"])),
            values.get("digests"),
            {
                name.removeprefix(_SLICE): np.array(_unpacked(column), object)
                for name, column in values.items()
                if name.startswith(_SLICE)
            },
            {name.removeprefix(_PROPERTY): values[name] for name in values if name.startswith(_PROPERTY)},
        )
    except (ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"'{os.fspath(path)}' is not a file of predictions ({error}). Write it again with `kerastrain evaluate`."
        ) from error


def _packed(texts) -> np.ndarray:
    return np.frombuffer(json.dumps(list(texts)).encode(), np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    return json.loads(packed.tobytes())
