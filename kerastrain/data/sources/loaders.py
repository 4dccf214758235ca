"""The sources of examples: one function per source, from a path or arrays to a `Split`.

Every image is read before the first step, so that a broken file is skipped at once instead of ending the run hours
later; the decoded images are cached if there is room. Configs and the command line use `resolve.listing`, which detects
the source at a path. Must not batch, augment, or import TensorFlow.
"""

import logging
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from kerastrain.data.examples import Split
from kerastrain.data.image_files.pixel_cache import Place
from kerastrain.data.reading import split
from kerastrain.data.sources import arrays as numpy_arrays
from kerastrain.data.sources import image_folders, resolve, tables, text_folders, tfrecords
from kerastrain.data.sources.resolve import checked_size, decoded
from kerastrain.data.sources.table import Columns
from kerastrain.data.splitting import classes
from kerastrain.data.splitting.classes import without_classes
from kerastrain.data.splitting.listings import Listing
from kerastrain.decoding import Decoding
from kerastrain.tasks import Task

logger = logging.getLogger("kerastrain")


def image_folder(
    path: str | os.PathLike,
    *,
    image_size: tuple[int, int],
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    unreadable_fraction: float = 0.1,
    **options: object,
) -> Split:
    """Loads the images of a folder that contains one folder per class, and splits each class.

    If the folder contains folders train, validation and test (or val2017, test_set, …) with class folders in each, those
    are the parts; a missing part is taken from train. See `layouts.find` for the folders that are understood, and
    `image_folders.listing` for what counts as an image.

    Args:
        path: folder with at least two class folders, or with one folder per part that contains them.
        image_size: (height, width) in pixels that every image is resized to.
        cache: "auto", "memory", "disk" or "none", where decoded images are cached; see `pixel_cache.cache`.
        memory_fraction: float in [0, 1], the fraction of the free memory that they may fill under "auto".
        unreadable_fraction: float in [0, 1], the largest fraction of the files that may be unreadable; these are
            skipped.
        **options: `resize`, `largest_megapixels` and `pixel_range`, as for `Decoding`; `validation_fraction`,
            `test_fraction`, `seed`, `folds` and `fold`, as for `divide`; and `exclude_classes`, as for `split`.

    Returns:
        Split of uint8 RGB images. `Examples.paths` names the file of each example, `Split.quarantined` the skipped
        files.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        NotADirectoryError: `path` is a file.
        InputError: there are fewer than two classes, a class has no images or too few to split, or more files than
            allowed cannot be read as images (the message names the first of them).

    Example:
        >>> split = image_folder("flowers", image_size=(224, 224), test_fraction=0.1)  # doctest: +SKIP
        >>> split.labels, split.sizes  # doctest: +SKIP
        (('daisy', 'rose'), {'train': 700, 'validation': 200, 'test': 100})
    """
    decoding = Decoding.taken_from(options)
    return _read(
        decoded(image_folders.listing(path, checked_size(image_size)), decoding),
        cache=cache,
        memory_fraction=memory_fraction,
        unreadable_fraction=unreadable_fraction,
        **options,
    )


def text_files(path: str | os.PathLike, **split_options: float | int | Sequence[str] | None) -> Split:
    """Loads the texts of a folder with one text file, or one folder of .txt files, per class, and splits each class.

    See `text_folders.listing` for the supported layouts. The part of a text depends on the text and the seed and not on
    its line, so that texts added later move few others to another part.

    Args:
        path: folder of texts in UTF-8.
        **split_options: `validation_fraction`, `test_fraction`, `seed`, `folds` and `fold`, as for `divide`, and
            `exclude_classes`, as for `split`.

    Returns:
        Split whose `Examples.inputs` are object arrays (n,) of str.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        NotADirectoryError: `path` is a file.
        InputError: there are no texts or fewer than two classes, a class has too few texts to split, a file is not
            UTF-8, or there are both files and folders of texts.

    Example:
        >>> split = text_files("reviews", test_fraction=0.1)  # doctest: +SKIP
        >>> split.labels, split.train.inputs[0]  # doctest: +SKIP
        (('neg', 'pos'), 'a dull film')
    """
    return _read(text_folders.listing(path), **split_options)


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
    **options: object,
) -> Split:
    """Loads the examples of a table that has an image path or a text, and its targets, in each row.

    Use it for what folders cannot express: several labels per example, regression targets, weights, groups such as
    patients, or a split that is already defined. See `tables.listing` for the file formats.

    Args:
        path: path of a table, such as .csv, .jsonl or .parquet, or of a folder with train.csv, test.csv, …; image paths
            in it are relative to its folder.
        kind: "images" or "text".
        image_size: (height, width) in pixels that every image is resized to; None for texts.
        task: "single_label", "multi_label" or "regression".
        columns: Columns, the role of each column; None for the usual names.
        cache: as for `image_folder`.
        memory_fraction: as for `image_folder`.
        unreadable_fraction: as for `image_folder`.
        **options: `resize`, `largest_megapixels` and `pixel_range`, as for `Decoding`; `validation_fraction`,
            `test_fraction`, `seed`, `folds` and `fold`, as for `divide`; and `exclude_classes`, as for `split`.

    Returns:
        Split.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: as for `tables.listing` and `split`.
        MissingExtra: the file is a Parquet file and pyarrow is not installed.

    Example:
        >>> columns = kt.data.Columns(targets=("age",), group="patient")  # doctest: +SKIP
        >>> split = kt.data.manifest("faces.csv", image_size=(96, 96), task="regression", columns=columns)  # doctest: +SKIP
    """
    if kind == "images":
        image_size = checked_size(image_size)
    decoding = Decoding.taken_from(options)
    return _read(
        decoded(tables.listing(path, image_size, kind=kind, task=task, columns=columns), decoding),
        cache=cache,
        memory_fraction=memory_fraction,
        unreadable_fraction=unreadable_fraction,
        **options,
    )


def tfrecord_set(
    path: str | os.PathLike,
    *,
    image_size: tuple[int, int] | None = None,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    **options: object,
) -> Split:
    """Loads a sharded set of TFRecord files, with the parts that were written, if any.

    Args:
        path: folder that `write_tfrecords` made.
        image_size: (height, width) in pixels that every image is resized to; None if the inputs are not images.
        cache: as for `image_folder`.
        memory_fraction: as for `image_folder`.
        **options: `resize`, `largest_megapixels` and `pixel_range`, as for `Decoding`; `validation_fraction`,
            `test_fraction`, `seed`, `folds` and `fold`, as for `divide`; and `exclude_classes`, as for `split`.

    Returns:
        Split.

    Raises:
        FileNotFoundError: there is no such set, or one of its files is missing.
        InputError: a shard or the index is damaged (the message names it), or as for `split`.
    """
    decoding = Decoding.taken_from(options)
    listing = tfrecords.listing(path, None if image_size is None else checked_size(image_size))
    return _read(decoded(listing, decoding), cache=cache, memory_fraction=memory_fraction, **options)


def named_set(
    name: str,
    *,
    kind: Literal["images", "text"] = "images",
    image_size: tuple[int, int] | None = None,
    task: Task = "single_label",
    columns: Columns | None = None,
    cache: Place = "auto",
    memory_fraction: float = 0.5,
    **options: object,
) -> Split:
    """Loads a published data set from Hugging Face or TensorFlow Datasets.

    Args:
        name: "hf:NAME" or "tfds:NAME", where NAME may be a folder; see `hugging_face.load` and `tfds.load`.
        kind: "images" or "text".
        image_size: (height, width) in pixels that every image is resized to; None for texts.
        task: "single_label", "multi_label" or "regression".
        columns: Columns, the role of each feature; None for the usual names, or the only feature of its kind.
        cache: as for `image_folder`.
        memory_fraction: as for `image_folder`.
        **options: `resize`, `largest_megapixels` and `pixel_range`, as for `Decoding`; `validation_fraction`,
            `test_fraction`, `seed`, `folds` and `fold`, as for `divide`; and `exclude_classes`, as for `split`. The set's
            own parts are kept.

    Returns:
        Split.

    Raises:
        InputError: there is no such set, or as for `named_sets.listing` and `split`.
        MissingExtra: the library is not installed; the message names the extra.

    Example:
        >>> split = kt.data.named_set("hf:stanfordnlp/imdb", kind="text")  # doctest: +SKIP
    """
    decoding = Decoding.taken_from(options)
    listing = resolve.listing(name, kind=kind, image_size=image_size, task=task, columns=columns, decoding=decoding)
    return _read(listing, cache=cache, memory_fraction=memory_fraction, **options)


def arrays(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    task: Task = "single_label",
    kind: numpy_arrays.Kind | None = None,
    image_size: tuple[int, int] | None = None,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    predefined_split: Sequence[str] | None = None,
    **options: object,
) -> Split:
    """Splits examples that are already arrays.

    Images of any type, scale and order of axes become uint8 RGB: see `array_images.pixels`. How they are understood is
    logged to the logger "kerastrain".

    Args:
        inputs: array (n, ...) of images or features, or texts as str (n,).
        targets: for "single_label" the class of each input, as a number in [0, len(labels)), as a name, or one-hot; for
            "multi_label" (n, len(labels)) of 0 and 1; for "regression" numbers (n,) or (n, len(labels)).
        labels: sequence of str, the class names, at least two for "single_label"; for "regression" the names of the
            predicted numbers. None for the classes that occur.
        task: "single_label", "multi_label" or "regression".
        kind: "images", "text", or "arrays" to use the inputs as they are. None takes numbers of shape (n, height, width),
            or with 1, 3 or 4 channels at either end, as images.
        image_size: (height, width) in pixels that images are resized to; None keeps their own.
        weights: float (n,) >= 0, the weight of each example in the loss; None for 1 each.
        groups: array (n,); all examples of a group stay in the same part; None without groups.
        predefined_split: sequence of n str such as "train", "val" and "test", the part of each example; None to split
            them by `options`.
        **options: `resize` and `pixel_range`, as for `Decoding`; and `validation_fraction`, `test_fraction`, `seed`,
            `folds` and `fold`, as for `divide`, and `exclude_classes`, as for `split`.

    Returns:
        Split whose parts hold copies of the inputs.

    Raises:
        InputError: the lengths differ; it cannot be known which values of the images are black and white (the message
            lists the choices); a target, weight or part is invalid; there are fewer than two classes; or a class is empty
            or too small to split.

    Example:
        >>> images = np.random.default_rng(0).random((20, 1, 8, 8))  # grey, in [0, 1], channels first
        >>> split = arrays(images, np.arange(20) % 2)
        >>> split.train.shape, split.train.dtype, split.labels, split.train.decoding.pixel_range
        ((8, 8, 3), dtype('uint8'), ('0', '1'), (0.0, 1.0))
    """
    decoding = Decoding.taken_from(options)
    listing = numpy_arrays.listing(
        inputs,
        targets,
        labels=labels,
        task=task,
        kind=kind,
        image_size=None if image_size is None else checked_size(image_size),
        decoding=decoding,
        weights=weights,
        groups=groups,
        predefined_split=predefined_split,
    )
    return _read(listing, **options)


def digits(*, image_size: tuple[int, int] = (32, 32), **options: object) -> Split:
    """Loads the 1,797 handwritten digits that scikit-learn ships, as RGB images: a real data set without a download.

    The 8 x 8 grey values 0 to 16 are scaled to 0 to 255 and enlarged by bilinear resampling.

    Args:
        image_size: (height, width) in pixels.
        **options: `resize`, `largest_megapixels` and `pixel_range`, as for `Decoding`; `validation_fraction`,
            `test_fraction`, `seed`, `folds` and `fold`, as for `divide`; and `exclude_classes`, as for `split`.

    Returns:
        Split of uint8 images (height, width, 3) with the labels "0" to "9".

    Raises:
        InputError: `image_size` or a fraction is out of range.

    Reference: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80.

    Example:
        >>> digits(test_fraction=0.1).sizes
        {'train': 1259, 'validation': 359, 'test': 179}
    """
    decoding = Decoding.taken_from(options)
    return _read(decoded(numpy_arrays.digits_listing(checked_size(image_size)), decoding), **options)


def _read(listing: Listing, *, exclude_classes: Sequence[str] = (), **options: object) -> Split:
    """Splits a listing, and logs what a user should know about it."""
    listing = without_classes(listing, exclude_classes)
    for note in dict.fromkeys((*listing.notes, *classes.notes(listing))):
        logger.warning("%s", note)
    return split(listing, **options)
