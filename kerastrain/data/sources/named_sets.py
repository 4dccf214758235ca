"""Data sets that others publish under a name, with features that say themselves what they are.

Takes a `NamedSet`, which `hugging_face` and `tensorflow_datasets` open, gives a `Listing`. Must not import either
library, or TensorFlow.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import decoder
from kerastrain.data.sources import table_columns
from kerastrain.data.sources.image_folders import part_named
from kerastrain.data.sources.table_columns import Columns, Table
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError
from kerastrain.tasks import Task

logger = logging.getLogger("kerastrain")


@dataclasses.dataclass(frozen=True, eq=False)
class NamedSet:
    """A data set under a name, opened.

    Args:
        source: str, what messages call it.
        columns: from the name of each feature but images to its n values; may read them only when they are asked for.
        classes: from the name of each feature that numbers classes to the names of those.
        images: the names of the features that are images.
        texts: the names of the features that are texts.
        parts: n str, the part that each example belongs to, as the set calls it.
        content: callable (feature, row) -> the bytes of an image file.
    """

    source: str
    columns: Mapping[str, Sequence]
    classes: Mapping[str, tuple[str, ...]]
    images: Sequence[str]
    texts: Sequence[str]
    parts: Sequence[str]
    content: Callable[[str, int], bytes]


@dataclasses.dataclass(frozen=True)
class NamedImages:
    """The images of a feature, decoded anew each time that they are asked for; a `Store`.

    Args:
        named_set: NamedSet.
        feature: str, the feature that holds the images.
        rows: int64 array (n,), their rows in the set.
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.
    """

    named_set: NamedSet
    feature: str
    rows: np.ndarray
    image_size: tuple[int, int] | None
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.rows), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([decoder.decode_content(*self._named(index), self.image_size) for index in indices])

    def subset(self, indices: np.ndarray) -> "NamedImages":
        """The images at `indices`."""
        return dataclasses.replace(self, rows=self.rows[indices])

    def content(self, index: int) -> bytes:
        """The bytes of the image file at `index`."""
        return self.named_set.content(self.feature, int(self.rows[index]))

    def _named(self, index: int) -> tuple[str, bytes]:
        return f"row {self.rows[index]} of {self.named_set.source}", self.content(index)


def listing(
    named_set: NamedSet,
    image_size: tuple[int, int] | None = None,
    *,
    kind: Literal["images", "text"] = "images",
    task: Task = "single_label",
    columns: Columns | None = None,
) -> Listing:
    """The examples of a named set; texts are read, images are not.

    Args:
        named_set: NamedSet.
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.
        kind: "images" or "text".
        task: as `Examples.task`.
        columns: Columns, the features that hold what; None for the usual names, or the only feature of its kind.

    Returns:
        Listing. Its parts are those of the set that are called train, validation and test, or like it; others are left
        out, which the logger "kerastrain" is told.

    Raises:
        InputError: a feature is missing, a value is missing or of the wrong kind, or no part is left.
    """
    rows = _rows(named_set)
    columns = _completed(columns or Columns(), named_set, kind, task)
    values = {name: _Rows(named_set.columns, name, rows) for name in named_set.columns}
    table = Table(named_set.source, values, rows.tolist(), classes=named_set.classes)
    marks = np.array([part_named(named_set.parts[row]) for row in rows])
    if kind == "images":
        inputs = NamedImages(named_set, columns.input, rows, image_size)
        keys = tuple(f"{named_set.parts[row]}/{row}" for row in rows)
    else:
        keys = tuple(map(str, table.check(columns.input, lambda text: bool(str(text).strip()), "a text")))
        inputs = np.array(keys, object)
    targets, labels = table_columns.targets(table, columns, task)
    examples = Examples(
        targets,
        labels,
        inputs,
        task,
        weights=table_columns.weights(table, columns),
        groups=table_columns.groups(table, columns),
        keys=keys,
    )
    return Listing(named_set.source, examples, marks)


class _Rows(Sequence):
    """Some rows of a column, read when the first of them is asked for."""

    def __init__(self, columns: Mapping[str, Sequence], name: str, rows: np.ndarray):
        self._columns, self._name, self._rows = columns, name, rows
        self._values = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> object:
        if self._values is None:
            whole = list(self._columns[self._name])
            self._values = [whole[row] for row in self._rows]
        return self._values[index]


def _rows(named_set: NamedSet) -> np.ndarray:
    rows = np.array([row for row, part in enumerate(named_set.parts) if part_named(part)], np.int64)
    others = sorted({part for part in named_set.parts if not part_named(part)})
    if not len(rows):
        raise InputError(f"{named_set.source} has no part train, validation or test. It has: {', '.join(others)}.")
    if others:
        logger.warning("%s: left out the parts %s, which are not for training", named_set.source, ", ".join(others))
    return rows


def _completed(columns: Columns, named_set: NamedSet, kind: str, task: Task) -> Columns:
    """The columns with the features that are taken where none is named."""
    candidates = named_set.images if kind == "images" else named_set.texts
    feature = columns.input
    if feature is None:
        usual = [name for name in table_columns.USUAL_INPUTS[kind] if name in candidates]
        if not usual and len(candidates) != 1:
            raise InputError(_no_feature(named_set, kind, candidates))
        feature = (usual or candidates)[0]
    elif feature not in candidates:
        raise InputError(_no_feature(named_set, kind, candidates))
    targets = columns.targets
    if not targets and table_columns.USUAL_TARGETS[task] not in named_set.columns and len(named_set.classes) == 1:
        targets = tuple(named_set.classes)
    return dataclasses.replace(columns, input=feature, targets=targets)


def _no_feature(named_set: NamedSet, kind: str, candidates: Sequence[str]) -> str:
    what = "images" if kind == "images" else "texts"
    features = [*named_set.images, *named_set.columns]
    return (
        f"{named_set.source}: `columns.input` must name a feature that holds {what}: {', '.join(candidates) or 'none'}. "
        f"Its features are: {', '.join(features)}."
    )
