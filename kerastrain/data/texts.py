"""Where texts come from: a folder with one text file per class, an example a line, or with one folder per class.

Takes a path, gives a `Split` of strings. Every text is read before the first step and stays in memory, so that a
broken file is told now and not hours into the run. Must not import TensorFlow, batch, or cut texts into words.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.data import splits
from kerastrain.data.examples import Examples, Split
from kerastrain.data.sources import CLUTTER, PART_NAMES
from kerastrain.errors import InputError

_NOTES = {"readme", "license", "licence", "repo_license"}


def text_files(
    path: str | os.PathLike, *, validation_fraction: float = 0.2, test_fraction: float = 0.0, seed: int = 0
) -> Split:
    """The texts of a folder, split by class.

    | the folder holds | an example is | its label is |
    |---|---|---|
    | neg.txt, pos.txt: files of one suffix | a line | the name before the suffix |
    | polarity.neg, polarity.pos: files of one stem | a line | the suffix |
    | other files | a line | the whole name of the file |
    | neg/, pos/: folders of .txt files | a file | the name of the folder |

    Labels stand in alphabetical order. White space around a text falls away, and a text that is empty then is passed
    over. So are hidden files, files without a suffix, Markdown files, and files named readme or license. Which part a
    text falls into depends on its words and the seed, and not on its line, so that texts added later move few others.

    Args:
        path: folder as in the table, in UTF-8.
        validation_fraction: float in [0, 1), the share of each class held out for validation.
        test_fraction: float in [0, 1), the share of each class held out for the test.
        seed: int, which of the possible splits.

    Returns:
        Split whose `Examples.inputs` are object arrays (n,) of str.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        NotADirectoryError: `path` is a file.
        InputError: no texts, fewer than two classes, a class with too few texts to split, a file that is not UTF-8,
            or both files and folders of texts.

    Example:
        >>> split = text_files("reviews", test_fraction=0.1)  # doctest: +SKIP
        >>> split.labels, split.train.inputs[0]  # doctest: +SKIP
        (('neg', 'pos'), 'a dull film')
    """
    texts, numbers, labels = _read(Path(path).expanduser())
    parts = splits.stratified(
        numbers, texts, names=labels, validation_fraction=validation_fraction, test_fraction=test_fraction, seed=seed
    )
    inputs = np.array(texts, object)
    examples = {part: Examples(numbers[indices], labels, inputs[indices]) for part, indices in parts.items()}
    return Split(examples["train"], examples.get("validation"), examples.get("test"))


def text_part_sizes(
    path: str | os.PathLike, *, validation_fraction: float = 0.2, test_fraction: float = 0.0
) -> dict[str, int]:
    """How many texts each part of `text_files` would have.

    Raises:
        FileNotFoundError, NotADirectoryError, InputError: as for `text_files`.
    """
    split = text_files(path, validation_fraction=validation_fraction, test_fraction=test_fraction)
    return {name: len(part) for name, part in split.parts.items()}


def _read(root: Path) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """All texts, for each the number of its class, and the classes' names."""
    if not root.exists():
        raise FileNotFoundError(f"no texts at '{root}': there is no such folder.")
    if not root.is_dir():
        raise NotADirectoryError(f"'{root}' must be a folder with one text file per class, and it is a file.")
    files, folders = _text_files(root), _class_folders(root)
    if files and folders:
        raise InputError(
            f"'{root}' holds files of texts, such as '{files[0].name}', and folders, such as '{folders[0].name}'. "
            "Keep one file per class, with an example a line, or one folder per class, with an example a file."
        )
    labels = tuple(folder.name for folder in folders) if folders else _file_labels(files)
    _check_labels(root, labels)
    texts, numbers = [], []
    for number, (_, source) in enumerate(sorted(zip(labels, folders or files, strict=True))):
        found = _texts_of_folder(source) if folders else _lines(source)
        if not found:
            where = " in .txt files" if folders else ""
            raise InputError(f"'{source}' holds no text{where}. Put the examples of its class into it or remove it.")
        texts += found
        numbers += [number] * len(found)
    return texts, np.array(numbers, np.int64), tuple(sorted(labels))


def _text_files(root: Path) -> list[Path]:
    return sorted(
        child
        for child in root.iterdir()
        if child.is_file()
        and not child.name.startswith(".")
        and child.suffix.lower() not in ("", ".md")
        and child.name.lower() not in CLUTTER
        and child.stem.lower() not in _NOTES
    )


def _class_folders(root: Path) -> list[Path]:
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _file_labels(files: Sequence[Path]) -> tuple[str, ...]:
    if len({file.suffix for file in files}) == 1:
        return tuple(file.stem for file in files)
    if len({file.stem for file in files}) == 1:
        return tuple(file.suffix[1:] for file in files)
    return tuple(file.name for file in files)


def _check_labels(root: Path, labels: Sequence[str]) -> None:
    if not labels:
        raise InputError(
            f"'{root}' holds no texts. Put one text file per class into it, such as pos.txt and neg.txt, with an "
            "example a line."
        )
    if len(labels) == 1:
        raise InputError(
            f"'{root}' holds one class only, {labels[0]!r}. A classifier needs at least two text files or class folders."
        )
    if {label.lower() for label in labels} <= PART_NAMES:
        raise InputError(
            f"'{root}' holds the parts {', '.join(sorted(labels))} and not classes. Give one folder with a text file "
            "per class; kerastrain splits it by `validation_fraction` and `test_fraction`."
        )


def _lines(file: Path) -> list[str]:
    # Not str.splitlines, for which a form feed or a next-line sign within a sentence ends the line.
    return [line.strip() for line in _decoded(file).split("\n") if line.strip()]


def _texts_of_folder(folder: Path) -> list[str]:
    files = sorted(file for file in folder.rglob("*.txt") if file.is_file() and not file.name.startswith("."))
    return [text for text in (_decoded(file).strip() for file in files) if text]


def _decoded(file: Path) -> str:
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"'{file}' must be UTF-8. Received: byte 0x{content[error.start]:02x} in line {line}. Convert it, such as "
            f"by `iconv -f WINDOWS-1252 -t UTF-8`."
        ) from None
