"""Inputs without targets: the rows of a table, the images of a folder, the texts of a file or a folder.

Takes paths; returns the inputs in order, with where each was found. Must not open images or import TensorFlow.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kerastrain.data.sources import folders, tables, text_encoding
from kerastrain.data.sources.image_folders import is_image
from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError, counted


@dataclass(frozen=True)
class Unlabelled:
    """Inputs of one source.

    Args:
        values: tuple of str, paths of image files, or texts; for pairs of texts, tuple of tuples of two str.
        rows: tuple of str, where each was found, such as "line 3 of 'news.csv'"; "" where its value says it.
        layout: str, how the source was read, such as "30 texts, one in each line".
        faults: tuple of str, a sentence about each row that cannot be used.
        numbers: tuple of n tuples of float, the numbers beside each input, NaN where one is missing; empty if there are none.
        targets: tuple of str, what the table says is right for each input; empty if it does not say it.
    """

    values: tuple[str, ...] | tuple[tuple[str, str], ...]
    rows: tuple[str, ...]
    layout: str
    faults: tuple[str, ...] = ()
    numbers: tuple[tuple[float, ...], ...] = ()
    targets: tuple[str, ...] = ()


def table(path: Path, *, kind: str, columns: Columns, is_optional: bool = False) -> Unlabelled:
    """Reads the column of inputs of a table, which needs no targets.

    Args:
        path: Path of a table.
        kind: "images" or "text".
        columns: Columns, of which `input` is used.
        is_optional: bool, whether a usual name counts if the table has none of the columns `columns.input`.

    Returns:
        Unlabelled. Paths are relative to the folder of the table; rows without a value are faults.

    Raises:
        InputError: it is not a valid table, or has no column of inputs.
    """
    named = columns.inputs
    if is_optional and named:
        content = tables.read(path, columns)
        if not columns.pairs and not set(named) & content.values.keys():
            columns = dataclasses.replace(columns, input=None)
    content = tables.inputs(path, kind=kind, columns=columns)
    faults = tuple(f"{row.path}: {row.reason}." for row in content.skipped)
    numbers = () if content.numbers is None else tuple(map(tuple, content.numbers.tolist()))
    return Unlabelled(
        content.values, content.rows, "; ".join((content.layout, *content.notes)), faults, numbers, content.targets
    )


def image_folder(folder: Path) -> Unlabelled:
    """Finds the images of a folder and its subfolders, as in training: by their suffix, or by their first bytes.

    Args:
        folder: Path.

    Returns:
        Unlabelled, in the order of the paths.

    Raises:
        InputError: there are no images.
    """
    content = folders.read(folder, is_image)
    if not content.count:
        raise InputError(f"'{folder}' contains no images.")
    others = folders.contents(content)
    skipped = f" (skipped: {others})" if others else ""
    images = tuple(content.examples())
    return Unlabelled(images, ("",) * len(images), f"{counted(len(images), 'images')}{skipped}")


def text_file(path: Path) -> Unlabelled:
    """Reads a text from each line of a file.

    Args:
        path: Path of a text file.

    Returns:
        Unlabelled; empty lines are skipped.

    Raises:
        InputError: the file is not text, or has no text.
    """
    text, note = text_encoding.read(path)
    content = lines(text, f"'{path}'")
    return dataclasses.replace(content, layout=f"{content.layout}; {note}") if note else content


def lines(content: str, source: str, noun: str = "text") -> Unlabelled:
    """Reads a text, or the path of an image, from each line.

    Args:
        content: str.
        source: str, where the lines come from.
        noun: str, what a line is.

    Returns:
        Unlabelled; empty lines are skipped.

    Raises:
        InputError: there is no text.
    """
    # str.splitlines would also split at form feeds and next-line characters within a sentence.
    stripped = [line.strip() for line in content.rstrip().split("\n")]
    numbered = [(number, line) for number, line in enumerate(stripped, start=1) if line]
    if not numbered:
        raise InputError(f"{source} contains no {noun}.")
    empty = len(stripped) - len(numbered)
    skipped = f" ({counted(empty, 'empty lines')} skipped)" if empty else ""
    return Unlabelled(
        tuple(line for _, line in numbered),
        tuple(f"line {number} of {source}" for number, _ in numbered),
        f"{counted(len(numbered), f'{noun}s')}, one in each line{skipped}",
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
    content = folders.read(folder, lambda path: folders.suffix(path) == ".txt")
    if not content.count:
        raise InputError(
            f"'{folder}' contains no .txt files. Give its files themselves: tables, or a text in each line."
        )
    values, rows, faults = [], [], []
    for file in content.examples():
        try:
            text = text_encoding.read(Path(file))[0].strip()
        except (InputError, OSError) as error:
            faults.append(str(error))
            continue
        if text:
            values.append(text)
            rows.append(f"'{file}'")
        else:
            faults.append(f"'{file}' contains no text.")
    layout = f"{counted(len(values), 'texts')}, one in each .txt file"
    line_count = sum(len(text.splitlines()) for text in values)
    if line_count > len(values):
        layout += f" (of {line_count:,} lines; give the files themselves for a text in each line)"
    return Unlabelled(tuple(values), tuple(rows), layout, tuple(faults))
