"""Texts in a folder: one file per class with an example per line, or one folder per class with an example per file.

Takes a path, returns a `Listing` of strings. All texts are read into memory, so that a broken file is reported at once
instead of hours into the run. Must not import TensorFlow, batch, or tokenize.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.sources.image_folders import CLUTTER, part_folders
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError

_IGNORED_STEMS = {"readme", "license", "licence", "repo_license"}


def listing(path: str | os.PathLike) -> Listing:
    """Lists the texts of a folder with their classes.

    | the folder contains | an example is | its label is |
    |---|---|---|
    | neg.txt, pos.txt: files with the same suffix | a line | the name before the suffix |
    | polarity.neg, polarity.pos: files with the same stem | a line | the suffix |
    | other files | a line | the full name of the file |
    | neg/, pos/: folders of .txt files | a file | the name of the folder |
    | train/, validation/, test/ (or val/, …) | as above, in each of them | as above |

    Labels are in alphabetical order. White space around a text is stripped, and empty texts are skipped. Hidden files,
    files without a suffix, Markdown files, and files named readme or license are skipped, too.

    Args:
        path: folder as in the table; its files are UTF-8.

    Returns:
        Listing whose inputs and keys are the texts, so that the part of a text depends on its words and not on its
        line.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        NotADirectoryError: `path` is a file.
        InputError: there are no texts, a class has none, a file is not UTF-8, or there are both files and folders of
            texts.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"no texts at '{root}': there is no such folder.")
    if not root.is_dir():
        raise NotADirectoryError(f"'{root}' must be a folder with one text file per class, but it is a file.")
    folders = part_folders(root, [child.name for child in _class_folders(root)]) or {"": root}
    rows = [(text, label, part) for part, folder in folders.items() for text, label in _read(folder)]
    texts, names, parts = zip(*rows, strict=True)
    labels = tuple(sorted(set(names)))
    numbers = {label: number for number, label in enumerate(labels)}
    targets = np.array([numbers[name] for name in names], np.int64)
    examples = Examples(targets, labels, np.array(texts, object), keys=texts)
    return Listing(f"'{root}'", examples, None if "" in folders else np.array(parts))


def _read(root: Path) -> list[tuple[str, str]]:
    """Returns the texts of a folder with their labels."""
    files, folders = _text_files(root), _class_folders(root)
    if files and folders:
        raise InputError(
            f"'{root}' contains both text files, such as '{files[0].name}', and folders, such as '{folders[0].name}'. "
            "Keep one file per class with an example per line, or one folder per class with an example per file."
        )
    if not files and not folders:
        raise InputError(
            f"'{root}' contains no texts. Put one text file per class into it, such as pos.txt and neg.txt, with an "
            "example per line."
        )
    labels = [folder.name for folder in folders] if folders else _file_labels(files)
    rows = []
    for label, source in zip(labels, folders or files, strict=True):
        texts = _texts_of_folder(source) if folders else _lines(source)
        if not texts:
            where = " in .txt files" if folders else ""
            raise InputError(f"'{source}' contains no text{where}. Put the examples of its class into it or remove it.")
        rows += [(text, label) for text in texts]
    return rows


def _text_files(root: Path) -> list[Path]:
    return sorted(
        child
        for child in root.iterdir()
        if child.is_file()
        and not child.name.startswith(".")
        and child.suffix.lower() not in ("", ".md")
        and child.name.lower() not in CLUTTER
        and child.stem.lower() not in _IGNORED_STEMS
    )


def _class_folders(root: Path) -> list[Path]:
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _file_labels(files: Sequence[Path]) -> list[str]:
    if len({file.suffix for file in files}) == 1:
        return [file.stem for file in files]
    if len({file.stem for file in files}) == 1:
        return [file.suffix[1:] for file in files]
    return [file.name for file in files]


def _lines(file: Path) -> list[str]:
    # str.splitlines would also split at form feeds and next-line characters within a sentence.
    return [line.strip() for line in utf8(file).split("\n") if line.strip()]


def _texts_of_folder(folder: Path) -> list[str]:
    files = sorted(file for file in folder.rglob("*.txt") if file.is_file() and not file.name.startswith("."))
    return [text for text in (utf8(file).strip() for file in files) if text]


def utf8(file: Path) -> str:
    """Reads a UTF-8 file.

    Args:
        file: Path of the file.

    Returns:
        str without a byte order mark, with line feeds as line ends.

    Raises:
        InputError: the file is not UTF-8 (the message names the line).
    """
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"'{file}' must be UTF-8. Received: byte 0x{content[error.start]:02x} in line {line}. Convert it, for "
            f"example with `iconv -f WINDOWS-1252 -t UTF-8`."
        ) from None
