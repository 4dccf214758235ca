"""Texts that a language model learns to continue, from text files.

Takes paths, returns `Document`s. Must not import TensorFlow.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.sources import parts, text_encoding
from kerastrain.data.sources.folders import is_clutter
from kerastrain.errors import InputError, counted

_SUFFIXES = (".txt", ".text", ".md", ".rst", ".raw", ".tokens", "")
_CODE = (
    *(".py", ".ipy", ".js", ".mjs", ".jsx", ".ts", ".tsx", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp"),
    *(".hpp", ".cu", ".cs", ".go", ".rs", ".rb", ".php", ".swift", ".m", ".jl", ".r", ".lua", ".pl", ".sh", ".sql"),
    *(".tex", ".html", ".css"),
)


@dataclass(frozen=True)
class Document:
    """A text that is learned as a whole.

    Args:
        text: str.
        row: str, where it was found, such as "'book.txt'".
    """

    text: str
    row: str = ""

    @property
    def content(self) -> str:
        """What two equal texts share."""
        return self.text


def files(root: Path) -> tuple[list[tuple[str | None, Path]], list[str]]:
    """The text files of a folder and its subfolders.

    Args:
        root: Path.

    Returns:
        list of (str or None, Path): the part of each file, by the folder or the file's name, if the names denote parts; and
        list of str, notes on files that are not read.

    Raises:
        InputError: there is none.
    """
    found, code, others = [], [], Counter()
    for folder, names, own in os.walk(root):
        names[:] = sorted(name for name in names if not is_clutter(name))
        for name in sorted(own):
            suffix = Path(name).suffix.lower()
            if is_clutter(name):
                continue
            if suffix in (*_SUFFIXES, *text_encoding.COMPRESSED):
                found.append(Path(folder) / name)
            else:
                others[suffix] += 1
                if suffix in _CODE:
                    code.append(Path(folder) / name)
    if not found and code:  # beside texts, programs are what made them
        found, others = code, Counter({suffix: count for suffix, count in others.items() if suffix not in _CODE})
    if not found:
        received = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(3)) or "an empty folder"
        raise InputError(
            f"'{root}' must hold text files (.txt). Received: {received}. Give a file or a folder of texts."
        )
    tops = {file: file.relative_to(root).parts[0].split(".")[0] for file in found}
    words = {file: next(filter(parts.part_named, file.name.split(".")), tops[file]) for file in found}
    denoted = parts.parts_of(sorted(set(words.values())))
    notes = [f"did not read {counted(count, 'files')} {suffix}" for suffix, count in others.most_common(3)]
    if "train" not in denoted.values():
        return [(None, file) for file in found], notes
    if strange := [file for file in found if words[file] not in denoted]:
        notes.append(f"did not read '{strange[0]}' and {len(strange) - 1:,} more, whose names denote no part")
    return [(denoted[words[file]], file) for file in found if words[file] in denoted], notes


def read(
    members: Sequence[tuple[str | None, Path]],
) -> tuple[list[Document], list[str | None], list[Quarantined], list[str]]:
    """Reads text files.

    Args:
        members: sequence of (part or None, Path).

    Returns:
        the texts, their parts, the files that are skipped, and notes.

    Raises:
        InputError: the only file cannot be read.
    """
    texts, in_parts, skipped, notes = [], [], [], []
    for part, path in members:
        try:
            text, note = text_encoding.read(path)
        except InputError as error:
            if len(members) == 1:
                raise
            skipped.append(Quarantined(str(path), "unreadable", str(error).rstrip(".")))
            continue
        if not text.strip():
            skipped.append(Quarantined(str(path), "empty", "it has no text"))
            continue
        if note:
            notes.append(note)
        texts.append(Document(text.strip("\n"), f"'{path}'"))
        in_parts.append(part)
    if len(notes) > 1:
        notes = [f"{notes[0]}, and {counted(len(notes) - 1, 'other files')} not in UTF-8 either"]
    return texts, in_parts, skipped, notes


def cut(document: Document, shares: Mapping[str, float]) -> dict[str, list[Document]]:
    """Cuts a text into its parts, at the ends of paragraphs or lines if there are any near.

    Args:
        document: Document.
        shares: mapping from the names of the parts, in the order of the text, to their shares of it.

    Returns:
        dict from the names to lists of one Document.

    Raises:
        InputError: the text is too short.
    """
    text, start, result, passed = document.text, 0, {}, 0.0
    for number, (part, share) in enumerate(shares.items(), start=1):
        passed += share
        end = len(text) if number == len(shares) else _near(text, round(passed * len(text)))
        piece = text[start:end].strip("\n")
        if not piece.strip():
            raise InputError(
                f"{document.row} is too short to be cut into {', '.join(shares)}. Give more text, or files for the parts."
            )
        result[part] = [Document(piece, f"characters {start + 1:,} to {end:,} of {document.row}")]
        start = end
    return result


def _near(text: str, place: int) -> int:
    """The end of a paragraph, else of a line, else of a word, at most a hundredth of the text away; else the place."""
    reach = max(len(text) // 100, 20)
    for mark in ("\n\n", "\n", " "):
        before = text.rfind(mark, max(place - reach, 0), place) + len(mark)
        after = text.find(mark, place - len(mark), place + reach) + len(mark)
        ends = [end for end in (before, after) if end > len(mark)]
        if ends:
            return min(ends, key=lambda end: abs(end - place))
    return place
