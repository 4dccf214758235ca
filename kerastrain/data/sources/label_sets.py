"""Several labels in one cell: joined by a separator, or written as a list.

Takes the cells of a column, returns lists of labels. Must not know tables.
"""

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from kerastrain.errors import InputError

DEFAULT_SEPARATOR = "|"
_OTHERS = (";", ",", "/", " ")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_OF_NUMPY = re.compile(r"\[\s*(?:('[^']*'|\"[^\"]*\")(\s+('[^']*'|\"[^\"]*\"))*|[\d.]+(\s+[\d.]+)+)\s*\]")


def parsed(values: Sequence, separator: str | None, where: str) -> tuple[list[list[str]], tuple[str, ...]]:
    """Reads the labels of each cell.

    Args:
        values: sequence of str, sequences of labels, or None for no label.
        separator: str between labels; None for "|", or the only one that the cells use.
        where: str, the name of the column in messages.

    Returns:
        tuple of a list of labels for each value, and notes.

    Raises:
        InputError: it is unclear how the labels are separated.
    """
    cells = [
        value if _is_sequence(value) else "" if value is None or value != value else str(value) for value in values
    ]
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    notes = ()
    if texts and separator is None and all(re.fullmatch(r"[\[({].*[\])}]", text, re.DOTALL) for text in texts):
        notes = (f"the labels in {where} are written as lists, such as {_shown(max(texts, key=len))}",)
        read = _list
    else:
        separator, notes = (separator, ()) if separator is not None else _separator(texts, where)
        read = lambda text: text.split(separator) if separator else [text]
    labels = [[_text(label) for label in (cell if _is_sequence(cell) else read(cell))] for cell in cells]
    return [list(dict.fromkeys(filter(None, cell))) for cell in labels], notes


def _separator(texts: Sequence[str], where: str) -> tuple[str, tuple[str, ...]]:
    """Finds a separator: one whose pieces are the labels of several different cells."""
    distinct = set(texts)
    if any(DEFAULT_SEPARATOR in text for text in distinct):
        return DEFAULT_SEPARATOR, ()
    for separator in _OTHERS:
        joined = {text for text in distinct if separator in text}
        if not joined:
            continue
        pieces = [{piece.strip() for piece in text.split(separator)} for text in distinct]
        labels = set().union(*pieces)
        alone = distinct - joined
        name = "a space" if separator == " " else repr(separator)
        shown = f"{name} separates labels in {where}, such as {_shown(max(joined, key=len))}"
        # The pieces of several labels occur in other cells, too; those of a name such as "no finding" hardly do.
        again = any(piece.strip() in alone for text in joined for piece in text.split(separator))
        fewer = len(labels) < len(distinct)
        is_sure = (fewer or bool(alone)) if separator in ";," else (fewer and again) or 2 * len(labels) < len(distinct)
        if is_sure:
            return separator, (shown,)
        if separator in ";," or fewer or again:
            raise InputError(
                f"it is unclear whether {shown}. Set `data.columns.separator` to {separator!r}, or to "
                f"{DEFAULT_SEPARATOR!r} if each cell is one label."
            )
    note = f"no cell in {where} has several labels; `data.columns.separator` sets what separates them"
    return DEFAULT_SEPARATOR, (note,) if distinct else ()


def _list(text: str) -> list[str]:
    if _OF_NUMPY.fullmatch(text):  # Before Python's syntax, which would join ['a' 'b'] to ['ab'].
        return [first or second for first, second in _QUOTED.findall(text)] or text[1:-1].split()
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return _of_mapping(value, text)
        if isinstance(value, list | tuple | set):
            return sorted(map(str, value)) if isinstance(value, set) else list(map(str, value))
        return [str(value)]  # ("a") is "a".
    return [part.strip(" '\"") for part in text[1:-1].split(",")]


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def _cell(value: object, where: str) -> str | list[str]:
    if isinstance(value, Mapping):
        return _of_mapping(value, where)
    is_missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if is_missing else str(value)


def _of_mapping(value: Mapping, where: str) -> list[str]:
    """Returns the labels with the value 1 of a mapping such as {"cat": 1, "dog": 0}."""
    if not all(number in (0, 1) for number in value.values()):
        raise InputError(f"the labels in {where} must have the values 0 and 1. Received: {_shown(str(value))}.")
    return [str(name) for name, number in value.items() if number]


def _text(label: object) -> str:
    return "" if label is None else str(label).strip()


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
