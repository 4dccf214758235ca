"""Published data sets whose features have types: images, texts, classes and numbers.

Takes a `NamedSet`, which `hugging_face` and `tfds` open; returns a `Listing`. Must not import either library, or
TensorFlow.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import decoder
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.sources import number_columns, slice_columns, table_columns, table_roles, text_pairs
from kerastrain.data.sources.parts import part_of, parts_of
from kerastrain.data.sources.table import Columns, Table
from kerastrain.data.splitting.listings import Listing
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task


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
        layout: str, where the set comes from, such as "a data set of Hugging Face".
        notes: tuple of str, as `Listing.notes`.
    """

    source: str
    columns: Mapping[str, Sequence]
    classes: Mapping[str, tuple[str, ...]]
    images: Sequence[str]
    texts: Sequence[str]
    parts: Sequence[str]
    content: Callable[[str, int], bytes]
    layout: str = ""
    notes: tuple[str, ...] = ()


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
        Listing with the parts of the set that are named train, validation or test, or a synonym such as dev. Other parts,
        and parts without any label, are left out with a note. Examples without a label or a text are skipped.

    Raises:
        InputError: a feature is missing, a value is of the wrong type, or no part is usable.
    """
    part_by_name, notes = _parts(named_set)
    columns, task_notes = _completed(columns or Columns(), named_set, kind, task)
    rows = np.array([row for row, part in enumerate(named_set.parts) if part in part_by_name], np.int64)
    rows, skipped, more = _labelled(named_set, columns, kind, task, rows)
    notes = (*named_set.notes, *notes, *task_notes, *more)
    values = {name: _Rows(named_set.columns, name, rows) for name in named_set.columns}
    table = Table(named_set.source, values, rows.tolist(), classes=named_set.classes)
    if task == "single_label":
        values |= {name: _alone(values[name], name, named_set.source) for name in columns.targets}
    predefined_split = np.array([part_by_name[named_set.parts[row]] for row in rows])
    if kind == "images":
        inputs = NamedImages(named_set, columns.inputs[0], rows, image_size)
        keys = tuple(f"{named_set.parts[row]}/{row}" for row in rows)
    else:
        texts = [
            [" ".join(map(str, row)) for row in zip(*map(table.column, names), strict=True)] for names in columns.texts
        ]
        inputs = np.array(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)), object)
        keys = tuple(map(text_pairs.shown, inputs))
        if columns.pairs:
            notes = (*notes, *text_pairs.repeated(texts[0], columns, len(set(predefined_split)) > 1))
    targets, labels, of_targets = table_columns.targets(table, columns, task)
    examples = Examples(
        targets,
        labels,
        inputs,
        task,
        weights=table_columns.weights(table, columns),
        groups=table_columns.groups(table, columns),
        numbers=table_columns.numbers(table, columns),
        number_names=tuple(columns.numbers),
        keys=keys,
        slices=table_columns.slices(table, columns),
    )
    second = f", second texts of {_quoted(columns.pairs)}" if columns.pairs else ""
    noun = "first texts of pairs" if second else kind
    roles = f"{noun} of {_quoted(columns.inputs)}{second}, targets of {_quoted(columns.targets)}"
    roles += f", slices of {_quoted(columns.slices)}" if columns.slices else ""
    layout = f"{named_set.layout}: {roles}" if named_set.layout else roles
    return Listing(
        named_set.source, examples, predefined_split, layout=layout, notes=(*notes, *of_targets), skipped=skipped
    )


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


def _parts(named_set: NamedSet) -> tuple[dict[str, str], list[str]]:
    """Maps the names of the usable parts to train, validation and test, with notes about the others."""
    names = list(dict.fromkeys(named_set.parts))
    if len(names) == 1:  # A slice such as train[:10%] too: there is nothing to keep apart.
        denoted = part_of(names[0].partition("[")[0])
        other = f"its only part, {names[0]}, is divided into train, validation and test"
        return {names[0]: "train"}, [] if denoted == "train" else [other]
    denoted = parts_of([name.partition("[")[0] for name in names])
    parts = {name: denoted[start] for name in names if (start := name.partition("[")[0]) in denoted}
    if not parts:
        raise InputError(f"{named_set.source} has no part train, validation or test. It has: {', '.join(names)}.")
    others = [f"{name} ({named_set.parts.count(name):,} examples)" for name in names if name not in parts]
    notes = [f"parts that are not train, validation or test are left out: {', '.join(others)}"] if others else []
    for part in ("train", "validation", "test"):
        same = [name for name, denoted_part in parts.items() if denoted_part == part]
        if len(same) > 1:
            notes.append(f"the parts {' and '.join(same)} are both read as {part}")
    return parts, notes


def _labelled(
    named_set: NamedSet, columns: Columns, kind: str, task: Task, rows: np.ndarray
) -> tuple[np.ndarray, tuple[Quarantined, ...], list[str]]:
    """Returns the rows that have a target and a text, those that lack one, and notes about parts without any target."""
    parts = np.array([named_set.parts[row] for row in rows], object)
    is_labelled = np.ones(len(rows), bool)
    for name in columns.targets:
        values = _Rows(named_set.columns, name, rows)
        marks = _marks_of_missing(values, parts, name in named_set.classes, task)
        is_missing = [_is_missing(value, mark, task) for value, mark in zip(values, marks, strict=True)]
        is_labelled &= ~np.array(is_missing, bool)
    notes, is_left = [], np.zeros(len(rows), bool)
    for part in dict.fromkeys(parts):
        is_in = parts == part
        if not is_labelled[is_in].any():
            notes.append(f"the part {part} is left out: none of its {is_in.sum():,} examples has a label")
            is_left |= is_in
    if is_left.all():
        raise InputError(f"no example of {named_set.source} has a value in {_quoted(columns.targets)}.")
    reasons = {int(row): f"it has no {_quoted(columns.targets)}" for row in rows[~is_labelled & ~is_left]}
    for name in (*columns.inputs, *columns.pairs) if kind == "text" else ():
        values = _Rows(named_set.columns, name, rows)
        empty = np.array([not isinstance(value, str) or not value.strip() for value in values], bool)
        reasons = {int(row): f"its {name} is empty" for row in rows[empty & ~is_left]} | reasons
    skipped = tuple(
        Quarantined(f"row {row} of {named_set.source}", "incomplete", reasons[row]) for row in sorted(reasons)
    )
    return np.array([row for row in rows[~is_left] if int(row) not in reasons], np.int64), skipped, notes


def _marks_of_missing(values: Sequence, parts: np.ndarray, has_classes: bool, task: Task) -> list[bool]:
    """Whether -1 marks a missing label in each row.

    It does for numbered classes. Among plain whole numbers it may be a class, so there it counts only where a whole part
    is -1 and no other part has one.
    """
    if has_classes or task != "single_label":
        return [has_classes] * len(values)
    is_minus_one = np.array([_is_minus_one(value) for value in values], bool)
    whole = {part for part in dict.fromkeys(parts) if is_minus_one[parts == part].all()}
    others = is_minus_one[~np.isin(parts, list(whole))]
    marks = whole if not others.any() else set()
    return [part in marks for part in parts]


def _is_missing(value: object, minus_one_is_missing: bool, task: Task) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        is_empty = task == "single_label" and not value
        return is_empty or (minus_one_is_missing and any(map(_is_minus_one, value)))
    return not table_columns.is_present(value) or (minus_one_is_missing and _is_minus_one(value))


def _alone(values: Sequence, name: str, source: str) -> Sequence:
    """Returns the only class of each list of classes; a column that is no lists unchanged."""
    if not any(isinstance(value, list | tuple | np.ndarray) for value in values):
        return values
    several = next((value for value in values if len(value) > 1), None)
    if several is not None:
        raise InputError(
            f"{source}: column {name!r} must hold one class for data.task=single_label. Received: {list(several)}. Set "
            "data.task=multi_label."
        )
    return [value[0] for value in values]


def _is_minus_one(value: object) -> bool:
    return isinstance(value, int | np.integer) and value == -1


def _completed(columns: Columns, named_set: NamedSet, kind: str, task: Task) -> tuple[Columns, list[str]]:
    """Returns `columns` with default features in place of those that are not named, and notes about these."""
    candidates = named_set.images if kind == "images" else named_set.texts
    text_pairs.check(columns, kind)
    if wrong := [name for name in columns.pairs if name not in candidates]:
        raise InputError(
            f"{named_set.source}: {unknown('feature of texts', wrong[0], candidates)} Correct `data.columns.pair`."
        )
    if columns.folder or columns.suffix:
        raise InputError(
            f"`data.columns.folder` and `data.columns.suffix` are for tables. Received: {named_set.source}. Remove them."
        )
    features = columns.inputs
    if not features:
        candidates = [name for name in candidates if name not in columns.pairs]
        usual = [name for name in table_roles.USUAL_INPUTS[kind] if name in candidates]
        if not usual and len(candidates) != 1:
            raise InputError(_no_feature(named_set, kind, candidates))
        features = ((usual or candidates)[0],)
    elif not set(features) <= set(candidates) or (kind == "images" and len(features) > 1):
        raise InputError(_no_feature(named_set, kind, candidates))
    targets, usual, notes = columns.targets, table_roles.USUAL_TARGETS[task], []
    if not targets and usual not in list(named_set.columns) and len(named_set.classes) == 1:
        targets = tuple(named_set.classes)
        notes.append(f"the classes are those of {_quoted(targets)}, the only feature of classes")
    targets = targets or (usual,)
    for name in targets:
        if name not in list(named_set.columns):  # `in` would read the column
            raise InputError(
                f"{named_set.source}: {unknown('column', name, named_set.columns)} Set `data.columns.targets`."
            )
    columns = dataclasses.replace(columns, input=features, targets=targets)
    number_columns.check(columns)
    slice_columns.check(columns)
    for field in ("numbers", "slices"):
        if wrong := [name for name in getattr(columns, field) if name not in list(named_set.columns)]:
            raise InputError(
                f"{named_set.source}: {unknown('column', wrong[0], named_set.columns)} Correct `data.columns.{field}`."
            )
    return columns, [*notes, *text_pairs.notes(named_set.texts, columns)]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _no_feature(named_set: NamedSet, kind: str, candidates: Sequence[str]) -> str:
    content = "images" if kind == "images" else "texts"
    features = [*named_set.images, *named_set.columns]
    pair = text_pairs.settings(candidates) if kind == "text" else ""
    return (
        f"{named_set.source}: `data.columns.input` must name a feature of {content}: {', '.join(candidates) or 'none'}. Its "
        f"features are: {', '.join(features)}.{f' Pairs of texts are read with {pair}.' if pair else ''}"
    )
