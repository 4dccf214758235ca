"""Detects the source at a path or under a name.

Takes a path or a name, returns a `Listing`. Must not split, decode, or import TensorFlow.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from kerastrain.data.sources import (
    arrays,
    hugging_face,
    image_folders,
    missing_decoders,
    named_sets,
    npz_files,
    table_folders,
    tables,
    text_folders,
    tfds,
    tfrecords,
)
from kerastrain.data.sources.table import Columns
from kerastrain.data.splitting import classes
from kerastrain.data.splitting.listings import Listing
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError, is_whole_number
from kerastrain.tasks import Task


def listing(
    path: str | os.PathLike,
    *,
    kind: Literal["images", "text"] = "images",
    image_size: tuple[int, int] | None = None,
    task: Task = "single_label",
    columns: Columns | None = None,
    exclude_classes: Sequence[str] = (),
    decoding: Decoding | None = None,
) -> Listing:
    """Lists the examples of any source, without splitting or decoding them.

    | path | source |
    |---|---|
    | "digits" | scikit-learn's handwritten digits |
    | a file .csv, .tsv, .jsonl, .json or .parquet, or another file that is a table by its content | a manifest |
    | a folder with train.csv, test.csv, … or one table | manifests |
    | a file .npz | arrays |
    | a folder with kerastrain.json | a sharded set from `write_tfrecords` |
    | any other folder | image files in class folders; for kind "text", text files |
    | "hf:NAME" | a data set from Hugging Face |
    | "tfds:NAME" | a data set from TensorFlow Datasets |

    Args:
        path: as in the table.
        kind: "images" or "text".
        image_size: (height, width) in pixels that every image is stretched to; None if they are only counted.
        task: as `Examples.task`.
        columns: Columns, the role of each column of a manifest or feature of a named set; None for the usual names.
        exclude_classes: sequence of str, the classes whose examples are left out.
        decoding: Decoding, how images become pixels; None for its defaults.

    Returns:
        Listing, for `split` or `sizes`.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        InputError: `kind`, `task`, `columns` or `exclude_classes` does not fit the source, or as for the function of the
            source.
    """
    if kind not in ("images", "text"):
        raise InputError(
            f"examples that are classified are images or texts. Received: data.kind={kind}, for language models, which `check`, "
            "`train`, `data scan` and `data preview` read. Set data.kind."
        )
    decoding = decoding or Decoding()
    everything = _of_source(path, kind=kind, image_size=image_size, task=task, columns=columns, decoding=decoding)
    everything = missing_decoders.left_out(decoded(everything, decoding))
    used = classes.without_classes(everything, exclude_classes)
    return dataclasses.replace(used, notes=(*used.notes, *classes.notes(used)))


def _of_source(
    path: str | os.PathLike,
    *,
    kind: Literal["images", "text"],
    image_size: tuple[int, int] | None,
    task: Task,
    columns: Columns | None,
    decoding: Decoding,
) -> Listing:
    """Lists all examples of a source."""
    if image_size is not None:
        image_size = checked_size(image_size)
    options = {"kind": kind, "task": task, "columns": columns}
    opener = next((opener for prefix, opener in _NAMED.items() if str(path).startswith(prefix)), None)
    if opener is not None:
        return named_sets.listing(opener(str(path)), image_size, **options)
    is_word = path == _DIGITS  # Not Path("digits"), which is a folder.
    if not is_word:
        path = os.path.expanduser(path)
        npz_files.refuse_others(path)
    if not is_word and (tables.is_table(path, is_only_choice=True) or _is_folder_of_tables(path, kind, columns, task)):
        return tables.listing(path, image_size, **options)
    # A separator says nothing about other sources; configs of earlier versions name one always.
    if columns is not None and dataclasses.replace(columns, separator=None) != Columns():
        raise InputError(f"`data.columns` requires a table or a named set. Received: '{path}', which has no columns.")
    if is_word:
        return _checked(arrays.digits_listing(image_size), kind, task)
    if Path(path).suffix.lower() == ".npz":
        return arrays.npz_listing(path, image_size, task=task, kind=kind, decoding=decoding)
    if tfrecords.is_set(path):
        return _checked(tfrecords.listing(path, image_size), kind, task)
    if task != "single_label" and os.path.isdir(path):
        raise InputError(f"a folder gives one class to each example. Received: task {task!r}. Give a table.")
    return image_folders.listing(path, image_size) if kind == "images" else text_folders.listing(path)


def decoded(listing: Listing, decoding: Decoding) -> Listing:
    """Sets how the images of a listing are decoded, without decoding any.

    Args:
        listing: Listing.
        decoding: Decoding. If it has no pixel range, that which the source found counts.

    Returns:
        Listing; unchanged if its examples are not images.
    """
    inputs = listing.examples.inputs
    if isinstance(inputs, np.ndarray):
        return listing
    pixel_range = decoding.pixel_range or inputs.decoding.pixel_range
    inputs = dataclasses.replace(inputs, decoding=dataclasses.replace(decoding, pixel_range=pixel_range))
    return dataclasses.replace(listing, examples=dataclasses.replace(listing.examples, inputs=inputs))


def has_columns(path: str | os.PathLike, kind: Literal["images", "text"] = "images") -> bool:
    """Whether the source at a path is a table, a folder of tables or a named set, so that `Columns` apply.

    Args:
        path: as for `listing`.
        kind: as for `listing`.

    Returns:
        bool.
    """
    is_named = str(path).startswith(tuple(_NAMED))
    return is_named or tables.is_table(path) or _is_folder_of_tables(path, kind, None, "single_label")


def _is_folder_of_tables(path: str | os.PathLike, kind: str, columns: Columns | None, task: Task) -> bool:
    folder = os.path.expanduser(path)
    if path == "digits" or not os.path.isdir(folder) or tfrecords.is_set(folder):
        return False
    return table_folders.is_folder_of_tables(folder, kind, columns, task)


def checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Checks an image size.

    Args:
        image_size: sequence of two ints >= 1, (height, width) in pixels.

    Returns:
        tuple of two ints.

    Raises:
        InputError: it is not a sequence of two whole numbers >= 1.
    """
    sides = tuple(image_size) if isinstance(image_size, Sequence) else ()
    if len(sides) != 2 or any(not is_whole_number(side) or side < 1 for side in sides):
        raise InputError(f"`image_size` must be two whole numbers >= 1, height and width. Received: {image_size!r}.")
    return sides


def _checked(listing: Listing, kind: str, task: Task) -> Listing:
    """Returns a listing whose source stores its kind and task, after comparing them with those requested."""
    examples = listing.examples
    actual = {"O": "text", "u": "images"}.get(examples.dtype.kind, "arrays")
    if actual != kind or examples.task != task:
        raise InputError(
            f"the kind and the task must be those of {listing.source}: {actual!r} and {examples.task!r}. Received: "
            f"{kind!r} and {task!r}."
        )
    return listing


_DIGITS = "digits"
_NAMED = {hugging_face.PREFIX: hugging_face.load, tfds.PREFIX: tfds.load}
