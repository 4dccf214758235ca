"""Manifests: tables with one row per example, which has its image path or text, and its targets.

Takes a CSV, TSV or Parquet file, returns a `Listing`. Must not open images or import TensorFlow.
"""

import csv
import io
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.sources import table_columns
from kerastrain.data.sources.table_columns import Columns, Table
from kerastrain.data.sources.text_folders import utf8
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError
from kerastrain.system.optional_imports import need
from kerastrain.tasks import Task

SUFFIXES = (".csv", ".tsv", ".parquet")
_MAX_NAMED = 3


def listing(
    path: str | os.PathLike,
    image_size: tuple[int, int] | None = None,
    *,
    kind: Literal["images", "text"] = "images",
    task: Task = "single_label",
    columns: Columns | None = None,
) -> Listing:
    """Lists the examples of a manifest.

    Args:
        path: path of a .csv, .tsv or .parquet file. CSV and TSV files are UTF-8 with a header line, and values that
            contain the delimiter are quoted. Image paths are relative to the folder of the manifest.
        image_size: (height, width) in pixels that every image is stretched to; None if they are only counted.
        kind: "images" or "text".
        task: as `Examples.task`.
        columns: Columns; None for the usual names.

    Returns:
        Listing whose keys are the image paths as written in the manifest, or the texts.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not a valid table or has no rows; a column is missing; a value is missing or invalid;
            none of the images exists, or one is named twice.
        MissingExtra: the file is a Parquet file and pyarrow is not installed.
    """
    path, columns = Path(path).expanduser(), columns or Columns()
    table = read(path)
    name = table_columns.input_name(table, columns, kind)
    inputs = [str(value).strip() for value in table.check(name, _is_text, "a path" if kind == "images" else "a text")]
    targets, labels = table_columns.targets(table, columns, task)
    paths = _paths(table, inputs, path.parent) if kind == "images" else None
    examples = Examples(
        targets,
        labels,
        np.array(inputs, object) if paths is None else ImageFiles(paths, image_size),
        task,
        weights=table_columns.weights(table, columns),
        groups=table_columns.groups(table, columns),
        paths=paths,
        keys=tuple(inputs),
    )
    return Listing(table.source, examples, table_columns.predefined_split(table, columns))


def read(path: Path) -> Table:
    """Reads a CSV, TSV or Parquet file.

    Args:
        path: Path of the file.

    Returns:
        Table with at least one row.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not a valid table or has no rows.
        MissingExtra: the file is a Parquet file and pyarrow is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no manifest at '{path}': there is no such file.")
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not len(table):
        raise InputError(f"{table.source} has no rows. Give a row for each example.")
    return table


def _read_csv(path: Path) -> Table:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows, lines = [], []
    limit = csv.field_size_limit(sys.maxsize)  # The default limit is 128 KiB, and a text may be longer.
    try:
        reader = csv.reader(io.StringIO(utf8(path)), delimiter=delimiter, strict=True)
        line = 1
        for row in reader:
            if row:
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of '{path}' is not valid CSV: {error}.") from None
    finally:
        csv.field_size_limit(limit)
    header = _checked_header([name.strip() for name in rows[0]] if rows else [], path, delimiter)
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(header):
            raise InputError(
                f"line {line} of '{path}' must have {len(header)} values, one for each name in the header. Received: "
                f"{len(row)}. Put quotes around values that contain the delimiter."
            )
    values = dict(zip(header, zip(*rows[1:], strict=True), strict=True)) if rows[1:] else dict.fromkeys(header, ())
    return Table(f"'{path}'", values, lines[1:], unit="line")


def _checked_header(header: list[str], path: Path, delimiter: str) -> list[str]:
    if not header:
        raise InputError(f"'{path}' is empty. Its first line must name the columns, such as path,label.")
    duplicates = [name for name, count in Counter(header).items() if count > 1]
    if duplicates or "" in header:
        problem = f"{duplicates[0]!r} twice" if duplicates and duplicates[0] else "a column without a name"
        raise InputError(f"the column names in the header of '{path}' must be unique. Received: {problem}.")
    other = next((sign for sign in ";\t|," if sign != delimiter and sign in header[0]), None)
    if len(header) == 1 and other:
        raise InputError(
            f"the columns of '{path}' must be separated by {delimiter!r}. Received: {header[0]!r}, apparently "
            f"separated by {other!r}."
        )
    return header


def _read_parquet(path: Path) -> Table:
    arrow = need("pyarrow", extra="parquet", to="read a Parquet file")
    parquet = need("pyarrow.parquet", extra="parquet", to="read a Parquet file")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot read '{path}' as a Parquet file: {str(error).splitlines()[0].rstrip('.')}.") from None
    values = {name: table.column(name).to_pylist() for name in table.column_names}
    return Table(f"'{path}'", values, range(1, table.num_rows + 1))


def _paths(table: Table, names: list[str], root: Path) -> tuple[str, ...]:
    """Returns the path of each image, all distinct. Not every image has to exist: the scan reports the missing ones."""
    paths = tuple(os.path.normpath(root / name) for name in names)
    first = {}
    for index, path in enumerate(paths):
        if first.setdefault(path, index) != index:
            raise InputError(
                f"{table.row_name(index)} names the same image as {table.row_name(first[path])}: {names[index]!r}. "
                "Keep one."
            )
    if not any(map(os.path.lexists, paths)):
        some = ", ".join(map(repr, names[:_MAX_NAMED])) + (", …" if len(names) > _MAX_NAMED else "")
        raise InputError(
            f"none of the images in {table.source} exists: {some}. Paths are relative to the folder of the manifest, "
            f"'{root}'."
        )
    return paths


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
