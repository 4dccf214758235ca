"""Published data sets whose features have types: images, texts, classes and numbers.

Takes a `NamedSet`, which `hugging_face` and `tfds` open; returns a `Listing`. Must not import either library, or
TensorFlow.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import decoder
from kerastrain.data.sources import table_columns, table_roles
from kerastrain.data.sources.parts import part_of
from kerastrain.data.sources.table_columns import Columns, Table
from kerastrain.data.splitting.listings import Listing
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError
from kerastrain.tasks import Task

logger = logging.getLogger("kerastrain")


@dataclasses.dataclass(frozen=True, eq=False)
class NamedSet:
    """An opened published data set of n examples.

    Args:
        source: str, its name in messages.
        columns: mapping from the name of each feature except images to its n values, which may be read on access.
        classes: mapping from the name of each feature of class numbers to its class names.
        images: sequence of str, the names of the image features.
        texts: sequence of str, the names of the text features.
        parts: sequence of n str, the part of each example under the name that the set gives it.
        content: callable (feature, row) -> bytes of an image file.
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
    """A `Store` of the images of a feature, decoded on every access.

    Args:
        named_set: NamedSet.
        feature: str, the image feature.
        rows: int64 array (n,), the rows of the images in the set.
        image_size: (height, width) in pixels that every image is resized to; None if they are only counted.
        decoding: Decoding.
    """

    named_set: NamedSet
    feature: str
    rows: np.ndarray
    image_size: tuple[int, int] | None
    decoding: Decoding = Decoding()
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.rows), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                decoder.decode_content(self._name(index), self.content(index), self.image_size, self.decoding)
                for index in indices
            ]
        )

    def subset(self, indices: np.ndarray) -> "NamedImages":
        """Selects images without reading them.

        Args:
            indices: int array (m,), values in [0, n).

        Returns:
            NamedImages, m of them, in the order of `indices`.
        """
        return dataclasses.replace(self, rows=self.rows[indices])

    def content(self, index: int) -> bytes:
        """Reads the image file at an index.

        Args:
            index: int in [0, n).

        Returns:
            bytes of the file.
        """
        return self.named_set.content(self.feature, int(self.rows[index]))

    def _name(self, index: int) -> str:
        return f"row {self.rows[index]} of {self.named_set.source}"


def listing(
    named_set: NamedSet,
    image_size: tuple[int, int] | None = None,
    *,
    kind: Literal["images", "text"] = "images",
    task: Task = "single_label",
    columns: Columns | None = None,
) -> Listing:
    """Lists the examples of a named set; reads texts but no images.

    Args:
        named_set: NamedSet.
        image_size: (height, width) in pixels that every image is stretched to; None if they are only counted.
        kind: "images" or "text".
        task: as `Examples.task`.
        columns: Columns, the role of each feature; None for the usual names, or the only feature of its kind.

    Returns:
        Listing with the parts of the set that are named train, validation or test, or a synonym such as dev. Other
        parts are skipped with a warning to the logger "kerastrain".

    Raises:
        InputError: a feature is missing, a value is missing or of the wrong type, or no part is usable.
    """
    rows = _rows(named_set)
    columns = _completed(columns or Columns(), named_set, kind, task)
    values = {name: _Rows(named_set.columns, name, rows) for name in named_set.columns}
    table = Table(named_set.source, values, rows.tolist(), classes=named_set.classes)
    predefined_split = np.array([part_of(named_set.parts[row]) for row in rows])
    if kind == "images":
        inputs = NamedImages(named_set, columns.inputs[0], rows, image_size)
        keys = tuple(f"{named_set.parts[row]}/{row}" for row in rows)
    else:
        texts = [table.check(name, lambda text: bool(str(text).strip()), "a text") for name in columns.inputs]
        keys = tuple(" ".join(map(str, row)) for row in zip(*texts, strict=True))
        inputs = np.array(keys, object)
    targets, labels, of_targets = table_columns.targets(table, columns, task)
    examples = Examples(
        targets,
        labels,
        inputs,
        task,
        weights=table_columns.weights(table, columns),
        groups=table_columns.groups(table, columns),
        keys=keys,
    )
    return Listing(named_set.source, examples, predefined_split, notes=of_targets)


class _Rows(Sequence):
    """Some rows of a column, all read on the first access."""

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
    rows = np.array([row for row, part in enumerate(named_set.parts) if part_of(part)], np.int64)
    others = sorted({part for part in named_set.parts if not part_of(part)})
    if not len(rows):
        raise InputError(f"{named_set.source} has no part train, validation or test. It has: {', '.join(others)}.")
    if others:
        logger.warning(
            "%s: skipped the parts that are not train, validation or test: %s", named_set.source, ", ".join(others)
        )
    return rows


def _completed(columns: Columns, named_set: NamedSet, kind: str, task: Task) -> Columns:
    """Returns `columns` with default features in place of those that are not named."""
    candidates = named_set.images if kind == "images" else named_set.texts
    features = columns.inputs
    if not features:
        usual = [name for name in table_roles.USUAL_INPUTS[kind] if name in candidates]
        if not usual and len(candidates) != 1:
            raise InputError(_no_feature(named_set, kind, candidates))
        features = ((usual or candidates)[0],)
    elif not set(features) <= set(candidates) or (kind == "images" and len(features) > 1):
        raise InputError(_no_feature(named_set, kind, candidates))
    targets = columns.targets
    if not targets and table_roles.USUAL_TARGETS[task] not in named_set.columns and len(named_set.classes) == 1:
        targets = tuple(named_set.classes)
    return dataclasses.replace(columns, input=features, targets=targets)


def _no_feature(named_set: NamedSet, kind: str, candidates: Sequence[str]) -> str:
    content = "images" if kind == "images" else "texts"
    features = [*named_set.images, *named_set.columns]
    return (
        f"{named_set.source}: `data.columns.input` must name a feature of {content}: {', '.join(candidates) or 'none'}. Its "
        f"features are: {', '.join(features)}."
    )
