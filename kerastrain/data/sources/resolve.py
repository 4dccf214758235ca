"""What stands at a path: from the string that a person gives to the listing of its source.

Takes a path or a name, gives a `Listing`. Must not divide, decode, or import TensorFlow.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kerastrain.data.sources import (
    arrays,
    hugging_face,
    image_folders,
    named_sets,
    tables,
    text_folders,
    tfds,
    tfrecords,
)
from kerastrain.data.sources.table_columns import Columns
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError
from kerastrain.tasks import Task


def listing(
    path: str | os.PathLike,
    *,
    kind: Literal["images", "text"] = "images",
    image_size: tuple[int, int] | None = None,
    task: Task = "single_label",
    columns: Columns | None = None,
) -> Listing:
    """The examples at a path, counted and neither divided nor decoded, whatever the source is.

    | path | source |
    |---|---|
    | "digits" | scikit-learn's handwritten digits |
    | a file .csv, .tsv or .parquet | a manifest |
    | a file .npz | arrays |
    | a folder with kerastrain.json | a sharded set of `write_tfrecords` |
    | another folder | folders of images, or of texts for "text" |
    | "hf:NAME" | a data set of Hugging Face |
    | "tfds:NAME" | a data set of TensorFlow Datasets |

    Args:
        path: as in the table.
        kind: "images" or "text".
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.
        task: as `Examples.task`.
        columns: Columns, what the columns of a manifest, or the features of a named set, hold; None for the usual names.

    Returns:
        Listing, for `split` or `sizes`.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        InputError: what stands there is no such source, or as each source says.
    """
    if image_size is not None:
        image_size = checked_size(image_size)
    options = {"kind": kind, "task": task, "columns": columns}
    opener = next((opener for prefix, opener in _NAMED.items() if str(path).startswith(prefix)), None)
    if opener is not None:
        return named_sets.listing(opener(str(path)), image_size, **options)
    suffix = Path(path).suffix.lower()
    if suffix in tables.SUFFIXES:
        return tables.listing(path, image_size, **options)
    if columns is not None and columns != Columns():
        raise InputError(f"`columns` goes with a manifest or a named set. Received: '{path}', which has no columns.")
    if str(path) == "digits":
        return _fitting(arrays.digits_listing(image_size), kind, task)
    if suffix == ".npz":
        return _fitting(arrays.npz_listing(path, image_size, task=task), kind, task)
    if tfrecords.is_set(path):
        return _fitting(tfrecords.listing(path, image_size), kind, task)
    if task != "single_label":
        raise InputError(f"a folder gives one class to each example. Received: task {task!r}. Give a manifest.")
    return image_folders.listing(path, image_size) if kind == "images" else text_folders.listing(path)


def has_columns(path: str | os.PathLike) -> bool:
    """Whether what stands at a path is a table or a named set, to which `Columns` apply."""
    return str(path).startswith(tuple(_NAMED)) or Path(path).suffix.lower() in tables.SUFFIXES


def checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """`image_size` as a tuple.

    Raises:
        InputError: it is not two whole numbers above 0.
    """
    sides = tuple(image_size) if isinstance(image_size, Sequence) else ()
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise InputError(f"`image_size` must be two whole numbers >= 1, height and width. Received: {image_size!r}.")
    return sides


def _fitting(found: Listing, kind: str, task: Task) -> Listing:
    """The listing of a source that says itself what it holds, which must be what was asked for."""
    examples = found.examples
    held = {"O": "text", "u": "images"}.get(examples.dtype.kind, "arrays")
    if held != kind or examples.task != task:
        raise InputError(
            f"{found.source} holds {held} for task {examples.task!r}. Received: kind {kind!r} and task {task!r}. Ask for "
            "what it holds."
        )
    return found


_NAMED = {hugging_face.PREFIX: hugging_face.load, tfds.PREFIX: tfds.load}
