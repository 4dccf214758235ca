"""Where examples come from: one function for each source, from a path or arrays to a `Split`.

Every image is read before the first step, so that a broken one is left out now and does not end the run in hours; the
decoded images are kept where there is room. `places.listing` finds by itself what stands at a path, which is what configs and the
command line go through. Must not batch or augment, or import TensorFlow.
"""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from kerastrain.data.examples import Split
from kerastrain.data.image_files.pixel_cache import Place
from kerastrain.data.reading import split
from kerastrain.data.sources import arrays as numpy_arrays
from kerastrain.data.sources import image_folders, resolve, tables, text_folders, tfrecords
from kerastrain.data.sources.resolve import checked_size
from kerastrain.data.sources.table_columns import Columns
from kerastrain.tasks import Task


def image_folder(
    path: str | os.PathLike,
    *,
    image_size: tuple[int, int],
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    unreadable_fraction: float = 0.1,
    **division: float | int | None,
) -> Split:
    """The images of a folder that holds one folder per class, split by class.

    Where the folder holds folders train, validation and test (or val, valid, dev, …) with class folders in each, those
    are the parts, and a part that is not there comes out of train. See `folders.listing` for what counts as an image.

    Args:
        path: folder with at least two class folders, or with a folder of such for each part.
        image_size: (height, width) in pixels that every image is stretched to.
        cache: "auto", "memory", "disk" or "none", where decoded images are kept; see `keep`.
        memory_fraction: float in [0, 1], the share of the free memory that they may fill under "auto".
        unreadable_fraction: float in [0, 1], the largest share of the files that may be unreadable; they are left out.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`.

    Returns:
        Split of uint8 RGB images; `Examples.paths` names each file, `Split.quarantined` those that are left out.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        NotADirectoryError: `path` is a file.
        InputError: fewer than two classes, a class without images or with too few to split, or more files than allowed
            that cannot be read as images (the message names the first of them).

    Example:
        >>> split = image_folder("flowers", image_size=(224, 224), test_fraction=0.1)  # doctest: +SKIP
        >>> split.labels, split.sizes  # doctest: +SKIP
        (('daisy', 'rose'), {'train': 700, 'validation': 200, 'test': 100})
    """
    found = image_folders.listing(path, checked_size(image_size))
    return split(
        found,
        cache=cache,
        memory_fraction=memory_fraction,
        unreadable_fraction=unreadable_fraction,
        **division,
    )


def text_files(path: str | os.PathLike, **division: float | int | None) -> Split:
    """The texts of a folder that holds one file of texts, or one folder of .txt files, per class, split by class.

    See `texts.listing` for the shapes that the folder may have. Which part a text falls into depends on its words and
    the seed, and not on its line, so that texts added later move few others.

    Args:
        path: folder of texts in UTF-8.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`.

    Returns:
        Split whose `Examples.inputs` are object arrays (n,) of str.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        NotADirectoryError: `path` is a file.
        InputError: no texts, fewer than two classes, a class with too few texts to split, a file that is not UTF-8,
            or both files and folders of texts.

    Example:
        >>> split = text_files("reviews", test_fraction=0.1)  # doctest: +SKIP
        >>> split.labels, split.train.inputs[0]  # doctest: +SKIP
        (('neg', 'pos'), 'a dull film')
    """
    return split(text_folders.listing(path), **division)


def manifest(
    path: str | os.PathLike,
    *,
    kind: Literal["images", "text"] = "images",
    image_size: tuple[int, int] | None = None,
    task: Task = "single_label",
    columns: Columns | None = None,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    unreadable_fraction: float = 0.1,
    **division: float | int | None,
) -> Split:
    """The examples of a table that names an image or holds a text in each row, and says what it is.

    Use it for what folders cannot say: several labels, numbers to predict, weights, patients that must not be parted,
    parts that somebody else has fixed. See `manifests.listing` for what the file may be.

    Args:
        path: path of a .csv, .tsv or .parquet file; paths of images count from its folder.
        kind: "images" or "text".
        image_size: (height, width) in pixels that every image is stretched to; None for texts.
        task: "single_label", "multi_label" or "regression".
        columns: Columns, which column holds what; None for the usual names.
        cache: as for `image_folder`.
        memory_fraction: as for `image_folder`.
        unreadable_fraction: as for `image_folder`.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`.

    Returns:
        Split.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: as for `manifests.listing`, `divide`, and `split`.
        MissingExtra: a Parquet file needs pyarrow.

    Example:
        >>> columns = kt.data.Columns(targets=("age",), group="patient")  # doctest: +SKIP
        >>> split = kt.data.manifest("faces.csv", image_size=(96, 96), task="regression", columns=columns)  # doctest: +SKIP
    """
    if kind == "images":
        image_size = checked_size(image_size)
    found = tables.listing(path, image_size, kind=kind, task=task, columns=columns)
    return split(
        found,
        cache=cache,
        memory_fraction=memory_fraction,
        unreadable_fraction=unreadable_fraction,
        **division,
    )


def tfrecord_set(
    path: str | os.PathLike,
    *,
    image_size: tuple[int, int] | None = None,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    **division: float | int | None,
) -> Split:
    """The examples of a sharded set of TFRecord files, in the parts that it was written with, if it was.

    Args:
        path: folder that `write_tfrecords` made.
        image_size: (height, width) in pixels that every image is stretched to; None where the inputs are no images.
        cache: as for `image_folder`.
        memory_fraction: as for `image_folder`.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`.

    Returns:
        Split.

    Raises:
        FileNotFoundError: there is no set, or one of its files is missing.
        InputError: a shard or the index is damaged, which the message names, or as for `split`.
    """
    found = tfrecords.listing(path, None if image_size is None else checked_size(image_size))
    return split(found, cache=cache, memory_fraction=memory_fraction, **division)


def named_set(
    name: str,
    *,
    kind: Literal["images", "text"] = "images",
    image_size: tuple[int, int] | None = None,
    task: Task = "single_label",
    columns: Columns | None = None,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    **division: float | int | None,
) -> Split:
    """A data set that others publish: of Hugging Face, or of TensorFlow Datasets.

    Args:
        name: "hf:NAME" or "tfds:NAME", as for `hugging_face.load` and `tfds.load`; a folder may stand for the name.
        kind: "images" or "text".
        image_size: (height, width) in pixels that every image is stretched to; None for texts.
        task: "single_label", "multi_label" or "regression".
        columns: Columns, which feature holds what; None for the usual names, or the only feature of its kind.
        cache: as for `image_folder`.
        memory_fraction: as for `image_folder`.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`; the parts that
            the set has itself stay.

    Returns:
        Split.

    Raises:
        InputError: there is no such set, or as for `named_sets.listing`, `divide` and `split`.
        MissingExtra: the library is not installed; the sentence names the extra.

    Example:
        >>> split = kt.data.named_set("hf:stanfordnlp/imdb", kind="text")  # doctest: +SKIP
    """
    found = resolve.listing(name, kind=kind, image_size=image_size, task=task, columns=columns)
    return split(found, cache=cache, memory_fraction=memory_fraction, **division)


def arrays(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    labels: Sequence[str],
    task: Task = "single_label",
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    marks: Sequence[str] | None = None,
    **division: float | int | None,
) -> Split:
    """Examples that are already arrays, split by class.

    Args:
        inputs: array (n, ...); images as uint8 (n, height, width, 3) in [0, 255], texts as str (n,).
        targets: int (n,) in [0, len(labels)), the class of each input; for "multi_label" (n, len(labels)) of 0 and 1;
            for "regression" numbers (n,) or (n, len(labels)).
        labels: the names of the classes, at least two for "single_label"; for "regression" of the numbers.
        task: "single_label", "multi_label" or "regression".
        weights: float (n,) >= 0, how much each example counts in the loss; None for 1 each.
        groups: array (n,), examples of one group are never parted; None for none.
        marks: n str such as "train", "val" and "test", the part of each example; None to divide them.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`.

    Returns:
        Split whose parts hold copies of the inputs.

    Raises:
        InputError: the lengths differ, a target or weight breaks its rule, there are fewer than two classes, or a class
            is empty or too small to split.
    """
    found = numpy_arrays.listing(inputs, targets, labels=labels, task=task, weights=weights, groups=groups, marks=marks)
    return split(found, **division)


def digits(*, image_size: tuple[int, int] = (32, 32), **division: float | int | None) -> Split:
    """The 1,797 handwritten digits that scikit-learn ships, as RGB images: a real data set without a download.

    The 8 x 8 grey values 0 to 16 are scaled to 0 to 255 and enlarged by bilinear resampling.

    Args:
        image_size: (height, width) in pixels.
        **division: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`.

    Returns:
        Split of uint8 images (height, width, 3) with the labels "0" to "9".

    Raises:
        InputError: `image_size` or a fraction is out of range.

    Reference: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80.

    Example:
        >>> digits(test_fraction=0.1).sizes
        {'train': 1259, 'validation': 359, 'test': 179}
    """
    return split(numpy_arrays.digits_listing(checked_size(image_size)), **division)
