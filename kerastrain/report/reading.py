"""Reads single files of a run directory, and names a file whose content is invalid.

Takes paths; returns plain values, empty ones for missing files. Must not know what the files of a run mean.
"""

import csv
import json
from pathlib import Path

from kerastrain.errors import InputError

_PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def require(path: Path, record: dict, keys: tuple[str, ...], what: str) -> dict:
    """Returns a record that has all keys.

    Args:
        path: Path of the file, for the message.
        record: dict, or what came in its place.
        keys: tuple of str.
        what: str, what the file must contain.

    Returns:
        dict, `record`.

    Raises:
        InputError: a key is missing.
    """
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise InputError(
            f"`{path}` must contain {what} with {', '.join(keys)}. Missing: {', '.join(missing)}. Write the file again "
            "with this version of kerastrain, or remove it."
        )
    return record


def records(path: Path, value: object, keys: tuple[str, ...], what: str) -> list[dict]:
    """Returns a list of records that have all keys.

    Args:
        path: Path of the file, for the message.
        value: list of dict, or what came in its place; None is an empty list.
        keys: tuple of str.
        what: str, what each record is.

    Returns:
        list of dict.

    Raises:
        InputError: there is no list, or a key is missing.
    """
    if not isinstance(value, list | None):
        raise InputError(
            f"`{path}` must contain a list of {what}. Received: {type(value).__name__}. Write the file again with this "
            "version of kerastrain, or remove it."
        )
    return [require(path, record, keys, what) for record in value or ()]


def table(path: Path, texts: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Reads a CSV file whose columns are numbers, or empty, except for some.

    Args:
        path: Path.
        texts: tuple of str, the columns of texts.

    Returns:
        list of dict from column to str; empty if there is no file.

    Raises:
        InputError: a value is no number.
    """
    rows = list(csv.DictReader(text(path).splitlines()))
    for row in rows:
        for column, value in row.items():
            if column not in texts:
                _number(path, column, value)
    return rows


def text_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Reads a CSV file of texts.

    Args:
        path: Path.
        columns: tuple of str, columns that must exist.

    Returns:
        list of dict from column to str; empty if there is no file.

    Raises:
        InputError: a column is missing.
    """
    return [require(path, row, columns, "columns") for row in csv.DictReader(text(path).splitlines())]


def json_object(path: Path) -> dict:
    """Reads a JSON object.

    Args:
        path: Path.

    Returns:
        dict; empty if there is no file.

    Raises:
        InputError: the file is not JSON, or no object.
    """
    value = json_value(path)
    if not isinstance(value, dict):
        raise InputError(
            f"`{path}` must be a JSON object. Received: {type(value).__name__}. Repair the file, or remove it."
        )
    return value


def json_value(path: Path) -> object:
    """Reads JSON.

    Args:
        path: Path.

    Returns:
        The value; an empty dict if there is no file.

    Raises:
        InputError: the file is not JSON.
    """
    try:
        return json.loads(text(path) or "{}")
    except json.JSONDecodeError as error:
        raise InputError(f"`{path}` must be JSON. Received: {error}. Repair the file, or remove it.") from error


def text(path: Path) -> str:
    """Reads a text.

    Args:
        path: Path.

    Returns:
        str; "" if there is no file.

    Raises:
        InputError: the file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` must be UTF-8 text. Received: {error}. Repair the file, or remove it.") from error


def content(path: Path) -> bytes:
    """Reads the bytes of a file.

    Args:
        path: Path.

    Returns:
        bytes; none if there is no file.
    """
    return path.read_bytes() if path.is_file() else b""


def pictures(folder: Path, names: list[str], most: int) -> dict[str, bytes]:
    """Reads pictures that a file of the run names.

    Args:
        folder: Path of the folder that the names are relative to.
        names: list of str. A name outside the folder, of no file, or of a file that is no PNG or JPEG is skipped.
        most: int >= 0, the largest number of pictures.

    Returns:
        dict from the name to the bytes of the file.
    """
    root, found = folder.resolve(), {}
    for name in dict.fromkeys(names):
        if len(found) >= most:
            break
        path = root / name
        if "\0" in name or not path.resolve().is_relative_to(root) or not path.is_file():
            continue
        if kind(head := path.read_bytes()):
            found[name] = head
    return found


def kind(picture: bytes) -> str:
    """The media type of a picture.

    Args:
        picture: bytes of a file.

    Returns:
        str; "" for anything else than PNG and JPEG.
    """
    return next((kind for start, kind in _PICTURES.items() if picture.startswith(start)), "")


def _number(path: Path, column: str, value: str) -> None:
    try:
        float(value or "nan")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{path}` must have numbers in its column {column!r}. Received: {value!r}. Repair the file, or remove it."
        ) from error
