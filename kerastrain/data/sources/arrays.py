"""Examples from arrays: in memory, in an .npz file, or scikit-learn's handwritten digits.

Takes arrays, returns a `Listing`. Must not import TensorFlow.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ArrayImages, Store
from kerastrain.data.sources.parts import part_names
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task

_FILE_ARRAYS = ("inputs", "targets", "labels", "weights", "groups", "marks")  # "marks" is `predefined_split`.


def listing(
    inputs: np.ndarray | Store,
    targets: np.ndarray,
    *,
    labels: Sequence[str],
    task: Task = "single_label",
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    predefined_split: Sequence[str] | None = None,
    source: str = "the arrays",
) -> Listing:
    """Makes a listing from arrays.

    Args:
        inputs: array (n, ...), images as uint8 (n, height, width, 3) in [0, 255], texts as str (n,); or a `Store`.
        targets: as `Examples.targets`, in any type that can be converted without loss; for "regression" with one number
            also (n,).
        labels: as `Examples.labels`.
        task: as `Examples.task`.
        weights: float (n,) >= 0, the weight of each example in the loss; None for 1 each.
        groups: array (n,); all examples of a group stay in the same part; None without groups.
        predefined_split: sequence of n str such as "train", "val" and "test", the part of each example; None if the
            examples are still to be split.
        source: str, the name of the arrays in messages.

    Returns:
        Listing without keys: its examples are identified by their row numbers.

    Raises:
        InputError: the lengths differ, or a target, weight or part is invalid.
    """
    targets = np.asarray(targets)
    if task == "single_label" and targets.dtype.kind not in "iu":
        raise InputError(f"`targets` must be whole numbers, the classes of the inputs. Received: {targets.dtype}.")
    if task == "regression" and targets.ndim == 1:
        targets = targets[:, np.newaxis]
    examples = Examples(
        targets.astype(np.int64 if task == "single_label" else np.float32),
        tuple(str(label) for label in labels),
        inputs.astype(object) if inputs.dtype.kind == "U" else inputs,
        task,
        weights=None if weights is None else np.asarray(weights, np.float32),
        groups=None if groups is None else np.asarray(groups).astype(str),
    )
    parts = None if predefined_split is None else part_names(list(map(str, predefined_split)), where=source)
    if parts is not None and len(parts) != len(examples):
        raise InputError(
            f"`predefined_split` must name a part for each input. Received: {len(parts)} for {len(examples)} inputs."
        )
    return Listing(source, examples, parts, layout="images in memory" if isinstance(inputs, ArrayImages) else "arrays")


def npz_listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None, *, task: Task) -> Listing:
    """Lists the examples of an .npz file.

    The arrays `inputs` and `targets` are required. Optional are `labels`, `weights` and `groups`, as for `listing`, and
    `marks`, its `predefined_split`. Without `labels`, classes are named "0", "1", … and predicted numbers "target 0",
    ….

    Args:
        path: path of an .npz file without Python objects.
        image_size: (height, width) in pixels that images are stretched to; None if they are only counted.
        task: as `Examples.task`.

    Returns:
        Listing; images, uint8 (n, height, width) or (n, height, width, 3) in the file, become RGB.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not an .npz file, an array is missing or has an unknown name, or as for `listing`.
    """
    columns = _loaded(Path(path))
    inputs, targets = columns.pop("inputs"), columns.pop("targets")
    if inputs.dtype == np.uint8 and inputs.ndim in (3, 4):
        if inputs.shape[3:] not in ((), (3,)):
            raise InputError(
                f"the images in '{path}' must be uint8 (n, height, width) or (n, height, width, 3). "
                f"Received: {inputs.shape}."
            )
        inputs = ArrayImages(inputs, image_size)
    if "labels" not in columns:
        columns["labels"] = _default_labels(targets, task)
    predefined_split = columns.pop("marks", None)
    return listing(inputs, targets, task=task, source=f"'{path}'", predefined_split=predefined_split, **columns)


def digits_listing(image_size: tuple[int, int] | None = None) -> Listing:
    """Lists the 1,797 handwritten digits that scikit-learn ships, as RGB images; see `loaders.digits`.

    Args:
        image_size: (height, width) in pixels that images are stretched to; None if they are only counted.

    Returns:
        Listing with the labels "0" to "9".
    """
    from sklearn.datasets import load_digits  # Imported here because it takes a second and no other source needs it.

    grey, targets = load_digits(return_X_y=True)
    pixels = np.round(grey.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return listing(ArrayImages(pixels, image_size), targets, labels="0123456789", source="the digits")


def _loaded(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"no data at '{path}': there is no such file.") from None
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise InputError(f"cannot read '{path}' as an .npz file: {str(error).rstrip('.')}.") from None
    unexpected = next((name for name in columns if name not in _FILE_ARRAYS), None)
    if unexpected is not None:
        raise InputError(f"'{path}': {unknown('array', unexpected, _FILE_ARRAYS)}")
    for name in ("inputs", "targets"):
        if name not in columns:
            raise InputError(f"'{path}' has no array {name!r}. Its arrays are: {', '.join(columns)}.")
    return columns


def _default_labels(targets: np.ndarray, task: Task) -> list[str]:
    if task == "single_label":
        return [str(number) for number in range(int(targets.max(initial=-1)) + 1)]
    count = 1 if targets.ndim == 1 else targets.shape[1]
    return [str(number) if task == "multi_label" else f"target {number}" for number in range(count)]
