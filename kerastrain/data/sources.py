"""Where examples come from: a folder with one folder per class, arrays, or scikit-learn's handwritten digits.

Takes paths and arrays; gives a `Split`. Every file is read before the first step, so that a broken one is told now and
not hours into the run; the decoded images stay in memory where they fit. Must not batch or augment.
"""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kerastrain.data import decoding, splits
from kerastrain.data.examples import Examples, Split
from kerastrain.data.stores import ImageFiles
from kerastrain.errors import InputError

CLUTTER = {"thumbs.db", "desktop.ini"}
PART_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


def image_folder(
    path: str | os.PathLike,
    *,
    image_size: tuple[int, int],
    validation_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
    memory_fraction: float = 0.5,
) -> Split:
    """The images of a folder that holds one folder per class, split by class.

    The labels are the class folders' names in alphabetical order. Folders inside a class folder belong to the class.
    Hidden files, Thumbs.db and desktop.ini are passed over; every other file must be an image.

    Args:
        path: folder with at least two class folders.
        image_size: (height, width) in pixels that every image is stretched to.
        validation_fraction: float in [0, 1), the share of each class held out for validation.
        test_fraction: float in [0, 1), the share of each class held out for the test.
        seed: int, which of the possible splits.
        memory_fraction: float in [0, 1], the share of the free memory that decoded images may fill; if they need
            more, or at 0, they are decoded anew in every epoch.

    Returns:
        Split of uint8 RGB images; `Examples.paths` names each file.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        NotADirectoryError: `path` is a file.
        InputError: fewer than two classes, a class without images or with too few to split, or files that cannot be
            read as images (the message names the first of them).
    """
    image_size = _checked_size(image_size)
    if not 0 <= memory_fraction <= 1:
        raise InputError(f"`memory_fraction` must lie in [0, 1]. Received: {memory_fraction}.")
    root = Path(path).expanduser()
    labels = _class_folders(root)
    files, numbers = _listed(root, labels)
    parts = splits.stratified(
        numbers,
        [file.relative_to(root).as_posix() for file in files],
        names=labels,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )
    paths = {part: tuple(str(files[index]) for index in indices) for part, indices in parts.items()}
    images = decoding.decode([*itertools.chain(*paths.values())], image_size, memory_fraction=memory_fraction)
    ends = np.cumsum([len(indices) for indices in parts.values()])
    views = [ImageFiles(files, image_size) for files in paths.values()]
    if images is not None:
        views = np.split(images, ends[:-1])
    examples = {
        part: Examples(numbers[indices], labels, view, paths=paths[part])
        for (part, indices), view in zip(parts.items(), views, strict=True)
    }
    return Split(examples["train"], examples.get("validation"), examples.get("test"))


def labelled_folder(path: str | os.PathLike, *, labels: Sequence[str], image_size: tuple[int, int]) -> Examples:
    """All images of a folder, under the labels of a model that exists already: what it is to be measured on.

    Args:
        path: folder with one folder per class, each named like one of `labels`; not every label needs one.
        labels: the name of each class in the order of the model's outputs.
        image_size: (height, width) in pixels that every image is stretched to.

    Returns:
        Examples of uint8 RGB images, in the order of `labels`.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        NotADirectoryError: `path` is a file.
        InputError: a class folder has another name than the labels, or as for `image_folder`.
    """
    root = Path(path).expanduser()
    present = _class_folders(root)
    strange = [name for name in present if name not in labels]
    if strange:
        raise InputError(
            f"the class folders of '{root}' must be named like the model's labels: {', '.join(labels)}. "
            f"Received also: {', '.join(strange)}. Rename or remove them."
        )
    files, numbers = _listed(root, [label for label in labels if label in present])
    positions = np.array([index for index, label in enumerate(labels) if label in present], np.int64)
    paths = tuple(map(str, files))
    image_size = _checked_size(image_size)
    images = decoding.decode(paths, image_size, memory_fraction=0.5)
    inputs = ImageFiles(paths, image_size) if images is None else images
    return Examples(positions[numbers], tuple(labels), inputs, paths=paths)


def part_sizes(
    path: str | os.PathLike, *, validation_fraction: float = 0.2, test_fraction: float = 0.0
) -> dict[str, int]:
    """How many images each part of `image_folder` would have; counts files and opens none.

    Raises:
        FileNotFoundError, NotADirectoryError, InputError: as for `image_folder`, but for what is in the files.
    """
    root = Path(path).expanduser()
    labels = _class_folders(root)
    files, numbers = _listed(root, labels)
    parts = splits.stratified(
        numbers,
        [str(index) for index in range(len(files))],
        names=labels,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=0,
    )
    return {part: len(indices) for part, indices in parts.items()}


def arrays(
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    names: Sequence[str],
    validation_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Split:
    """Examples that are already arrays, split by class.

    Args:
        inputs: array (n, ...); images as uint8 (n, height, width, 3) in [0, 255].
        labels: int array (n,) in [0, len(names)), the class of each input.
        names: at least two str, the name of each class.
        validation_fraction: float in [0, 1), the share of each class held out for validation.
        test_fraction: float in [0, 1), the share of each class held out for the test.
        seed: int, which of the possible splits.

    Returns:
        Split whose parts hold copies of the inputs.

    Raises:
        InputError: the lengths differ, a label is out of range, there are fewer than two classes, or a class is
            empty or too small to split.
    """
    labels, names = np.asarray(labels), tuple(names)
    _check_labels(labels, names, len(inputs))
    keys = [str(index) for index in range(len(labels))]
    parts = splits.stratified(
        labels, keys, names=names, validation_fraction=validation_fraction, test_fraction=test_fraction, seed=seed
    )
    examples = {
        part: Examples(labels[indices].astype(np.int64), names, inputs[indices]) for part, indices in parts.items()
    }
    return Split(examples["train"], examples.get("validation"), examples.get("test"))


def digits(
    *,
    image_size: tuple[int, int] = (32, 32),
    validation_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Split:
    """The 1,797 handwritten digits that scikit-learn ships, as RGB images: a real data set without a download.

    The 8 x 8 grey values 0 to 16 are scaled to 0 to 255 and enlarged by bilinear resampling.

    Args:
        image_size: (height, width) in pixels.
        validation_fraction: float in [0, 1), the share of each class held out for validation.
        test_fraction: float in [0, 1), the share of each class held out for the test.
        seed: int, which of the possible splits.

    Returns:
        Split of uint8 images (height, width, 3) with the labels "0" to "9".

    Raises:
        InputError: `image_size` or a fraction is out of range.

    Reference: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80.

    Example:
        >>> {name: len(part) for name, part in digits(test_fraction=0.1).parts.items()}
        {'train': 1259, 'validation': 359, 'test': 179}
    """
    from sklearn.datasets import load_digits  # Here, because it takes a second that no other source needs.

    height, width = _checked_size(image_size)
    grey, labels = load_digits(return_X_y=True)
    pictures = [Image.fromarray(picture) for picture in np.round(grey.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)]
    images = np.stack(
        [np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR).convert("RGB")) for picture in pictures]
    )
    return arrays(
        images,
        labels,
        names=[str(digit) for digit in range(10)],
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )


def _class_folders(root: Path) -> tuple[str, ...]:
    if not root.exists():
        raise FileNotFoundError(f"no data at '{root}': there is no such folder.")
    if not root.is_dir():
        raise NotADirectoryError(f"'{root}' must be a folder with one folder per class, and it is a file.")
    labels = tuple(sorted(child.name for child in root.iterdir() if child.is_dir() and not child.name.startswith(".")))
    if not labels:
        raise InputError(f"'{root}' holds no folders. Put the images of each class into a folder named like the class.")
    if len(labels) == 1:
        raise InputError(
            f"'{root}' holds one class only, {labels[0]!r}. A classifier needs at least two class folders."
        )
    if {label.lower() for label in labels} <= PART_NAMES:
        raise InputError(
            f"'{root}' holds the parts {', '.join(labels)} and not classes. Give one folder with a folder per class; "
            "kerastrain splits it by `validation_fraction` and `test_fraction`."
        )
    return labels


def _listed(root: Path, labels: Sequence[str]) -> tuple[list[Path], np.ndarray]:
    """The files of every class and, for each, the number of its class."""
    found = [(file, number) for number, label in enumerate(labels) for file in _files(root / label)]
    return [file for file, _ in found], np.array([number for _, number in found], np.int64)


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, children, names in os.walk(folder):
        children[:] = [child for child in children if not child.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".") and name.lower() not in CLUTTER]
    if not found:
        raise InputError(f"class folder '{folder}' is empty. Put images into it or remove it.")
    return sorted(found)


def _checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    sides = tuple(image_size) if isinstance(image_size, Sequence) else ()
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise InputError(f"`image_size` must be two whole numbers >= 1, height and width. Received: {image_size!r}.")
    return sides


def _check_labels(labels: np.ndarray, names: tuple[str, ...], count: int) -> None:
    if len(names) < 2:
        raise InputError(f"`names` must name at least two classes. Received: {names}.")
    if labels.shape != (count,):
        raise InputError(f"`labels` must hold one number per input. Received: shape {labels.shape} for {count} inputs.")
    missing = [name for number, name in enumerate(names) if number not in labels]
    if missing:
        raise InputError(f"every class of `names` must have an example. Without any: {', '.join(missing)}.")
    if labels.min() < 0 or labels.max() >= len(names):
        raise InputError(f"`labels` must lie in [0, {len(names)}). Received: {labels.min()} to {labels.max()}.")
