"""Rows of a delimited text, such as CSV and TSV, as spreadsheets and programs write them.

Takes a text, returns rows of cells with their lines. No line is lost without a word: rows that span lines, rows without
a value and rows of the wrong width are reported. Must not know the roles of columns.
"""

import dataclasses
import re
from collections.abc import Sequence

from kerastrain.errors import InputError, counted

_SAMPLE = 200  # Records from which the separator is found.
_CANDIDATES = ("\t", "|", ";", ",")
_NO_DELIMITER = "\x1f"  # Of a table with one column, in which separators belong to the values.
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}


class Absent:
    """The cell that a row does not have, because the row is too short."""

    def __repr__(self) -> str:
        return "no value"


ABSENT = Absent()


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a delimited text.

    Args:
        line: int >= 1, the line in which it begins.
        last_line: int >= line, the line in which it ends.
        cells: list of str.
        fault: str, why the row cannot be used, the rest of a sentence about it; "" if it can be used.
    """

    line: int
    last_line: int
    cells: list
    fault: str = ""


@dataclasses.dataclass(frozen=True)
class Delimited:
    """The rows of a delimited text.

    Args:
        separator: str, the separator in words, such as "commas"; "" if there is one column.
        rows: list of Row, all of one width except those with a fault.
        notes: list of str, what was left out or is unusual.
        is_decimal_comma: bool, whether numbers may be written with a comma.
    """

    separator: str
    rows: list[Row]
    notes: list[str]
    is_decimal_comma: bool


def read(text: str, source: str, separator: str | None) -> Delimited:
    """Splits a text into rows and cells.

    A value may be enclosed in quotation marks, in which a doubled one stands for one; then it may contain separators and
    line ends. Between tabs, quotation marks that do not enclose the whole value are letters. Another separator than
    expected is used if it, and not the expected one, gives all rows the same number of cells.

    Args:
        text: str, with line feeds as line ends.
        source: str, its name in messages.
        separator: str, the expected separator; None if nothing is known.

    Returns:
        Delimited.

    Raises:
        InputError: a quotation mark is not closed, or closes far from where it opens (the message names its line).
    """
    text, first_line, told = _without_hint(text)
    dialect = _Dialect(told) if told else _detected(text, separator)
    rows, blank = [], []
    for row in _rows(text, dialect, source):
        (rows if row.fault or any(map(str.strip, row.cells)) else blank).append(row)
    if first_line:
        rows = [dataclasses.replace(row, line=row.line + 1, last_line=row.last_line + 1) for row in rows]
    if rows:
        _check_swallowed(text.split("\n"), rows, dialect, source, first_line)
    rows, notes = _of_one_width(rows, source)
    if separator is not None and dialect.delimiter != separator and rows and len(rows[0].cells) > 1:
        notes.insert(0, f"the columns of {source} are separated by {_NAMES.get(dialect.delimiter, dialect.delimiter)}")
    if blank:
        lines = counted(len(blank), "lines")
        notes.append(f"left out {lines} of {source} without any value, the first in line {blank[0].line + first_line}")
    long = [row for row in rows if row.last_line > row.line]
    if long:
        verb = "spans" if len(long) == 1 else "span"
        notes.append(
            f"{counted(len(long), 'rows')} of {source} {verb} several lines, in quotation marks, the first from line "
            f"{long[0].line} to {long[0].last_line}"
        )
    width = len(rows[0].cells) if rows else 0
    return Delimited(
        _NAMES.get(dialect.delimiter, repr(dialect.delimiter)) if width > 1 else "",
        rows,
        notes,
        dialect.delimiter not in (",", _NO_DELIMITER),
    )


def looks_delimited(text: str) -> bool:
    r"""Whether a text without a telling suffix is a table: all its rows have the same number of cells, at least two.

    Args:
        text: str, with line feeds as line ends; the beginning of a file is enough.

    Returns:
        bool.

    Example:
        >>> looks_delimited("good film\tpos\nbad film\tneg\n"), looks_delimited("a film\nanother, longer film\n")
        (True, False)
    """
    return _even_share(text, _detected(text, None)) == 1


class _Dialect:
    """A separator and a quotation mark, with the patterns that follow from them."""

    def __init__(self, delimiter: str, quote: str = '"'):
        self.delimiter, self.quote = delimiter, quote
        delimiter, space = re.escape(delimiter), "" if delimiter == " " else "[ ]*"
        inner = f"[^{quote}]*(?:{quote}{quote}[^{quote}]*)*"
        self.quoted = re.compile(f"{space}{quote}({inner}){quote}{space}(?={delimiter}|\n|\\Z)")
        self.opening = re.compile(f"{space}{quote}")
        self.closing = re.compile(f"{space}{quote}{inner}{quote}")
        self.plain = re.compile(f"[^\n{delimiter}]*")


def _without_hint(text: str) -> tuple[str, int, str | None]:
    """Removes the line "sep=;" which names the separator for Excel."""
    match = re.match(r'"?sep=(.)"?\n', text)
    return (text[match.end() :], 1, match[1]) if match else (text, 0, None)


def _detected(text: str, expected: str | None) -> _Dialect:
    others = [delimiter for delimiter in _CANDIDATES if delimiter != expected]
    dialects = [_Dialect(delimiter) for delimiter in ([expected, *others] if expected else others)]
    shares = [_even_share(text, dialect) for dialect in dialects]
    if max(shares) < 1:
        # Few programs enclose values in apostrophes, and few write lists with spaces.
        rare = [_Dialect(delimiter, "'") for delimiter in ([expected, *others] if expected else others)]
        rare += [] if expected else [_Dialect(" ")]
        found = next((dialect for dialect in rare if _even_share(text, dialect) == 1), None)
        if found:
            return found
    best = max(shares)
    if not best:
        header = text.lstrip("\n").split("\n", 1)[0]
        return dialects[0] if expected and expected in header else _Dialect(_NO_DELIMITER)
    if expected and shares[0] and best < 1:
        return dialects[0]
    return dialects[shares.index(best)]


def _even_share(text: str, dialect: _Dialect) -> float:
    """Share of the first records that have as many cells as the first one; 0 if that has one cell."""
    widths = []
    try:
        for row in _rows(text, dialect, "", limit=_SAMPLE):
            if any(map(str.strip, row.cells)):
                widths.append((len(row.cells), len(_trimmed(row.cells))))
    except InputError:
        pass
    if not widths or widths[0][0] < 2:
        return 0
    expected = widths[0][0]
    even = [expected in widths_of_row for widths_of_row in widths[1:]]
    if even and all(width == expected + 1 for width, _ in widths[1:]):
        return 0.99  # The header of a table with numbers of rows; any even separator is better.
    return sum(even) / len(even) if even else 1


def _rows(text: str, dialect: _Dialect, source: str, limit: int | None = None):
    position, line, width, count = 0, 1, None, 0
    while position < len(text) and count != limit:
        cells, end, fault = _record(text, position, dialect, width, line, source)
        lines = text.count("\n", position, end)
        yield Row(line, line + lines, cells, fault)
        if width is None and any(map(str.strip, cells)):
            width = len(cells)
        position, line, count = end + 1, line + lines + 1, count + 1


def _record(
    text: str, position: int, dialect: _Dialect, width: int | None, line: int, source: str
) -> tuple[list[str], int, str]:
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    raw = text[position:end]
    plain = raw.split(dialect.delimiter)
    if dialect.quote not in raw:
        return plain, end, ""
    if dialect.delimiter == "\t":
        cells = [_unquoted(cell, dialect) for cell in plain]
        if width is None or len(cells) == width:
            return cells, end, ""
        quoted, quoted_end, fault = _quoted_record(text, position, dialect)
        return (cells, end, "") if fault or len(quoted) != width else (quoted, quoted_end, "")
    cells, quoted_end, fault = _quoted_record(text, position, dialect)
    if not fault:
        return cells, quoted_end, ""
    opened = line + text.count("\n", position, quoted_end)
    closing = dialect.closing.match(text, quoted_end)
    if closing is None:
        raise InputError(
            f"the quotation mark that opens in line {opened} of {source} is never closed. Close it, or double it and "
            "enclose its value if it belongs to the text."
        )
    if "\n" in closing[0]:
        raise InputError(_swallowed(opened, opened + closing[0].count("\n"), source, "in the middle of a value"))
    if len(plain) == width:
        return plain, end, ""
    return plain, end, "a quotation mark closes in the middle of a value"


def _quoted_record(text: str, position: int, dialect: _Dialect) -> tuple[list[str], int, bool]:
    """Returns the cells, the end, and False; or the cells so far, the opening mark that has no partner, and True."""
    cells = []
    while True:
        match = dialect.quoted.match(text, position)
        if match:
            cells.append(match[1].replace(dialect.quote * 2, dialect.quote))
            position = match.end()
        elif dialect.opening.match(text, position):
            return cells, position, True
        else:
            match = dialect.plain.match(text, position)
            cells.append(match[0])
            position = match.end()
        if position >= len(text) or text[position] == "\n":
            return cells, position, False
        position += 1


def _unquoted(cell: str, dialect: _Dialect) -> str:
    match = dialect.quoted.fullmatch(cell)
    return match[1].replace(dialect.quote * 2, dialect.quote) if match else cell


def _check_swallowed(lines: list[str], rows: Sequence[Row], dialect: _Dialect, source: str, first_line: int) -> None:
    """Finds quotation marks that swallow rows: the lines between them have the cells of rows."""
    width = len(rows[0].cells)
    single = [row.cells for row in rows[1:] if row.last_line == row.line and len(row.cells) == width]
    known = [{cell.strip() for cell in column} for column in zip(*single, strict=True)]
    for row in rows:
        if row.last_line == row.line or not known or width < 2:
            continue
        inner = lines[row.line - 1 - first_line : row.last_line - first_line]
        cells = [line.split(dialect.delimiter) for line in inner]
        like_rows = sum(
            len(line) == width
            and any(cell.strip() and cell.strip() in column for cell, column in zip(line, known, strict=True))
            for line in cells
        )
        if like_rows > len(inner) / 2:
            where = next(
                row.line + number for number, line in enumerate(inner) if line.count(dialect.quote) % 2
            )  # The mark that opens is in a line with an odd number of them.
            raise InputError(_swallowed(where, row.last_line, source, "and the lines between look like rows"))


def _swallowed(opened: int, closed: int, source: str, why: str) -> str:
    return (
        f"the quotation mark that opens in line {opened} of {source} closes only in line {closed}, {why}. Close it in "
        "its line, or double it and enclose its value if it belongs to the text."
    )


def _of_one_width(rows: list[Row], source: str) -> tuple[list[Row], list[str]]:
    """Fills short rows with `ABSENT`, drops empty cells beyond the width, and marks the other long rows."""
    if not rows:
        return [], []
    notes, width = [], len(rows[0].cells)
    others = rows[1:]
    if len(others) > 1 and all(len(row.cells) == width + 1 and row.cells[0].strip() for row in others):
        first = [row.cells[0].strip() for row in others]
        if len(set(first)) == len(first) and all(map(str.isdecimal, first)):
            notes.append(f"the first column of {source} has no name and is taken as the numbers of the rows")
            return [rows[0], *(dataclasses.replace(row, cells=row.cells[1:]) for row in others)], notes
    wrong, trailing, result = [], 0, [rows[0]]
    for row in others:
        cells, fault = row.cells, row.fault
        if len(cells) > width and len(_trimmed(cells)) <= width:
            cells, trailing = cells[:width], trailing + 1
        if len(cells) != width and not fault:
            wrong.append((row.line, len(cells)))
            if len(cells) > width:
                fault = f"it has {len(cells)} values, and the first line has {width}"
        result.append(Row(row.line, row.last_line, cells + [ABSENT] * (width - len(cells)), fault))
    if wrong and len(wrong) == len(others):
        line, count = wrong[0]
        raise InputError(
            f"line {line} of {source} must have {width} values, one for each name in the header. Received: {count}. Put "
            "quotes around values that contain the delimiter."
        )
    if trailing:
        notes.append(f"{counted(trailing, 'rows')} of {source} with separators after the last value, which are ignored")
    return result, notes


def _trimmed(cells: Sequence[str]) -> Sequence[str]:
    count = len(cells)
    while count and not cells[count - 1].strip():
        count -= 1
    return cells[:count]
