"""Examples that are arrays already: from a program, from an .npz file, or scikit-learn's handwritten digits.

Takes arrays, gives a `Listing`. Must not import TensorFlow.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ArrayImages, Store
from kerastrain.data.sources.image_folders import checked_marks
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task

_NAMES = ("inputs", "targets", "labels", "weights", "groups", "marks")


def listing(
    inputs: np.ndarray | Store,
    targets: np.ndarray,
    *,
    labels: Sequence[str],
    task: Task = "single_label",
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    marks: Sequence[str] | None = None,
    source: str = "the arrays",
) -> Listing:
    """Arrays as a listing.

    Args:
        inputs: array (n, ...), images as uint8 (n, height, width, 3) in [0, 255], texts as str (n,); or a `Store`.
        targets: as `Examples.targets`, in any type that holds the numbers.
        labels: as `Examples.labels`.
        task: as `Examples.task`.
        weights: float (n,) >= 0, how much each example counts in the loss; None for 1 each.
        groups: array (n,), examples of one group are never parted; None for none.
        marks: n str such as "train", "val" and "test", the part of each example; None to divide them.
        source: str, what messages call the arrays.

    Returns:
        Listing whose keys are the numbers of the rows.

    Raises:
        InputError: the lengths differ, or a target or weight breaks its rule.
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
    parts = None if marks is None else checked_marks(list(map(str, marks)), where=source)
    if parts is not None and len(parts) != len(examples):
        raise InputError(f"`marks` must name a part for each input. Received: {len(parts)} for {len(examples)} inputs.")
    return Listing(source, examples, parts)


def npz_listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None, *, task: Task) -> Listing:
    """The arrays of an .npz file, named as the arguments of `listing`.

    `inputs` and `targets` must be there; `labels`, `weights`, `groups` and `marks` may. Without `labels` classes are
    named "0", "1", …, and numbers "target 0", ….

    Args:
        path: path of an .npz file, whose arrays hold no Python objects.
        image_size: (height, width) in pixels that images are stretched to; None where they are only counted.
        task: as `Examples.task`.

    Returns:
        Listing; images, which are uint8 (n, height, width) or (n, height, width, 3), become RGB.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is no .npz file, lacks an array or holds one of another name, or as for `listing`.
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
        columns["labels"] = _numbered(targets, task)
    return listing(inputs, targets, task=task, source=f"'{path}'", **columns)


def digits_listing(image_size: tuple[int, int] | None = None) -> Listing:
    """The 1,797 handwritten digits that scikit-learn ships, as RGB images; see `digits`."""
    from sklearn.datasets import load_digits  # Here, because it takes a second that no other source needs.

    grey, targets = load_digits(return_X_y=True)
    pixels = np.round(grey.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return listing(ArrayImages(pixels, image_size), targets, labels="0123456789", source="the digits")


def _loaded(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"no data at '{path}': there is no such file.") from None
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as fault:
        raise InputError(f"cannot read '{path}' as an .npz file: {str(fault).rstrip('.')}.") from None
    strange = next((name for name in columns if name not in _NAMES), None)
    if strange is not None:
        raise InputError(f"'{path}': {unknown('array', strange, _NAMES)}")
    for name in ("inputs", "targets"):
        if name not in columns:
            raise InputError(f"'{path}' lacks the array {name!r}. It holds: {', '.join(columns)}.")
    return columns


def _numbered(targets: np.ndarray, task: Task) -> list[str]:
    if task == "single_label":
        return [str(number) for number in range(int(targets.max(initial=-1)) + 1)]
    count = 1 if targets.ndim == 1 else targets.shape[1]
    return [str(number) if task == "multi_label" else f"target {number}" for number in range(count)]
