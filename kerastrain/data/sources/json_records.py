"""Records of JSON files: one object per line (JSON Lines), a list of objects, or the columns of a table.

Takes a text, returns records with their positions. Must not know the roles of fields.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence

from kerastrain.errors import InputError

_MOST_KEYS = 6


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of a JSON file.

    Args:
        unit: str, what `positions` count: "line" or "record".
        positions: list of int, the position of each record, from 1.
        records: list of dict from the name of each field to its value.
        faults: list of (int, str), the position of each part that is no record, and why, the rest of a sentence.
    """

    unit: str
    positions: list[int]
    records: list[dict]
    faults: list[tuple[int, str]]


def read(text: str, source: str) -> Records:
    """Reads the records of a JSON text.

    Args:
        text: str.
        source: str, its name in messages.

    Returns:
        Records.

    Raises:
        InputError: the text is neither JSON Lines nor JSON with a list of records or columns of one length.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        return Records("line", [], [], [])
    records, positions, faults = [], [], []
    for number, line in lines:
        try:
            record = _loads(line)
        except (ValueError, RecursionError) as error:
            faults.append((number, f"it is not valid JSON ({_problem(error)})"))
            continue
        if isinstance(record, dict):
            records.append(record)
            positions.append(number)
        else:
            faults.append((number, "it is not an object with the names and values of its fields"))
    if len(records) > len(faults) and (len(lines) > 1 or not _whole(records[0])):
        return Records("line", positions, records, faults)
    try:
        content = _loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{source} is neither one JSON object per line nor one JSON document: {_problem(error)}. Write a line such as "
            '{"text": "a fine film", "label": "pos"} for each example.'
        ) from None
    return _of_document(content, source)


def are_records(text: str) -> bool:
    """Whether a text begins like JSON Lines or like a list of objects, and not like another JSON document.

    Args:
        text: str; the beginning of a file is enough.

    Returns:
        bool.

    Example:
        >>> are_records('[{"text": "a"}, '), are_records('{"version": 1}')
        (True, False)
    """
    if re.match(r"\s*\[\s*\{", text):
        return True
    lines = [line for line in text.split("\n") if line.strip()][:2]
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False


def _loads(text: str) -> object:
    """Parses JSON; half of a surrogate pair, as where an emoji was cut, becomes U+FFFD, because it is no character."""
    value = json.loads(text)
    return _repaired(value) if "\\ud" in text.lower() else value


def _repaired(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    return {_repaired(key): _repaired(item) for key, item in value.items()} if isinstance(value, dict) else value


def _whole(value: Mapping) -> list[dict] | None:
    """Finds the records in an object that is a whole document; None if it has none and is a record itself."""
    lists = [item for item in value.values() if _is_list_of_records(item)]
    if len(lists) == 1:
        return lists[0]
    columns = list(value.values())
    if columns and all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if (
        columns
        and all(isinstance(column, dict) for column in columns)
        and len({tuple(column) for column in columns}) == 1
    ):
        return [{name: column[key] for name, column in value.items()} for key in columns[0]]
    return None


def _of_document(content: object, source: str) -> Records:
    records = content if isinstance(content, list) else _whole(content) if isinstance(content, dict) else None
    if records is None:
        keys = list(content) if isinstance(content, dict) else []
        received = f"an object with the keys {', '.join(keys[:_MOST_KEYS])}" if keys else repr(content)[:50]
        raise InputError(
            f"{source} must be a list of objects, or have one object per line. Received: {received}. Write a line such "
            'as {"text": "a fine film", "label": "pos"} for each example.'
        )
    good = [(number, record) for number, record in enumerate(records, 1) if isinstance(record, dict)]
    faults = [
        (number, "it is not an object with the names and values of its fields")
        for number, record in enumerate(records, 1)
        if not isinstance(record, dict)
    ]
    return Records("record", [number for number, _ in good], [record for _, record in good], faults)


def _is_list_of_records(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) > 0 and all(isinstance(item, dict) for item in value)


def _problem(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error)).lower()
