"""Manifests: tables with one row per example, which has its image path or text, and its targets.

Takes a table, or a folder of tables for the parts; returns a `Listing`, or the inputs alone. A row that cannot be used
is skipped and reported. Must not open images or import TensorFlow.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.sources import (
    number_columns,
    repeated_rows,
    table_columns,
    table_folders,
    table_paths,
    table_roles,
    text_pairs,
)
from kerastrain.data.sources import table as memory_tables
from kerastrain.data.sources.table import Columns, Table
from kerastrain.data.sources.table_files import SUFFIXES, is_table, read
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError, counted
from kerastrain.tasks import Task

__all__ = ["SUFFIXES", "Inputs", "inputs", "is_table", "listing", "read"]

_TARGETS = ("label", "labels", "target", "class")  # the usual columns of what is right
_NOUNS = {"single_label": "classes", "multi_label": "labels", "regression": "numbers"}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a table.

    Args:
        values: tuple of n str, the texts, or the paths of the images, which need not exist; for pairs of texts of n tuples of
            two str.
        rows: tuple of n str, where each was found, such as "line 3 of 'news.csv'".
        layout: str, how the table was read, such as "a table separated by commas: texts in column 'text'".
        skipped: tuple of Quarantined, the rows that have no input.
        notes: tuple of str, what is unusual.
        numbers: float32 (n, k), the numbers beside each, NaN where one is missing; None if no column is named.
        targets: tuple of n str, what the table says is right; empty if it has no column of targets.
    """

    values: tuple[str, ...] | tuple[tuple[str, str], ...]
    rows: tuple[str, ...]
    layout: str
    skipped: tuple[Quarantined, ...]
    notes: tuple[str, ...]
    numbers: np.ndarray | None = None
    targets: tuple[str, ...] = ()


def listing(
    path: str | os.PathLike,
    image_size: tuple[int, int] | None = None,
    *,
    kind: Literal["images", "text"] = "images",
    task: Task = "single_label",
    columns: Columns | None = None,
) -> Listing:
    """Lists the examples of a manifest.

    Rows that lack a value or have an invalid one are skipped. Rows with the same input are joined for "multi_label" if
    they differ in their labels; for the other tasks they contradict each other and are skipped. Equal rows are kept.

    Args:
        path: path of a table of delimited text, JSON, fastText's lines or Parquet, or of a folder with such tables for
            the parts, such as train.csv and test.csv. Image paths are relative to the folder of the manifest.
        image_size: (height, width) in pixels that every image is resized to; None if they are only counted.
        kind: "images" or "text".
        task: as `Examples.task`.
        columns: Columns; None for the usual names.

    Returns:
        Listing whose keys are the image paths as written in the manifest, or the texts. The inputs of pairs of texts are an
        object array (n, 2) of str.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: a file is not a valid table or has no rows; a column is missing; a value is missing or invalid in all
            rows; none of the images exists, or it is unclear where they are.
        MissingExtra: the file is a Parquet file and pyarrow is not installed.
    """
    path, columns = Path(path).expanduser(), columns or Columns()
    if path.is_dir():
        members, notes = table_folders.members(path, kind, columns, task)
    else:
        members, notes = [(None, path)], []
    tables = [(part, file, read(file, columns)) for part, file in members]
    first = next(table for part, _, table in tables if part in (None, "train"))
    has_parts = members[0][0] is not None
    if has_parts and columns.split is not None:
        raise InputError(
            f"the parts of '{path}' are its tables. Received: data.columns.split={columns.split}. Remove it, or give the path "
            "of one table."
        )
    columns, found = table_roles.completed(first, columns, kind=kind, task=task, has_parts=has_parts)
    notes = [*notes, *found]
    usable, names, paths, parts, skipped = [], [], [], [], []
    for part, file, table in tables:
        if part not in (None, "train") and (why := _without_targets(table, columns, task)):
            notes.append(f"left aside {table.source} ({counted(len(table), 'rows')}), because {why}")
            continue
        for name in columns.slices:
            table.column(name)  # names the table that lacks it
        skipped += table.skipped
        table, faults = _complete(table, columns, task)
        skipped += faults
        of_table = _inputs(table, columns)
        if kind == "images":
            images = _find(table, of_table, file, columns, task)
            skipped += [Quarantined(images.paths[row], "unreadable", why) for row, why in images.missing.items()]
            present = [row for row in range(len(table)) if row not in images.missing]
            table, of_table = table.subset(present), [of_table[row] for row in present]
            paths += [images.paths[row] for row in present]
            notes += images.notes
        usable.append(table)
        names += of_table
        parts += [part] * len(table)
    whole = memory_tables.joined(f"'{path}'", usable) if len(tables) > 1 else usable[0]
    targets, labels, of_targets = table_columns.targets(whole, columns, task)
    predefined_split = np.array(parts) if has_parts else table_columns.predefined_split(whole, columns)
    examples = Examples(
        targets,
        labels,
        np.array(names, object) if kind == "text" else ImageFiles(tuple(paths), image_size),
        task,
        weights=table_columns.weights(whole, columns),
        groups=table_columns.groups(whole, columns),
        paths=tuple(paths) if kind == "images" else None,
        keys=tuple(map(text_pairs.shown, names)),
        numbers=table_columns.numbers(whole, columns),
        number_names=tuple(columns.numbers),
        slices=table_columns.slices(whole, columns),
    )
    if columns.pairs:
        notes += text_pairs.repeated([first for first, _ in names], columns, predefined_split is not None)
    repeated = repeated_rows.resolved(examples, predefined_split, whole.row_name)
    layout = _layout(whole, columns, kind, task)
    if has_parts:
        files = ", ".join(file.relative_to(path).as_posix() for _, file in members)
        layout = f"tables for the parts, in {files}; {layout}"
    elif path.is_dir():
        layout = f"{members[0][1].relative_to(path).as_posix()}, {layout}"
    return Listing(
        f"'{path}'",
        repeated.examples,
        repeated.predefined_split,
        layout=layout,
        notes=(*whole.notes, *notes, *of_targets, *repeated.notes),
        skipped=(*skipped, *repeated.skipped),
    )


def inputs(
    path: str | os.PathLike, *, kind: Literal["images", "text"] = "images", columns: Columns | None = None
) -> Inputs:
    """Reads the inputs of a table without targets.

    Args:
        path: path of a table, as for `listing`.
        kind: "images" or "text".
        columns: Columns, whose columns of targets need not exist; None for the usual names.

    Returns:
        Inputs.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not a valid table, has no column of inputs, or it is unclear where the images are.
        MissingExtra: the file is a Parquet file and pyarrow is not installed.
    """
    path, columns = Path(path).expanduser(), columns or Columns()
    table = read(path, columns)
    columns, notes = table_roles.completed(table, columns, kind=kind, task=None)
    skipped = table.skipped
    layout = _layout(table, columns, kind, None)
    table, faults = _complete(table, columns, None)
    values = _inputs(table, columns)
    if kind == "images":
        images = _find(table, values, path, columns, None)
        values, notes = images.paths, (*notes, *images.notes)
    rows = tuple(map(table.row_name, range(len(table))))
    numbers = table_columns.numbers(table, columns)
    if numbers is not None:
        notes = (*notes, *number_columns.missing_notes(numbers, columns.numbers))
    targets = _known_targets(table, columns)
    return Inputs(tuple(values), rows, layout, (*skipped, *faults), (*table.notes, *notes), numbers, targets)


def _known_targets(table: Table, columns: Columns) -> tuple[str, ...]:
    """The text of each target, if the table has a column of them; empty otherwise."""
    name = next((name for name in (*columns.targets[:1], *_TARGETS) if name in table.values), None)
    return () if name is None else tuple(str(value).strip() for value in table.column(name))


def _complete(table: Table, columns: Columns, task: Task | None) -> tuple[Table, list[Quarantined]]:
    reasons = table_columns.incomplete(table, columns, task)
    faults = [Quarantined(table.row_name(index), "incomplete", reason) for index, reason in reasons.items()]
    return table.subset([index for index in range(len(table)) if index not in reasons]), faults


def _inputs(table: Table, columns: Columns) -> list[str] | list[tuple[str, str]]:
    texts = [_joined(table, names) for names in columns.texts]
    return texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))


def _joined(table: Table, names: Sequence[str]) -> list[str]:
    rows = zip(*(table.column(name) for name in names), strict=True)
    return [" ".join(str(value).strip() for value in row if table_columns.is_present(value)) for row in rows]


def _find(table: Table, names: Sequence[str], file: Path, columns: Columns, task: Task | None) -> table_paths.Found:
    return table_paths.find(
        names,
        file.parent,
        table.source,
        folder=columns.folder,
        suffix=columns.suffix,
        stem=file.name.split(".")[0],
        classes=[str(value).strip() for value in table.column(columns.targets[0])] if task == "single_label" else None,
        is_required=task is not None,
    )


def _without_targets(table: Table, columns: Columns, task: Task) -> str:
    """Why the examples of a held-out part cannot be used; "" if they can."""
    missing = [name for name in columns.targets if name not in table.values]
    if missing and not table.has_names:
        return "its first line is data and does not name its columns"
    if missing:
        return f"it has no column {missing[0]!r}"
    for name in columns.targets:
        values = {str(value).strip() for value in table.column(name) if table_columns.is_present(value)}
        if not values or (task == "single_label" and values in ({"-1"}, {"-1.0"})):
            what = "has no value in any row" if not values else "is -1 in all rows"
            return f"its column {name!r} {what}"
    return ""


def _layout(table: Table, columns: Columns, kind: str, task: Task | None) -> str:
    noun = "images" if kind == "images" else "first texts of pairs" if columns.pairs else "texts"
    roles = [_in_columns(noun, columns.inputs, "joined by a space")]
    if columns.pairs:
        roles.append(_in_columns("second texts", columns.pairs, "joined by a space"))
    if columns.numbers:
        roles.append(_in_columns("numbers beside them", columns.numbers))
    if task is not None:
        roles.append(_in_columns(_NOUNS[task], columns.targets))
        roles += [
            _in_columns(noun, (name,))
            for noun, name in (("parts", columns.split), ("weights", columns.weight), ("groups", columns.group))
            if name is not None
        ]
        if columns.slices:
            roles.append(_in_columns("slices", columns.slices))
    return f"{table.layout}, with {', '.join(roles)}"


def _in_columns(noun: str, names: Sequence[str], how: str = "") -> str:
    if len(names) == 1:
        return f"{noun} in column {names[0]!r}"
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{noun} in the columns {shown}" + (f" {how}" if how else "")
