"""A table whose columns say what each example is: its classes or numbers, weight, group and part.

Takes columns of plain values, whatever they were read from, gives arrays as in `Examples`. Every fault names the row and
the column. Must not open files or import TensorFlow.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kerastrain.data.sources.image_folders import checked_marks
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task

USUAL_INPUTS = {"images": ("path", "image", "file", "file_name", "filename"), "text": ("text", "sentence")}
USUAL_TARGETS = {"single_label": "label", "multi_label": "labels", "regression": "target"}
_TRUTHS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    Args:
        input: the paths of the images, or the texts; None takes the one called path, image, file, file_name or filename,
            for texts text or sentence.
        targets: for "single_label" the one column of classes; for "multi_label" one column of several classes with
            `separator` between them, or a column of 0 and 1 for each class; for "regression" one column or more of
            numbers. Empty takes label, labels or target, in this order of tasks.
        separator: what stands between the classes in a column of several.
        split: the part of each example, such as train, val and test; None takes the one called split, if there is one.
        weight: how much each example counts in the loss; None for 1 each.
        group: what an example belongs to that must not be parted, such as a patient; None for nothing.
    """

    input: str | None = None
    targets: tuple[str, ...] = ()
    separator: str = "|"
    split: str | None = None
    weight: str | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of plain values under their names.

    Args:
        source: str, what messages call it.
        values: from the name of each column to its n values: str, numbers, None, or sequences of those.
        rows: n int, where each row stands in its source.
        unit: "line" or "row", what those number.
        classes: from the name of a column whose values are the numbers of classes to the names of those.
    """

    source: str
    values: Mapping[str, Sequence]
    rows: Sequence[int]
    unit: str = "row"
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Sequence:
        """The values of a column.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.values:
            raise InputError(f"{self.source}: {unknown('column', name, self.values)}")
        return self.values[name]

    def check(self, name: str, is_good: Callable[[object], bool], rule: str) -> Sequence:
        """The values of a column that all obey a rule.

        Raises:
            InputError: there is no such column, or a value breaks the rule; names the first row that does.
        """
        values = self.column(name)
        bad = [index for index, value in enumerate(values) if not is_good(value)]
        if bad:
            more = f" And {len(bad) - 1} more such rows." if len(bad) > 1 else ""
            raise InputError(
                f"{self.place(bad[0])}: column {name!r} must hold {rule}. Received: {values[bad[0]]!r}.{more}"
            )
        return values

    def place(self, index: int) -> str:
        """Where a row stands, for a message."""
        return f"{self.unit} {self.rows[index]} of {self.source}"


def input_name(table: Table, columns: Columns, kind: str) -> str:
    """The name of the column of inputs.

    Raises:
        InputError: no column is named, and none has a usual name.
    """
    if columns.input is not None:
        table.column(columns.input)
        return columns.input
    usual = next((name for name in USUAL_INPUTS[kind] if name in table.values), None)
    if usual is None:
        *names, last = USUAL_INPUTS[kind]
        raise InputError(
            f"{table.source} has no column {', '.join(names)} or {last}. It has: {', '.join(table.values)}. Name the one "
            "that holds the inputs by `columns.input`."
        )
    return usual


def targets(table: Table, columns: Columns, task: Task) -> tuple[np.ndarray, tuple[str, ...]]:
    """What is to be learnt of each row, and the labels, as in `Examples`.

    Classes stand in alphabetical order, or by their value where all are whole numbers; those of a table that numbers its
    classes, and those that have a column each, in the order of the table.

    Raises:
        InputError: an unknown column, the wrong number of columns, or a value that is missing or of the wrong kind.
    """
    names = columns.targets or (USUAL_TARGETS[task],)
    if task == "regression":
        numbers = [table.check(name, _is_finite, "a finite number") for name in names]
        return np.array([[float(value) for value in row] for row in zip(*numbers, strict=True)], np.float32), names
    if task == "multi_label" and len(names) > 1:
        truths = [table.check(name, lambda value: _truth(value) is not None, "0 or 1") for name in names]
        return np.array([[_truth(value) for value in row] for row in zip(*truths, strict=True)], np.float32), names
    if len(names) > 1:
        raise InputError(
            f"a single label stands in one column. Received: {', '.join(names)}. Name one of them, or set the task to "
            "multi_label or regression."
        )
    return _single(table, names[0]) if task == "single_label" else _several(table, names[0], columns.separator)


def weights(table: Table, columns: Columns) -> np.ndarray | None:
    """How much each row counts: float32 array (n,), or None."""
    if columns.weight is None:
        return None
    rule = "a finite number >= 0"
    values = table.check(columns.weight, lambda value: _is_finite(value) and float(value) >= 0, rule)
    return np.array([float(value) for value in values], np.float32)


def groups(table: Table, columns: Columns) -> np.ndarray | None:
    """The group of each row: array (n,) of str, or None."""
    if columns.group is None:
        return None
    return np.array([str(value) for value in table.check(columns.group, _is_there, "the name of a group")], object)


def predefined_split(table: Table, columns: Columns) -> np.ndarray | None:
    """The part of each row, or None where the table does not say."""
    name = "split" if columns.split is None and "split" in table.values else columns.split
    if name is None:
        return None
    values = table.check(name, _is_there, "the name of a part, such as train")
    return checked_marks([str(value) for value in values], where=f"column {name!r} of {table.source}")


def _single(table: Table, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if name in table.classes:
        labels = table.classes[name]
        return np.array(_class_numbers(table, name), np.int64), labels
    values = [_text(value) for value in table.check(name, _is_there, "a class")]
    labels = _in_order(set(values))
    places = {label: number for number, label in enumerate(labels)}
    return np.array([places[value] for value in values], np.int64), labels


def _several(table: Table, name: str, separator: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if name in table.classes:
        labels = table.classes[name]
        sets = [[labels[number] for number in numbers] for numbers in _class_numbers(table, name)]
    else:
        sets = [_parted(value, separator) for value in table.column(name)]
        labels = _in_order(set().union(*sets))
    if not labels:
        raise InputError(f"column {name!r} of {table.source} names no class in any row.")
    places = {label: number for number, label in enumerate(labels)}
    many = np.zeros((len(table), len(labels)), np.float32)
    for row, names in enumerate(sets):
        many[row, [places[one] for one in names]] = 1
    return many, labels


def _class_numbers(table: Table, name: str) -> Sequence:
    count = len(table.classes[name])

    def is_good(value):
        return all(0 <= one < count for one in (value if isinstance(value, Sequence) else [value]))

    return table.check(name, is_good, f"numbers of classes from 0 to {count - 1}")


def _parted(value: object, separator: str) -> list[str]:
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return [_text(one) for one in value]
    return [part.strip() for part in _text(value).split(separator) if part.strip()] if _is_there(value) else []


def _in_order(names: set[str]) -> tuple[str, ...]:
    is_numbers = all(name.lstrip("-").isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if is_numbers else (0, name)))


def _text(value: object) -> str:
    return str(value).strip()


def _is_there(value: object) -> bool:
    return value is not None and value == value and bool(_text(value))  # NaN, the missing value of many tables.


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _truth(value: object) -> float | None:
    return _TRUTHS.get(_text(value).lower())
