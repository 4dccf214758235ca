"""Where an export goes and what travels with it: free paths, sizes, labels, the files beside it.

Takes paths and models. Must not trace, convert or run a model.
"""

import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from kerastrain import models
from kerastrain.errors import InputError
from kerastrain.export import parity
from kerastrain.system import files
from kerastrain.tasks import Task


def require_free(path: str | os.PathLike, *, replace: bool, suffix: str | None = None) -> Path:
    """`path` as a Path, refused where it ends otherwise, nothing can be written, or something stands there already.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: `path` does not end in `suffix`, or what stands above it is no folder, or one that may not be written
            to.
    """
    path = Path(path)
    if suffix is not None and path.suffix != suffix:
        raise InputError(f"`path` must end in {suffix}. Received: {str(path)!r}. Rename the file.")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        what = "which may not be written to" if above.is_dir() else "which is no folder"
        raise InputError(
            f"`path` must lie in a folder that can be written to. Received: {str(path)!r}, in {str(above)!r}, "
            f"{what}. Choose another folder."
        )
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists. Choose another path or allow it to be replaced.")
    return path


def labels_of(model: keras.Model, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The class names to ship: `labels`, or those that travel with the model; empty where there are none.

    Raises:
        InputError: there are not as many labels as outputs, or a label holds a line break.
    """
    labels = _carried(model) if labels is None else tuple(labels)
    count = model.outputs[0].shape[-1]
    if labels and len(labels) not in ({1, 2} if count == 1 else {count}):
        raise InputError(f"`labels` must name each of the model's {count} outputs. Received: {len(labels)} labels.")
    if broken := [label for label in labels if "\n" in label or "\r" in label]:
        raise InputError(f"`labels` must be one line each. Received: {broken[0]!r}. Rename the class.")
    return labels


def task_of(model: keras.Model) -> Task:
    """What the model's outputs are; those of a model that does not say are taken for one class each."""
    return next((layer.task for layer in model.layers if isinstance(layer, models.Labels)), "single_label")


def _carried(model: keras.Model) -> tuple[str, ...]:
    return next((layer.labels for layer in model.layers if isinstance(layer, models.Labels)), ())


def write_beside(
    path: Path, labels: Sequence[str], measured: parity.Parity, texts: Mapping[str, str] | None = None
) -> None:
    """Writes what belongs to the file `model.tflite` beside it: `model.labels.txt`, `model.parity.json`, and `texts`.

    Beside `model.onnx` they are called `model.onnx.labels.txt` and so on.
    """
    stem = path.stem if path.suffix == ".tflite" else path.name
    for name, text in {**({"labels.txt": label_lines(labels)} if labels else {}), **(texts or {})}.items():
        files.write_text(path.with_name(f"{stem}.{name}"), text)
    measured.save(path.with_name(f"{stem}.parity.json"))


def label_lines(labels: Sequence[str]) -> str:
    """The text of a labels file: one label a line, in the order of the outputs."""
    return "".join(f"{label}\n" for label in labels)


def sizes(path: Path) -> dict[str, int]:
    """`size_bytes` of a file, or of all files of a folder, and `gzip_bytes`, what is left of them when compressed.

    Zeros and repeated values show only in the second.
    """
    contents = [child.read_bytes() for child in ([path] if path.is_file() else path.rglob("*")) if child.is_file()]
    return {
        "size_bytes": sum(map(len, contents)),
        "gzip_bytes": sum(len(gzip.compress(content, compresslevel=9)) for content in contents),
    }
