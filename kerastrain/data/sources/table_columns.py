"""Targets, weights, groups and parts of examples, from the columns of a table.

Takes columns of Python values, returns arrays as in `Examples`. Every error names the row and the column. Must not open
files or import TensorFlow.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kerastrain.data.sources import class_names, fasttext_lines, label_sets, number_columns
from kerastrain.data.sources.delimited import ABSENT
from kerastrain.data.sources.parts import part_names
from kerastrain.data.sources.table import Columns, Table
from kerastrain.data.sources.table_roles import USUAL_TARGETS
from kerastrain.errors import InputError
from kerastrain.tasks import Task

MISSING = "(missing)"
"""The value of a slice of examples whose cell is empty."""

_TRUTHS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
_SIGNS = {"-1": 0.0, "1": 1.0, "-1.0": 0.0, "1.0": 1.0}
_MISSING = re.compile(r"(?i:nan|<na>|#n/a|n/a|null)|NA")
_WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0+")
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?")


def incomplete(table: Table, columns: Columns, task: Task | None) -> dict[int, str]:
    """Finds the rows in which a value that an example needs is missing or invalid.

    Args:
        table: Table.
        columns: Columns, whose `input` and `targets` are named.
        task: as `Examples.task`; None if only the inputs are needed.

    Returns:
        dict from the index of each such row to the reason, the rest of a sentence about the row.

    Raises:
        InputError: a column is invalid in all rows.
    """
    reasons = {}
    checks = []
    for names in columns.texts:
        if len(names) == 1:
            checks.append((names[0], _is_input, "a text or a path"))
            continue
        values = [table.column(name) for name in names]
        empty = [index for index in range(len(table)) if not any(is_present(column[index]) for column in values)]
        reasons |= dict.fromkeys(empty, f"the columns {', '.join(map(repr, names))} are empty")
        if len(table) and len(empty) == len(table):
            raise InputError(f"{table.row_name(0)}: {reasons[0]}, as in all other rows.")
    if task is None:  # In a listing, a text among numbers is an error.
        checks += [
            (name, lambda value: _is_number_or_missing(value, table), number_columns.RULE) for name in columns.numbers
        ]
    for name, is_valid, rule in checks + (_checks(table, columns, task) if task else []):
        values = table.column(name)
        invalid = [index for index in range(len(table)) if not is_valid(values[index])]
        if invalid and len(invalid) == len(table):
            table.check(name, is_valid, rule)
        for index in invalid:
            reasons.setdefault(index, _reason(name, values[index], rule))
    return dict(sorted(reasons.items()))


def _checks(table: Table, columns: Columns, task: Task) -> list[tuple[str, Callable[[object], bool], str]]:
    names = columns.targets or (USUAL_TARGETS[task],)
    checks = []
    if task == "regression":
        checks += [(name, lambda value: _is_finite(value, table), "a finite number") for name in names]
    elif task == "multi_label" and len(names) > 1:
        truths = _truths(table, names)
        checks += [(name, lambda value: _text(value).lower() in truths, "0 or 1") for name in names]
    elif task == "multi_label":
        checks += [(name, lambda value: value is not ABSENT, "labels") for name in names]
    elif len(names) == 1 and names[0] not in table.classes:
        checks += [(name, _is_class, "a class, and several are for data.task=multi_label") for name in names]
    if columns.weight is not None:
        checks.append((columns.weight, lambda value: _is_weight(value, table), "a finite number >= 0"))
    if columns.group is not None:
        checks.append((columns.group, is_present, "the name of a group"))
    if columns.split is not None:
        checks.append((columns.split, is_present, "the name of a part, such as train"))
    return checks


def _reason(name: str, value: object, rule: str) -> str:
    if value is ABSENT:
        return f"it has no value in column {name!r}"
    if value is None or not _text(value):
        return f"column {name!r} is empty"
    if rule != "0 or 1" and not is_present(value):
        return f"column {name!r} is {_text(value)!r}, which stands for a missing value"
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}…"
    return f"column {name!r} is {shown} and must be {rule}"


def targets(table: Table, columns: Columns, task: Task) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Reads the targets and the labels.

    Classes are in alphabetical order, or in numerical order if all are numbers. If the table numbers its classes or has a
    column for each class, they are in the order of the table.

    Args:
        table: Table.
        columns: Columns.
        task: as `Examples.task`.

    Returns:
        tuple of `Examples.targets`, `Examples.labels`, and notes.

    Raises:
        InputError: a column is unknown, there is more than one for "single_label", or a value is missing or invalid.
    """
    names = tuple(columns.targets) or (USUAL_TARGETS[task],)
    if task == "regression":
        numbers = [table.check(name, lambda value: _is_finite(value, table), "a finite number") for name in names]
        rows = [[_number(value, table) for value in row] for row in zip(*numbers, strict=True)]
        commas = [name for name in names if any("," in _text(value) for value in table.column(name))]
        notes = [f"the numbers in column {name!r} have a decimal comma" for name in commas]
        return np.array(rows, np.float32).reshape(len(table), len(names)), names, tuple(notes)
    if task == "multi_label" and len(names) > 1:
        meanings = _truths(table, names)
        truths = [table.check(name, lambda value: _text(value).lower() in meanings, "0 or 1") for name in names]
        rows = [[meanings[_text(value).lower()] for value in row] for row in zip(*truths, strict=True)]
        notes = ("the columns of the labels hold 1 and -1, and -1 is read as no",) if meanings is _SIGNS else ()
        return np.array(rows, np.float32).reshape(len(table), len(names)), names, notes
    if len(names) > 1:
        raise InputError(
            f"`data.columns.targets` must be one column for task 'single_label'. Received: {', '.join(names)}. Name one "
            "of them, or set the task to multi_label or regression."
        )
    if task == "single_label":
        return _single_label(table, names[0])
    return _multi_label(table, names[0], columns.separator)


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
    values = table.check(columns.weight, lambda value: _is_weight(value, table), "a finite number >= 0")
    return np.array([_number(value, table) for value in values], np.float32)


def numbers(table: Table, columns: Columns) -> np.ndarray | None:
    """Reads the numbers that are inputs.

    Args:
        table: Table.
        columns: Columns.

    Returns:
        float32 array (n, k), NaN where a number is missing; None if no column is named.

    Raises:
        InputError: a column is unknown, or a value is neither a finite number nor missing.
    """
    if not columns.numbers:
        return None
    values = [
        table.check(name, lambda value: _is_number_or_missing(value, table), number_columns.RULE)
        for name in columns.numbers
    ]
    return number_columns.array(values, lambda value: _number(value, table) if is_present(value) else math.nan)


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
    return np.array([_text(value) for value in table.check(columns.group, is_present, "the name of a group")], object)


def slices(table: Table, columns: Columns) -> dict[str, np.ndarray]:
    """Reads the values by which measures are divided.

    Args:
        table: Table.
        columns: Columns.

    Returns:
        dict from the name of each column to an object array (n,) of str, "(missing)" where a cell is empty.

    Raises:
        InputError: a column is unknown.
    """
    return {
        name: np.array([_text(value) if is_present(value) else MISSING for value in table.column(name)], object)
        for name in columns.slices
    }


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
    values = table.check(name, is_present, "the name of a part, such as train")
    return part_names([str(value) for value in values], where=f"column {name!r} of {table.source}")


def is_present(value: object) -> bool:
    """Whether a cell has a value: it is not empty, and none of the marks of missing values, such as NaN and NA.

    Args:
        value: object, a cell.

    Returns:
        bool.
    """
    if value is None or value is ABSENT or (isinstance(value, float) and math.isnan(value)):
        return False
    text = _text(value)
    return bool(text) and not (isinstance(value, str) and _MISSING.fullmatch(text))


def _single_label(table: Table, name: str) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    if name in table.classes:
        labels = table.classes[name]
        return np.array(_class_numbers(table, name), np.int64), labels, ()
    values = table.check(name, _is_class, "a class, and several are for data.task=multi_label")
    texts, notes = _cleaned([_text(value[0] if _is_list(value) else value) for value in values], name)
    numbers, labels, more = class_names.numbered(texts)
    return numbers, labels, (*notes, *more)


def _multi_label(table: Table, name: str, separator: str | None) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    if name in table.classes:
        labels, notes = table.classes[name], ()
        sets = [[labels[number] for number in numbers] for numbers in _class_numbers(table, name)]
    else:
        where = f"column {name!r} of {table.source}"
        cells = [value if is_present(value) else None for value in table.column(name)]
        sets, notes = label_sets.parsed(cells, separator, where)
        label_of, more = class_names.spellings(Counter(label for row in sets for label in row))
        sets = [[label_of[label] for label in row] for row in sets]
        labels, notes = class_names.ordered(set(label_of.values())), (*notes, *more)
    if not labels:
        raise InputError(f"column {name!r} of {table.source} names no class in any row.")
    numbers = {label: number for number, label in enumerate(labels)}
    multi_hot = np.zeros((len(table), len(labels)), np.float32)
    for row, row_labels in enumerate(sets):
        multi_hot[row, [numbers[label] for label in row_labels]] = 1
    return multi_hot, labels, notes


def _class_numbers(table: Table, name: str) -> Sequence:
    count = len(table.classes[name])

    def is_valid(value):
        return all(0 <= number < count for number in (value if isinstance(value, Sequence) else [value]))

    return table.check(name, is_valid, f"class numbers from 0 to {count - 1}")


def _cleaned(texts: list[str], name: str) -> tuple[list[str], tuple[str, ...]]:
    """Returns classes without the prefix of fastText, or without the ".0" that programs add to whole numbers."""
    if texts and all(text.startswith(fasttext_lines.PREFIX) for text in texts):
        note = f"the classes in column {name!r} are read without {fasttext_lines.PREFIX}"
        return [text.removeprefix(fasttext_lines.PREFIX) for text in texts], (note,)
    found = next(filter(_WHOLE_AS_FLOAT.fullmatch, texts), None)
    if found is None or not all(map(_WHOLE.fullmatch, texts)):
        return texts, ()
    whole = _WHOLE_AS_FLOAT.fullmatch(found)[1]
    return [_WHOLE_AS_FLOAT.sub(r"\1", text) for text in texts], (
        f"the classes in column {name!r} are whole numbers: {found} is read as {whole}",
    )


def _truths(table: Table, names: Sequence[str]) -> dict[str, float]:
    """Returns what the values of columns of 0 and 1, or of -1 and 1, mean."""
    found = {_text(value).lower() for name in names for value in table.column(name) if is_present(value)}
    return _SIGNS if found <= _SIGNS.keys() and not found <= _TRUTHS.keys() else _TRUTHS


def _text(value: object) -> str:
    return str(value).strip()


def _is_input(value: object) -> bool:
    is_text = isinstance(value, str)  # asked first, because the others take ten times as long
    return is_present(value) and (is_text or not (isinstance(value, Mapping | bytes) or _is_list(value)))


def _is_list(value: object) -> bool:
    return not isinstance(value, str) and isinstance(value, Sequence | np.ndarray)


def _is_class(value: object) -> bool:
    return (len(value) == 1 and is_present(value[0])) if _is_list(value) else is_present(value)


def _is_weight(value: object, table: Table) -> bool:
    return _is_finite(value, table) and _number(value, table) >= 0


def _is_number_or_missing(value: object, table: Table) -> bool:
    return not is_present(value) or _is_finite(value, table)


def _is_finite(value: object, table: Table) -> bool:
    try:
        return math.isfinite(_number(value, table))
    except (TypeError, ValueError):
        return False


def _number(value: object, table: Table) -> float:
    if table.has_decimal_comma and isinstance(value, str) and "," in value:
        whole, _, decimals = value.rpartition(",")
        value = f"{whole.replace('.', '')}.{decimals}"
    return float(value)
