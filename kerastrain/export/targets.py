"""Where an export is written and what belongs to it: free paths, sizes, labels, the files beside it.

Takes paths and models. Must not trace, convert or run a model.
"""

import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from kerastrain.errors import InputError
from kerastrain.evaluation.operating_point import FILE as OPERATING_POINT
from kerastrain.export import endpoints, parity
from kerastrain.layers import numbers as number_layers
from kerastrain.layers.labels import Labels
from kerastrain.system import files
from kerastrain.tasks import Task


def require_target(
    model: keras.Model, path: str | os.PathLike, *, activation: str | None, replace: bool, suffix: str | None = None
) -> Path:
    """Checks that `model` can be exported and that `path` can be written.

    Args:
        model: keras.Model to export.
        path: path of the file or folder to write.
        activation: a key of `endpoints.ACTIVATIONS`.
        replace: bool, whether an existing `path` may be replaced.
        suffix: str that `path` must end in, such as ".tflite"; None for any.

    Returns:
        Path, `path`.

    Raises:
        TypeError: `model` is not a keras.Model.
        FileExistsError: `path` exists and `replace` is False.
        InputError: `model` is not built or has several inputs or outputs, `activation` is unknown, `path` does not end
            in `suffix`, or its parent is not a writable folder.
    """
    endpoints.require_exportable(model, activation)
    path = Path(path)
    if suffix is not None and path.suffix != suffix:
        raise InputError(f"`path` must end in {suffix}. Received: {str(path)!r}. Rename the file.")
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        reason = "which is not writable" if parent.is_dir() else "which is not a folder"
        raise InputError(
            f"`path` must be in a writable folder. Received: {str(path)!r}, in {str(parent)!r}, {reason}. "
            "Choose another folder."
        )
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists. Choose another path or allow it to be replaced.")
    return path


def labels_of(model: keras.Model, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The class names to write: `labels`, or those in the model's `Labels` layer.

    Args:
        model: keras.Model with one output.
        labels: class names in the order of the outputs, or None for those in the model.

    Returns:
        tuple of str, empty if there are none.

    Raises:
        InputError: the number of labels differs from the number of outputs, or a label contains a line break.
    """
    labels = _labels_in(model) if labels is None else tuple(labels)
    count = model.outputs[0].shape[-1]
    if labels and len(labels) not in ({1, 2} if count == 1 else {count}):
        raise InputError(f"`labels` must name each of the model's {count} outputs. Received: {len(labels)} labels.")
    if broken := [label for label in labels if "\n" in label or "\r" in label]:
        raise InputError(f"`labels` must be one line each. Received: {broken[0]!r}. Rename the class.")
    return labels


def task_of(model: keras.Model) -> Task:
    """The task of the model's `Labels` layer.

    Args:
        model: keras.Model.

    Returns:
        "single_label", "multi_label" or "regression"; "single_label" for a model without a `Labels` layer.
    """
    return next((layer.task for layer in model.layers if isinstance(layer, Labels)), "single_label")


def _labels_in(model: keras.Model) -> tuple[str, ...]:
    return next((layer.labels for layer in model.layers if isinstance(layer, Labels)), ())


def write_beside(
    path: Path, labels: Sequence[str], measured: parity.Parity, texts: Mapping[str, str] | None = None
) -> None:
    """Writes `model.labels.txt`, `model.parity.json` and `texts` beside `model.tflite`.

    Beside `model.onnx` they are called `model.onnx.labels.txt` and so on.

    Args:
        path: Path of the exported file.
        labels: class names in the order of the outputs; if empty, there is no labels file.
        measured: Parity of the file.
        texts: mapping from the end of a file name, such as "vocabulary.txt", to the content.
    """
    stem = path.stem if path.suffix == ".tflite" else path.name
    if OPERATING_POINT not in (texts or {}):  # of the file that was replaced
        path.with_name(f"{stem}.{OPERATING_POINT}").unlink(missing_ok=True)
    for name, text in {**({"labels.txt": label_lines(labels)} if labels else {}), **(texts or {})}.items():
        files.write_text(path.with_name(f"{stem}.{name}"), text)
    measured.save(path.with_name(f"{stem}.parity.json"))


def number_files(model: keras.Model) -> dict[str, str]:
    """The file that names the numbers beside the images or texts, in the order of the input `numbers`.

    Args:
        model: keras.Model.

    Returns:
        dict from "numbers.txt" to its content, one name per line; empty if the model reads no numbers.
    """
    layer = number_layers.of(model)
    return {} if layer is None else {"numbers.txt": label_lines(layer.names)}


def write_inside(
    folder: Path, labels: Sequence[str], measured: parity.Parity, texts: Mapping[str, str] | None = None
) -> None:
    """Writes `labels.txt`, `parity.json` and `texts` to the folder `assets.extra` of a SavedModel.

    Args:
        folder: Path of the SavedModel.
        labels: class names in the order of the outputs; if empty, there is no labels file.
        measured: Parity of the SavedModel.
        texts: mapping from a file name to its content.
    """
    extra = folder / "assets.extra"
    measured.save(extra / "parity.json")
    for name, text in {**({"labels.txt": label_lines(labels)} if labels else {}), **(texts or {})}.items():
        files.write_text(extra / name, text)


def label_lines(labels: Sequence[str]) -> str:
    """The content of a labels file: one label per line, in the order of the outputs.

    Args:
        labels: sequence of str without line breaks.

    Returns:
        str, each label followed by a line break.
    """
    return "".join(f"{label}\n" for label in labels)


def sizes(path: Path) -> dict[str, int]:
    """The size of a file or folder, before and after gzip; only the second shrinks with zeros and repeated values.

    Args:
        path: Path of a file, or of a folder, whose files are added up.

    Returns:
        dict of "size_bytes" and "gzip_bytes".
    """
    contents = [child.read_bytes() for child in ([path] if path.is_file() else path.rglob("*")) if child.is_file()]
    return {
        "size_bytes": sum(map(len, contents)),
        "gzip_bytes": sum(len(gzip.compress(content, compresslevel=9)) for content in contents),
    }
