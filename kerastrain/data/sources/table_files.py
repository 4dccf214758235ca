"""Opens tables: delimited text, JSON, fastText's lines and Parquet, by their suffix or by their content.

Takes a path, returns a `Table`. Must not know images or tasks.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.sources import delimited, fasttext_lines, json_records, text_encoding
from kerastrain.data.sources.delimited import ABSENT
from kerastrain.data.sources.table import Columns, Table
from kerastrain.data.sources.table_roles import is_image_name, is_usual
from kerastrain.errors import InputError
from kerastrain.system.optional_imports import need

SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".jsonl", ".ndjson", ".json")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_JSON = (".jsonl", ".ndjson", ".json")
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_OF_OTHER_FILES = frozenset(
    (".npz", ".npy", ".zip", ".tar", ".md", ".html", ".pdf", ".py", ".ipynb", ".yaml", ".yml", ".xml", ".h5", ".keras")
)
_HEAD_BYTES = 65_536
_MOST_WORDS = 3  # In the name of a column that is none of the usual ones.


def suffix(path: str | os.PathLike) -> str:
    """Suffix of a file before that of its compression.

    Args:
        path: path of a file.

    Returns:
        str in lower case such as ".csv", also for "a.csv.gz"; "" if there is none.
    """
    path = Path(path)
    if path.suffix.lower() in text_encoding.COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def is_table(path: str | os.PathLike, *, is_only_choice: bool = False) -> bool:
    """Whether a file is a table, by its suffix, else by its content.

    Args:
        path: path of a file, which need not exist if it has the suffix of a table.
        is_only_choice: bool, whether a text whose lines merely have an even number of separators counts. Else it also
            needs tabs or a header with a usual name.

    Returns:
        bool.
    """
    if suffix(path) in SUFFIXES + _SPREADSHEETS:
        return True
    if suffix(path) in _OF_OTHER_FILES or is_image_name(str(path)) or not os.path.isfile(path):
        return False
    try:
        text = _head(Path(path))
    except (InputError, OSError):
        return text_encoding.read_bytes(Path(path), 4) == b"PAR1" if os.access(path, os.R_OK) else False
    if json_records.are_records(text) or fasttext_lines.is_format(text):
        return True
    first = text.split("\n", 1)[0]
    is_sure = is_only_choice or "\t" in first or any(map(is_usual, re.split(r"[,;|]", first)))
    return is_sure and delimited.looks_delimited(text)


def is_of_lines(path: Path) -> bool:
    """Whether a text file has fastText's labels or a JSON object in each line, or a list of those, whatever its name.

    Args:
        path: Path of a file.

    Returns:
        bool.
    """
    try:
        text = _head(path)
    except (InputError, OSError):
        return False
    return json_records.are_records(text) or fasttext_lines.is_format(text)


def read(path: Path, columns: Columns | None = None) -> Table:
    """Reads a table.

    Args:
        path: Path of a file of delimited text, JSON, fastText's lines or Parquet. Compressed text is unpacked.
        columns: Columns, whose names tell a header from a row of data; None for none.

    Returns:
        Table with at least one row.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not a valid table or has no rows.
        MissingExtra: the file is a Parquet file and pyarrow is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no manifest at '{path}': there is no such file.")
    ending, start = suffix(path), text_encoding.read_bytes(path, 8)
    if ending in _SPREADSHEETS or start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        kind = "a spreadsheet" if ending in _SPREADSHEETS + (".csv", ".tsv") else "an archive or a spreadsheet"
        raise InputError(
            f"'{path}' is {kind}, which is not read. Save the sheet as CSV in UTF-8, and give that file; unpack an archive."
        )
    if ending == ".parquet" or start.startswith(b"PAR1"):
        table = _read_parquet(path)
    else:
        text, note = text_encoding.read(path)
        if ending in _JSON or (ending not in _SEPARATORS and _is_json(text)):
            table = _of_records(json_records.read(text, f"'{path}'"), path)
        elif ending not in _SEPARATORS and fasttext_lines.is_format(text):
            table = _of_fasttext(text, path)
        else:
            table = _of_delimited(
                delimited.read(text, f"'{path}'", _SEPARATORS.get(ending)), path, columns or Columns()
            )
        if note:
            table = _with_notes(table, [note, *table.notes])
    if not len(table):
        faults = [f" Received: {row.path}: {row.reason}." for row in table.skipped[:1]]
        raise InputError(f"{table.source} has no rows. Give a row for each example.{''.join(faults)}")
    return table


def _head(path: Path) -> str:
    """Returns the first whole lines of a file."""
    content = text_encoding.read_bytes(path, _HEAD_BYTES)
    if len(content) == _HEAD_BYTES and b"\0" not in content:  # UTF-16 keeps its even length.
        content = content[: content.rfind(b"\n") + 1] or content
    return text_encoding.decoded(content, path)[0].replace("\r\n", "\n").replace("\r", "\n")


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] == "{" or re.match(r"\s*\[\s*\{", text) is not None


def _with_notes(table: Table, notes: Iterable[str]) -> Table:
    return Table(**{**vars(table), "notes": tuple(notes)})


def _of_delimited(content: delimited.Delimited, path: Path, columns: Columns) -> Table:
    source, rows, notes = f"'{path}'", content.rows, list(content.notes)
    if not rows:
        raise InputError(f"{source} is empty. Its first line must name the columns, such as path,label.")
    named = {name for names in columns.named.values() for name in names}
    _check_first_line(rows, source)
    has_names = not _is_data(rows[0].cells, [row.cells for row in rows[1:] if not row.fault], named)
    if has_names:
        names, rows = [name.strip() for name in rows[0].cells], rows[1:]
        again = [row for row in rows if [str(cell).strip() for cell in row.cells] == names]
        if again:  # Files that were put below each other.
            lines = "1 line" if len(again) == 1 else f"{len(again):,} lines"
            notes.append(
                f"left out {lines} of {source} with the names of the columns, the first in line {again[0].line}"
            )
            repeated_lines = {row.line for row in again}
            rows = [row for row in rows if row.line not in repeated_lines]
    else:
        names = [str(number) for number in range(1, len(rows[0].cells) + 1)]
        called = "column is called 1" if len(names) == 1 else f"columns are called {_numbers(names)}"
        notes.append(f"the first line of {source} is data, so its {called}")
    good = [row for row in rows if not row.fault]
    values, repeated = {}, set()
    for number, name in enumerate(names):
        column = [row.cells[number] for row in good]
        if not name:
            notes += _nameless(column, number, source)
        elif name not in values:
            values[name] = column
        elif values[name] != column:
            repeated.add(name)
    return Table(
        source,
        values,
        [row.line for row in good],
        "line",
        layout=f"a table separated by {content.separator}" if content.separator else "a table of one column",
        notes=tuple(notes),
        skipped=tuple(
            Quarantined(f"line {row.line} of {source}", "incomplete", row.fault) for row in rows if row.fault
        ),
        repeated=frozenset(repeated),
        has_names=has_names,
        has_decimal_comma=content.is_decimal_comma,
    )


def _check_first_line(rows: Sequence[delimited.Row], source: str) -> None:
    """Refuses a title or a comment above the names of the columns."""
    first, second = ([str(cell) for cell in row.cells] for row in (rows[0], rows[min(1, len(rows) - 1)]))
    names = re.split(r"[,;\t|]", second[0]) if len(second) == 1 else second
    if not any(map(is_usual, first)) and sum(map(is_usual, names)) > 1:
        raise InputError(
            f"the first line of {source} must name the columns. Received: {rows[0].cells[0]!r}, and the names in line "
            f"{rows[1].line}. Remove what is above them."
        )


def _numbers(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"


def _is_data(first: Sequence[str], others: Sequence[Sequence[str]], named: set[str]) -> bool:
    """Whether the first row is an example and not the names of the columns."""
    first = [cell.strip() for cell in first]
    # Columns of a table without a header are named by their numbers, which may be data, too.
    if any(is_usual(cell) or (cell in named and not cell.isdecimal()) for cell in first) or (
        named and named <= set(first)
    ):
        return False
    if len(first) == 1 and not re.fullmatch(r"\w+", first[0]):
        return True
    for number, cell in enumerate(first):
        is_long = len(cell.split()) > _MOST_WORDS or len(cell) > 60
        if is_image_name(cell) or is_long or _is_number(cell.replace(",", ".")):
            return True
        if cell and any(row[number] is not ABSENT and row[number].strip() == cell for row in others):
            return True
    return False


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _nameless(column: Sequence, number: int, source: str) -> list[str]:
    values = [cell.strip() for cell in column if cell is not ABSENT and cell.strip()]
    if not values:
        return []
    if number == 0 and len(set(values)) == len(column) and all(map(str.isdecimal, values)):
        return [f"the first column of {source} has no name and is taken as the numbers of the rows"]
    return [f"column {number + 1} of {source} has no name and is not read"]


def _of_records(content: json_records.Records, path: Path) -> Table:
    names = list(dict.fromkeys(name for record in content.records for name in record))
    skipped = [
        Quarantined(f"{content.unit} {position} of '{path}'", "incomplete", reason)
        for position, reason in content.faults
    ]
    return Table(
        f"'{path}'",
        {name: [record.get(name, ABSENT) for record in content.records] for name in names},
        content.positions,
        content.unit,
        layout="one JSON object per line" if content.unit == "line" else "a JSON list of records",
        skipped=tuple(skipped),
    )


def _of_fasttext(text: str, path: Path) -> Table:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    parsed = [(number, *fasttext_lines.parsed(line)) for number, line in lines]
    good = [(number, labels, words) for number, labels, words in parsed if labels and words]
    skipped = [
        Quarantined(f"line {number} of '{path}'", "incomplete", "it has no text" if labels else "it has no __label__")
        for number, labels, words in parsed
        if not (labels and words)
    ]
    values = {"text": [words for _, _, words in good], "label": [labels for _, labels, _ in good]}
    values["labels"] = values["label"]
    return Table(
        f"'{path}'",
        values,
        [number for number, _, _ in good],
        "line",
        layout="lines of fastText, each with its labels and a text",
        skipped=tuple(skipped),
    )


def _read_parquet(path: Path) -> Table:
    arrow = need("pyarrow", extra="parquet", to="read a Parquet file")
    parquet = need("pyarrow.parquet", extra="parquet", to="read a Parquet file")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot read '{path}' as a Parquet file: {str(error).splitlines()[0].rstrip('.')}.") from None
    names = [name for name in table.column_names if name != "__index_level_0__"]
    values = {name: table.column(name).to_pylist() for name in names}
    return Table(f"'{path}'", values, range(1, table.num_rows + 1), layout="a Parquet table")
