"""Inputs without targets: the rows of a table, the images of a folder, the texts of a file or a folder.

Takes paths; returns the inputs in order, with where each was found. Must not open images or import TensorFlow.
"""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kerastrain.data.image_files import file_signatures
from kerastrain.data.sources import tables
from kerastrain.data.sources.table import Columns
from kerastrain.data.sources.text_folders import utf8
from kerastrain.errors import InputError

_IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif"}
_CLUTTER = {"thumbs.db", "desktop.ini"}
_IMAGE_SUFFIXES |= {".jpe", ".jfif", ".pgm", ".pbm"}


@dataclass(frozen=True)
class Unlabelled:
    """Inputs of one source.

    Args:
        values: tuple of str, paths of image files, or texts.
        rows: tuple of str, where each was found, such as "line 3 of 'news.csv'"; "" where its value says it.
        layout: str, how the source was read, such as "30 texts, one in each line".
        faults: tuple of str, a sentence about each row that cannot be used.
    """

    values: tuple[str, ...]
    rows: tuple[str, ...]
    layout: str
    faults: tuple[str, ...] = ()


def table(path: Path, *, kind: str, columns: Columns, is_optional: bool = False) -> Unlabelled:
    """Reads the column of inputs of a table, which needs no targets.

    Args:
        path: Path of a table.
        kind: "images" or "text".
        columns: Columns, of which `input` is used.
        is_optional: bool, whether a usual name counts if the table has no column `columns.input`.

    Returns:
        Unlabelled. Paths are relative to the folder of the table; rows without a value are faults.

    Raises:
        InputError: it is not a valid table, or has no column of inputs.
    """
    named = columns.inputs
    if is_optional and named:
        content = tables.read(path, columns)
        columns = columns if set(named) <= content.values.keys() else dataclasses.replace(columns, input=None)
    content = tables.inputs(path, kind=kind, columns=columns)
    faults = tuple(f"{row.path}: {row.reason}." for row in content.skipped)
    return Unlabelled(content.values, content.rows, "; ".join((content.layout, *content.notes)), faults)


def image_folder(folder: Path) -> Unlabelled:
    """Finds the images of a folder and its subfolders: by their suffix, or by their first bytes.

    Args:
        folder: Path.

    Returns:
        Unlabelled, in the order of the paths.

    Raises:
        InputError: there are no images.
    """
    files = list(_files(folder))
    images = [file for file in files if file.suffix.lower() in _IMAGE_SUFFIXES or _starts_like_an_image(file)]
    if not images:
        raise InputError(f"'{folder}' contains no images.")
    others = f" ({len(files) - len(images):,} other files skipped)" if len(images) < len(files) else ""
    return Unlabelled(tuple(map(str, images)), ("",) * len(images), f"{_counted(images, 'images')}{others}")


def text_file(path: Path) -> Unlabelled:
    """Reads a text from each line of a file.

    Args:
        path: Path of a text file.

    Returns:
        Unlabelled; empty lines are skipped.

    Raises:
        InputError: the file is not text, or has no text.
    """
    return lines(utf8(path), f"'{path}'")


def lines(content: str, source: str) -> Unlabelled:
    """Reads a text from each line.

    Args:
        content: str.
        source: str, where the lines come from.

    Returns:
        Unlabelled; empty lines are skipped.

    Raises:
        InputError: there is no text.
    """
    # str.splitlines would also split at form feeds and next-line characters within a sentence.
    stripped = [line.strip() for line in content.rstrip().split("\n")]
    numbered = [(number, line) for number, line in enumerate(stripped, start=1) if line]
    if not numbered:
        raise InputError(f"{source} contains no text.")
    empty = len(stripped) - len(numbered)
    skipped = f" ({empty:,} empty {'line' if empty == 1 else 'lines'} skipped)" if empty else ""
    return Unlabelled(
        tuple(line for _, line in numbered),
        tuple(f"line {number} of {source}" for number, _ in numbered),
        f"{_counted(numbered, 'text')}, one in each line{skipped}",
    )


def text_folder(folder: Path) -> Unlabelled:
    """Reads a text from each .txt file of a folder and its subfolders.

    Args:
        folder: Path.

    Returns:
        Unlabelled; files without text, or that are not text, are faults.

    Raises:
        InputError: there are no .txt files.
    """
    files = [file for file in _files(folder) if file.suffix.lower() == ".txt"]
    if not files:
        raise InputError(f"'{folder}' contains no .txt files.")
    values, rows, faults = [], [], []
    for file in files:
        try:
            text = utf8(file).strip()
        except (InputError, OSError) as error:
            faults.append(str(error))
            continue
        if not text:
            faults.append(f"'{file}' contains no text.")
            continue
        values.append(text)
        rows.append(f"'{file}'")
    layout = f"{_counted(values, 'text')}, one in each .txt file"
    return Unlabelled(tuple(values), tuple(rows), layout, tuple(faults))


def _files(folder: Path) -> Iterator[Path]:
    for parent, children, names in os.walk(folder):
        children[:] = sorted(child for child in children if not child.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in _CLUTTER:
                yield Path(parent, name)


def _starts_like_an_image(path: Path) -> bool:
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return file_signatures.image_format(file.read(file_signatures.HEAD_BYTES)) is not None
    except OSError:
        return False


def _counted(values, kind: str) -> str:
    noun = "text" if kind == "text" else "image"
    return f"{len(values):,} {noun}{'' if len(values) == 1 else 's'}"
