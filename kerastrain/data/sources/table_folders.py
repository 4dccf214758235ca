"""A folder with a table for each part, such as train.csv and test.csv, or with one table.

Takes a path, returns the tables and their parts. Must not know rows.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from kerastrain.data.sources import parts, table_columns, table_files, table_paths, table_roles
from kerastrain.data.sources.folders import is_clutter
from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError
from kerastrain.tasks import Task

_SHARD = re.compile(r"[-_.]?\d+[-_]of[-_]\d+|[-_]part[-_]?\d+$")
_MOST_NAMED = 5


def is_folder_of_tables(
    path: str | os.PathLike, kind: str, columns: Columns | None = None, task: Task = "single_label"
) -> bool:
    """Whether the examples of a folder are in its tables, and not in its other files.

    For texts, they are if there is a table, or files of lines with labels. For images, they are if the images that a
    table names are found, unless they lie in folders that are named after what the table says about them.

    Args:
        path: path of a folder.
        kind: "images" or "text".
        columns: Columns; None for the usual names.
        task: as `Examples.task`.

    Returns:
        bool.

    Raises:
        InputError: files are named after parts but have no labels, or it is unclear which tables are meant.
    """
    root, columns = Path(path).expanduser(), columns or Columns()
    files = _tables(root, kind)
    if not files:
        return False
    if kind == "text":
        # Tables may merely describe the texts in other files, unless they are named after parts.
        return bool(files_by_part(files)) or not _has_others(root, files) or _is_understood(root, kind, columns, task)
    try:
        members_, _ = members(root, kind, columns, task)
    except InputError:
        named = [file for file in files if _names_images(file, columns)]
        if named:
            raise
        return False
    return _names_images(members_[0][1], columns)


def members(root: Path, kind: str, columns: Columns, task: Task) -> tuple[list[tuple[str | None, Path]], list[str]]:
    """Finds the tables of a folder.

    Args:
        root: Path of the folder.
        kind: "images" or "text".
        columns: Columns.
        task: as `Examples.task`.

    Returns:
        tuple of a list of (part, Path), with None for the part of a single table, and notes about files that are not
        read.

    Raises:
        InputError: there is no table, or it is unclear which is meant.
    """
    files = _tables(root, kind)
    if not files:
        raise InputError(f"there is no table in '{root}'. Give a table such as train.csv.")
    found, notes = _members(root, files, kind, columns, task)
    folders = [child for child in sorted(root.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    if kind == "text" and found[0][1].parent == root:
        notes += [f"did not read the folder '{folder}', because the texts are in tables" for folder in folders]
    return found, notes


def _members(
    root: Path, files: Sequence[Path], kind: str, columns: Columns, task: Task
) -> tuple[list[tuple[str | None, Path]], list[str]]:
    by_part = files_by_part(files)
    used = [file for found in by_part.values() for file in found]
    others = [file for file in files if file not in used]
    if not by_part:
        used = files if len(files) == 1 else [_only_usable(root, files, kind, columns, task)]
        others = [file for file in files if file not in used]
        return [(None, used[0])], _not_read(others, "it is not the table of the examples")
    if "train" not in by_part:
        if len(others) != 1:
            raise InputError(
                f"'{root}' contains {', '.join(file.name for file in files)} but no train. Name the table of the training "
                "part train, or give the path of one table."
            )
        by_part = {"train": others, **by_part}
        used, others = [*others, *used], []
    found = [(part, file) for part in ("train", "validation", "test") for file in by_part.get(part, [])]
    if len(by_part) == 1 and len(found) == 1:
        return [(None, found[0][1])], _not_read(others, "its name denotes no part")
    return found, _not_read(others, "its name denotes no part")


def _has_others(root: Path, tables: Sequence[Path]) -> bool:
    """Whether a folder has folders, or text files that are no tables."""
    return any(
        child.is_dir() or (child not in tables and child.suffix.lower() in ("", ".txt"))
        for child in root.iterdir()
        if not is_clutter(child.name)
    )


def _is_understood(root: Path, kind: str, columns: Columns, task: Task) -> bool:
    try:
        for part, file in members(root, kind, columns, task)[0]:
            if part in (None, "train"):
                table_roles.completed(table_files.read(file, columns), columns, kind=kind, task=task)
    except InputError:
        return False
    return True


def _tables(root: Path, kind: str) -> list[Path]:
    try:
        children = sorted(root.iterdir())
    except OSError:
        return []
    files = [child for child in children if child.is_file() and not is_clutter(child.name)]
    named = list(filter(is_named_table, files))
    if named or kind != "text":
        return named or _inside(children, kind)
    files = [file for file in files if table_files.suffix(file) not in (".md", ".html", ".pdf", ".py", ".ipynb")]
    of_lines = [file for file in files if table_files.is_of_lines(file)]
    if of_lines:
        return of_lines
    denoted = parts.parts_of([_stem(file) for file in files])
    denoting = [file for file in files if _stem(file) in denoted]
    if "train" in denoted.values() and len(set(denoted.values())) > 1:
        for file in denoting:
            if not table_files.is_table(file, is_only_choice=True):
                raise InputError(
                    f"'{file}' is named after a part and must say the class of each text. Received: lines without a "
                    "separator. Give tables such as train.csv, or a folder train with one file per class."
                )
        return denoting
    if len(files) == 1 and table_files.is_table(files[0], is_only_choice=True):
        return files
    return [] if files else _inside(children, kind)


def _inside(children: Sequence[Path], kind: str) -> list[Path]:
    """Looks into the only folder, such as data/, or into one folder for each part that holds one table."""
    folders = [child for child in children if child.is_dir() and not child.name.startswith(".")]
    files = [child for child in children if child.is_file() and not is_clutter(child.name)]
    if files:
        return []
    if kind == "text" and len(folders) == 1 and not parts.part_of(folders[0].name):
        return _tables(folders[0], kind)
    denoted = parts.parts_of([folder.name for folder in folders])
    if len(denoted) != len(folders):
        return []
    inside = [[child for child in folder.iterdir() if is_named_table(child)] for folder in folders]
    return [found[0] for found in inside] if all(len(found) == 1 for found in inside) else []


def is_named_table(file: Path) -> bool:
    """Whether a file is a table by its suffix; other JSON documents describe data sets, too.

    Args:
        file: Path.

    Returns:
        bool.
    """
    if is_clutter(file.name) or not file.is_file():
        return False
    ending = table_files.suffix(file)
    return ending in table_files.SUFFIXES and (ending != ".json" or table_files.is_of_lines(file))


def files_by_part(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Assigns tables to parts by their names, or by those of their folders if these differ.

    Args:
        files: sequence of Path.

    Returns:
        dict from "train", "validation" and "test" to the tables of those parts that exist.

    Raises:
        InputError: two tables are for one part, and are not shards of one.
    """
    by_folder = len({file.parent for file in files}) == len(files) > 1
    names = {file: file.parent.name if by_folder else _stem(file) for file in files}
    denoted = parts.parts_of(list(dict.fromkeys(names.values())))
    found = {}
    for file in files:
        if names[file] in denoted:
            found.setdefault(denoted[names[file]], []).append(file)
    for part, same in found.items():
        exact = [file for file in same if parts.part_named(names[file])]
        if len(same) > 1 and len(exact) == 1:
            found[part] = exact
        elif len(same) > 1 and len({(_stem(file), table_files.suffix(file)) for file in same}) > 1:
            raise InputError(
                f"'{same[0].parent}' contains the tables {' and '.join(file.name for file in same)}, both for {part}. Keep "
                "one, or give the path of one table."
            )
    return found


def _stem(file: Path) -> str:
    """The name of a table without the suffix of its format and the number of its shard."""
    name = file.name
    while (ending := Path(name).suffix.lower()) in (
        *table_files.SUFFIXES,
        ".txt",
        ".gz",
        ".bz2",
        ".xz",
        ".dat",
        ".data",
    ):
        name = name[: -len(ending)]
    return _SHARD.sub("", name)


def _only_usable(root: Path, files: Sequence[Path], kind: str, columns: Columns, task: Task) -> Path:
    usable, faults = [], []
    for file in files:
        try:
            table = table_files.read(file, columns)
            table_roles.completed(table, columns, kind=kind, task=task)
            usable.append(file)
        except InputError as error:
            faults.append(str(error))
    if len(usable) == 1:
        return usable[0]
    names = ", ".join(file.name for file in files[:_MOST_NAMED]) + (", …" if len(files) > _MOST_NAMED else "")
    why = f" None has the columns: {faults[0]}" if not usable else ""
    raise InputError(
        f"'{root}' contains several tables, and their names denote no parts: {names}. Give the path of one of them, or name "
        f"them train, validation and test.{why}"
    )


def _names_images(file: Path, columns: Columns) -> bool:
    """Whether the images that a table names exist, and their folders do not say the same as the table."""
    try:
        table = table_files.read(file, columns)
        columns, _ = table_roles.completed(table, columns, kind="images", task=None)
        names = [str(value).strip() for value in table.column(columns.inputs[0]) if table_columns.is_present(value)]
        options = {"folder": columns.folder, "suffix": columns.suffix, "stem": file.name.split(".")[0]}
        found = table_paths.find(names, file.parent, table.source, **options)
    except InputError as error:
        return "may be any of" in str(error)
    folders = [Path(path).parent.name for path in found.paths]
    if len(set(folders)) < 2 or len(folders) != len(table):
        return True
    return not any([str(value).strip() for value in column] == folders for name, column in table.values.items())


def _not_read(files: Sequence[Path], why: str) -> list[str]:
    return [f"did not read '{file}', because {why}" for file in files]
