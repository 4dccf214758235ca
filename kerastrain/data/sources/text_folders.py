"""Texts in a folder: one file per class with an example per line, or one folder per class with an example per file.

Takes a path, returns a `Listing` of strings. All texts are read into memory, so that a broken file is reported at once
instead of hours into the run. Must not import TensorFlow, batch, or tokenize.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.sources import class_names, folders, layout_description, layouts, parts, text_encoding
from kerastrain.data.sources.folders import Folder
from kerastrain.data.sources.layouts import Layout
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError

_TEXT_SUFFIXES = ("", ".txt", ".text")
# Tables, markup, programs and models: files that often lie beside texts, and are no examples.
_OTHER_SUFFIXES = frozenset(
    (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".html", ".htm", ".md", ".rst", ".yaml", ".yml", ".toml")
    + (".feat", ".vocab", ".log", ".py", ".ipynb", ".sh", ".bak", ".tmp", ".lock", ".md5", ".sha256", ".bib", ".tex")
)
_MOST_CLASS_FILES = 20


def listing(path: str | os.PathLike) -> Listing:
    """Lists the texts of a folder with their classes.

    | the folder contains | an example is | its label is |
    |---|---|---|
    | neg.txt, pos.txt: files with the same suffix | a line | the name before the suffix |
    | polarity.neg, polarity.pos: files with the same stem | a line | the suffix |
    | other files | a line | the full name of the file |
    | neg/, pos/: folders of files, such as 1.txt, or without a suffix | a file | the name of the folder |
    | folders for train, validation, test; see `layouts.find` | as above, in each of them | as above |

    Labels are in numerical order if all are numbers, else in alphabetical order; names that differ only by case or
    Unicode normalization are one class. White space around a text is stripped, and empty texts are left out. Skipped are
    hidden files, tables, Markdown and other files with a suffix that is not used for texts, files named readme or
    license, and, beside files of classes, those without a suffix; beside folders of classes, all files.

    Args:
        path: folder as in the table; see `text_encoding.read` for the encodings of its files.

    Returns:
        Listing whose inputs and keys are the texts, so that the part of a text depends on its words and not on its
        line.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        NotADirectoryError: `path` is a file.
        InputError: there are no texts, a file is in no known encoding, or it is unclear what is a class.
    """
    path = Path(path).expanduser()
    folders.check(path, "one text file per class", noun="texts")
    root = folders.read(path, is_text)
    if not root.count:
        found = folders.contents(root)
        hint = f" It contains only {found}; for images, set data.kind=images." if found else ""
        raise InputError(
            f"'{path}' contains no texts. Put one text file per class into it, such as pos.txt and neg.txt, with an "
            f"example per line.{hint}"
        )
    layout = layouts.find(root, "texts")
    if "" in layout.parts:
        layout = dataclasses.replace(layout, parts={"": _holder(layout.parts[""])})
    files = {part: _class_files(folder) for part, folder in layout.parts.items()}
    if all(files.values()):
        return _of_lines(path, layout, files)
    if any(files.values()):
        by_lines, by_files = (next(part for part in files if bool(files[part]) is is_file) for is_file in (True, False))
        raise InputError(
            f"the parts of '{path}' must be alike. Received: a file per class in {by_lines}, a folder per class in "
            f"{by_files}. Use the same for all of them."
        )
    return _of_files(path, layout)


def is_text(path: str) -> bool:
    """Whether a file can be a text.

    Args:
        path: str, path of a file.

    Returns:
        bool, by its suffix; if that says nothing, whether its first bytes are those of a text.
    """
    suffix = folders.suffix(path)
    if suffix in _TEXT_SUFFIXES:
        return True
    if suffix in _OTHER_SUFFIXES or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return b"\0" not in file.read(4096)
    except OSError:
        return False


def _of_files(path: Path, layout: Layout) -> Listing:
    """Lists the texts of class folders, each file a text."""
    class_folders = layouts.class_folders(layout)
    rows, skipped, encodings, empty = [], [], [], []
    for part, named, folder in class_folders:
        for file in folder.examples():
            try:
                text, encoding = text_encoding.read(Path(file))
            except (InputError, OSError) as error:
                skipped.append(Quarantined(file, "unreadable", str(error).replace(f"'{file}'", "it")))
                continue
            encodings += [encoding] if encoding else []
            (rows if text.strip() else empty).append((text.strip(), named.name, part))
    notes = [
        *layout_description.notes(layout, class_folders),
        *folders.skipped(layout.root, "texts"),
        *_encoding_notes(encodings),
    ]
    if empty:
        notes.append(f"left out {len(empty):,} empty {'text' if len(empty) == 1 else 'texts'}")
    without = sorted({named.name for _, named, _ in class_folders} - {name for _, name, _ in rows})
    if without:
        notes.append(f"left out the classes without texts: {folders.listed(without)}")
    words = f"one folder of texts per class, a text per file{layout_description.place(layout, class_folders)}"
    return _listing(path, rows, words, notes, skipped)


def _of_lines(path: Path, layout: Layout, files: Mapping[str, Sequence[str]]) -> Listing:
    """Lists the lines of class files, each line a text."""
    rows, encodings, empty, unused = [], [], [], []
    for part, folder in layout.parts.items():
        labels = _labels(files[part], folder)
        unused += [f"{folder.path}/{name}" for name in folder.files if name not in files[part]]
        for name, label in zip(files[part], labels, strict=True):
            file = Path(folder.path, name)
            content, encoding = text_encoding.read(file)
            encodings += [encoding] if encoding else []
            # str.splitlines would also split at form feeds and next-line characters within a sentence.
            lines = [line.strip() for line in content.split("\n") if line.strip()]
            empty += [] if lines else [file]
            rows += [(line, label, part) for line in lines]
    if empty and len({label for _, label, _ in rows}) < 2:
        raise InputError(f"'{empty[0]}' contains no text. Put the examples of its class into it or remove it.")
    notes = [*layout_description.notes(layout), *folders.skipped(layout.root, "texts"), *_encoding_notes(encodings)]
    if empty:
        notes.append(f"left out the empty files {folders.listed([file.name for file in empty])}")
    if unused:
        notes.append(
            f"left out {folders.listed(list(map(os.path.basename, unused)))}, not named like the files of the classes"
        )
    return _listing(
        path, rows, f"one file of texts per class, a text per line{layout_description.place(layout)}", notes
    )


def _listing(
    path: Path,
    rows: Sequence[tuple[str, str, str]],
    layout: str,
    notes: Sequence[str],
    skipped: Sequence[Quarantined] = (),
) -> Listing:
    """Returns the listing of (text, class, part)."""
    if not rows:
        raise InputError(
            f"'{path}' contains no texts that can be read. {skipped[0].reason if skipped else ''}".rstrip()
        )
    texts, names, in_parts = zip(*rows, strict=True)
    targets, labels, merged = class_names.of_files(names)
    return Listing(
        f"'{path}'",
        Examples(targets, labels, np.array(texts, object), keys=texts),
        None if "" in in_parts else np.array(in_parts),
        layout=layout,
        notes=(*merged, *notes),
        skipped=tuple(skipped),
        counts_repeats=False,
    )


def _holder(folder: Folder) -> Folder:
    """Goes into the only folder of a folder if its files are named like classes, not like texts of one class."""
    inner = folder.folders[0] if len(folder.folders) == 1 and not folder.files else folder
    are_classes = 2 <= len(inner.files) <= _MOST_CLASS_FILES and not any(map(str.isdigit, "".join(inner.files)))
    return inner if are_classes and not inner.folders else folder


def _class_files(folder: Folder) -> list[str]:
    """Returns the files that hold the texts of a class each; none if the classes are folders."""
    files = [name for name in folder.files if folders.suffix(name)]
    named_texts = [name for name in files if folders.suffix(name) == ".txt"]
    files = named_texts if len(named_texts) > 1 else files
    others = [child.name for child in folder.folders]
    if files and (len(others) == 1 or (len(files) == 1 and not others and folder.empty)):
        raise InputError(
            f"'{folder.path}' contains both text files, such as {files[0]!r}, and folders, such as "
            f"{(others or folder.empty)[0]!r}. Keep one file per class with an example per line, or one folder per class "
            "with an example per file."
        )
    return [] if others else files


def _labels(files: Sequence[str], folder: Folder) -> list[str]:
    """Returns the class of each file: what differs in their names."""
    stems, suffixes = zip(*(os.path.splitext(name) for name in files), strict=True)
    labels = list(stems) if len(set(suffixes)) == 1 else [suffix[1:] for suffix in suffixes]
    if len(set(suffixes)) > 1 and len(set(stems)) > 1:
        labels = list(files)
    named = parts.parts_of(list(stems))
    if {"train"} < set(named.values()) or parts.mixed_with_classes(labels):
        raise InputError(
            f"the files {folders.listed(list(files))} of '{folder.path}' are named like parts, not like classes. Put the texts "
            "of each class into a file named after the class, in folders train, validation and test."
        )
    return labels


def _encoding_notes(encodings: Sequence[str]) -> list[str]:
    more = len(encodings) - 1
    return [] if more < 0 else [encodings[0] + (f", and {more:,} more files are not UTF-8" if more else "")]
