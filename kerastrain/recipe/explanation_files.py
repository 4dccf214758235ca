"""The folder of explanations of images: pictures, contact sheets, and `index.json`, which says what each picture shows.

Takes records; reads and writes the files. Must not import TensorFlow.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.system import files

INDEX = "index.json"
SHEET = "contact_sheet"


def read(folder: Path) -> dict:
    """The index of a folder.

    Args:
        folder: Path.

    Returns:
        dict with "explanations", list of dict; "sheets", list of str; and "methods", dict; empty if there is no index.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        return {"explanations": [], "sheets": [], "methods": {}}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"explanations": content["explanations"], "sheets": content["sheets"], "methods": content["methods"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged: {error}. Remove it, or use --out for another folder.") from error


def targets(folder: Path, paths: Sequence[str], names: Sequence[str], ending: str, *, replace: bool) -> dict[str, Path]:
    """The picture of each input: no two inputs have the same, also not one that was explained before.

    Args:
        folder: Path.
        paths: sequence of n str, the inputs.
        names: sequence of n str, the names of their pictures.
        ending: str, which follows the names.
        replace: bool, whether the picture of the same input may be replaced.

    Returns:
        dict from an input to the Path of its picture.

    Raises:
        FileExistsError: the picture of an input exists, and `replace` is False.
        InputError: the index of the folder is damaged.
    """
    owners = {item["file"].casefold(): _place(item["input"]) for item in read(folder)["explanations"]}
    taken, found, existing = set(), {}, []
    for path, name in zip(paths, names, strict=True):
        number, file = 1, f"{name}_{ending}.png"
        while file.casefold() in taken or owners.get(file.casefold(), _place(path)) != _place(path):
            number += 1
            file = f"{name}_{ending}_{number}.png"
        taken.add(file.casefold())
        found[path] = folder / file
        if os.path.lexists(found[path]) and not replace:
            existing.append(found[path])
    if existing:
        more = f" and {len(existing) - 1:,} more" if len(existing) > 1 else ""
        raise FileExistsError(
            f"'{existing[0]}'{more} exists already and is not overwritten. Use --replace, or --out for another folder."
        )
    return found


def free_sheet(folder: Path, ending: str) -> Path:
    """A path for a contact sheet that does not exist yet.

    Args:
        folder: Path.
        ending: str, as for `targets`.

    Returns:
        Path.
    """
    number, path = 1, folder / f"{SHEET}_{ending}.png"
    while os.path.lexists(path):
        number += 1
        path = folder / f"{SHEET}_{ending}_{number}.png"
    return path


def add(
    folder: Path,
    records: Sequence[Mapping],
    *,
    sheets: Sequence[Path] = (),
    methods: Mapping[str, Mapping] | None = None,
) -> Path:
    """Adds explanations to the index, in the place of those of the same pictures.

    Args:
        folder: Path.
        records: sequence of dict of plain values, with "file".
        sheets: sequence of Path, new contact sheets.
        methods: mapping from the ending of pictures to the scores of their method.

    Returns:
        Path of the index.

    Raises:
        InputError: the index of the folder is damaged.
        OSError: the folder cannot be written to.
    """
    content = read(folder)
    new = {record["file"] for record in records}
    content["explanations"] = [item for item in content["explanations"] if item["file"] not in new] + list(records)
    content["sheets"] = list(dict.fromkeys([*content["sheets"], *(sheet.name for sheet in sheets)]))
    content["methods"].update(methods or {})
    return files.write_text(folder / INDEX, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _place(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
