"""Targets, weights, groups and parts of examples, from the columns of a table.

Takes columns of Python values, returns arrays as in `Examples`. Every error names the row and the column. Must not open
files or import TensorFlow.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kerastrain.data.sources.parts import part_names
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task

USUAL_INPUTS = {"images": ("path", "image", "file", "file_name", "filename"), "text": ("text", "sentence")}
USUAL_TARGETS = {"single_label": "label", "multi_label": "labels", "regression": "target"}
_TRUTHS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


@dataclasses.dataclass(frozen=True)
class Columns:
    """The roles of the columns of a table.

    Args:
        input: str, the column of image paths or texts; None for the column path, image, file, file_name or filename,
            for texts text or sentence.
        targets: tuple of str. For "single_label" one column of classes; for "multi_label" one column of classes joined
            by `separator`, or a column of 0 and 1 for each class; for "regression" one or more columns of numbers.
            Empty for the column label ("single_label"), labels ("multi_label") or target ("regression").
        separator: str between the classes in a "multi_label" column.
        split: str, the column of parts, such as train, val and test; None for the column split, if there is one.
        weight: str, the column of weights in the loss, numbers >= 0; None for 1 each.
        group: str, the column of groups that must stay in one part, such as patients; None for no groups.
    """

    input: str | None = None
    targets: tuple[str, ...] = ()
    separator: str = "|"
    split: str | None = None
    weight: str | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of Python values by name.

    Args:
        source: str, its name in messages.
        values: mapping from the name of each column to its n values: str, numbers, None, or sequences of those.
        rows: sequence of n int, the position of each row in its source.
        unit: "line" or "row", the unit of `rows`.
        classes: mapping from the name of each column of class numbers to its class names.
    """

    source: str
    values: Mapping[str, Sequence]
    rows: Sequence[int]
    unit: str = "row"
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Sequence:
        """Returns the values of a column.

        Args:
            name: str, the name of the column.

        Returns:
            sequence of n values.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.values:
            raise InputError(f"{self.source}: {unknown('column', name, self.values)}")
        return self.values[name]

    def check(self, name: str, is_valid: Callable[[object], bool], rule: str) -> Sequence:
        """Returns the values of a column after checking each of them.

        Args:
            name: str, the name of the column.
            is_valid: callable (value) -> bool.
            rule: str, what a valid value is, for the message.

        Returns:
            sequence of n values.

        Raises:
            InputError: there is no such column, or a value is invalid (the message names the first such row).
        """
        values = self.column(name)
        invalid = [index for index, value in enumerate(values) if not is_valid(value)]
        if invalid:
            others = len(invalid) - 1
            more = f" Invalid too: {others} more {'row' if others == 1 else 'rows'}." if others else ""
            raise InputError(
                f"{self.row_name(invalid[0])}: column {name!r} must hold {rule}. Received: "
                f"{values[invalid[0]]!r}.{more}"
            )
        return values

    def row_name(self, index: int) -> str:
        """Names a row in messages, such as "line 3 of 'faces.csv'".

        Args:
            index: int in [0, n).

        Returns:
            str.
        """
        return f"{self.unit} {self.rows[index]} of {self.source}"


def input_name(table: Table, columns: Columns, kind: str) -> str:
    """Finds the column of inputs.

    Args:
        table: Table.
        columns: Columns.
        kind: "images" or "text".

    Returns:
        str, the name of the column.

    Raises:
        InputError: the named column does not exist, or none is named and none has a usual name.
    """
    if columns.input is not None:
        table.column(columns.input)
        return columns.input
    usual = next((name for name in USUAL_INPUTS[kind] if name in table.values), None)
    if usual is None:
        *names, last = USUAL_INPUTS[kind]
        raise InputError(
            f"{table.source} has no column {', '.join(names)} or {last}. It has: {', '.join(table.values)}. Set "
            "`columns.input` to the column of the inputs."
        )
    return usual


def targets(table: Table, columns: Columns, task: Task) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads the targets and the labels.

    Classes are in alphabetical order, or in numerical order if all are whole numbers. If the table numbers its classes
    or has a column for each class, they are in the order of the table.

    Args:
        table: Table.
        columns: Columns.
        task: as `Examples.task`.

    Returns:
        tuple of `Examples.targets` and `Examples.labels`.

    Raises:
        InputError: a column is unknown, there is more than one for "single_label", or a value is missing or invalid.
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
            f"`columns.targets` must be one column for task 'single_label'. Received: {', '.join(names)}. Name one of "
            "them, or set the task to multi_label or regression."
        )
    return (
        _single_label(table, names[0]) if task == "single_label" else _multi_label(table, names[0], columns.separator)
    )


def weights(table: Table, columns: Columns) -> np.ndarray | None:
    """Reads the weights.

    Args:
        table: Table.
        columns: Columns.

    Returns:
        float32 array (n,), finite and >= 0; None if no column is named.

    Raises:
        InputError: the column is unknown, or a value is not a finite number >= 0.
    """
    if columns.weight is None:
        return None
    rule = "a finite number >= 0"
    values = table.check(columns.weight, lambda value: _is_finite(value) and float(value) >= 0, rule)
    return np.array([float(value) for value in values], np.float32)


def groups(table: Table, columns: Columns) -> np.ndarray | None:
    """Reads the groups.

    Args:
        table: Table.
        columns: Columns.

    Returns:
        array (n,) of str; None if no column is named.

    Raises:
        InputError: the column is unknown, or a value is missing.
    """
    if columns.group is None:
        return None
    return np.array([str(value) for value in table.check(columns.group, _is_present, "the name of a group")], object)


def predefined_split(table: Table, columns: Columns) -> np.ndarray | None:
    """Reads the part of each row.

    Args:
        table: Table.
        columns: Columns.

    Returns:
        array (n,) of "train", "validation" and "test"; None if no column is named and there is no column split.

    Raises:
        InputError: the column is unknown, or a value is missing or denotes no part.
    """
    name = "split" if columns.split is None and "split" in table.values else columns.split
    if name is None:
        return None
    values = table.check(name, _is_present, "the name of a part, such as train")
    return part_names([str(value) for value in values], where=f"column {name!r} of {table.source}")


def _single_label(table: Table, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if name in table.classes:
        labels = table.classes[name]
        return np.array(_class_numbers(table, name), np.int64), labels
    values = [_text(value) for value in table.check(name, _is_present, "a class")]
    labels = _sorted_labels(set(values))
    numbers = {label: number for number, label in enumerate(labels)}
    return np.array([numbers[value] for value in values], np.int64), labels


def _multi_label(table: Table, name: str, separator: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if name in table.classes:
        labels = table.classes[name]
        label_sets = [[labels[number] for number in numbers] for numbers in _class_numbers(table, name)]
    else:
        label_sets = [_several_labels(value, separator) for value in table.column(name)]
        labels = _sorted_labels(set().union(*label_sets))
    if not labels:
        raise InputError(f"column {name!r} of {table.source} names no class in any row.")
    numbers = {label: number for number, label in enumerate(labels)}
    multi_hot = np.zeros((len(table), len(labels)), np.float32)
    for row, row_labels in enumerate(label_sets):
        multi_hot[row, [numbers[label] for label in row_labels]] = 1
    return multi_hot, labels


def _class_numbers(table: Table, name: str) -> Sequence:
    count = len(table.classes[name])

    def is_valid(value):
        return all(0 <= number < count for number in (value if isinstance(value, Sequence) else [value]))

    return table.check(name, is_valid, f"class numbers from 0 to {count - 1}")


def _several_labels(value: object, separator: str) -> list[str]:
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return [_text(label) for label in value]
    return [label.strip() for label in _text(value).split(separator) if label.strip()] if _is_present(value) else []


def _sorted_labels(names: set[str]) -> tuple[str, ...]:
    are_numbers = all(name.lstrip("-").isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if are_numbers else (0, name)))


def _text(value: object) -> str:
    return str(value).strip()


def _is_present(value: object) -> bool:
    return value is not None and value == value and bool(_text(value))  # NaN, the missing value of many tables.


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _truth(value: object) -> float | None:
    return _TRUTHS.get(_text(value).lower())
