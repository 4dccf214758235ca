"""The image files that a run skips, each with the reason, and the choice among files with the same bytes.

Takes paths and digests; returns `Quarantined` records and writes a CSV file that is safe to open in a spreadsheet. Must
not read the image files.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from kerastrain.system import files
from kerastrain.system.terminal import printable

KINDS = {
    "unreadable": "is missing, is not a regular file, or may not be opened",
    "empty": "has no bytes",
    "no image": "is another type of file, or an image format that is not supported",
    "truncated": "ends before its picture does",
    "damaged": "starts like an image but cannot be decoded",
    "unsupported": "has pixels of unknown range",
    "too large": "exceeds the limit on bytes or pixels, which protects the memory",
    "incomplete": "is a row whose input or target is missing or invalid",
    "duplicate": "is the same, byte for byte, as one that is used",
    "leakage": "is the same, byte for byte, as one of a held-out part, on which the model is evaluated",
    "contradiction": "is the same, byte for byte, as one with other labels",
}
REPEATS = ("duplicate", "leakage", "contradiction")
ALARMING = {
    "leakage": "a model would be evaluated on what it was trained on",
    "contradiction": "it is unknown which of the labels is right",
}

# The kind in a count, as in "1 duplicate" and "2 duplicates"; the other kinds have one form.
_COUNTED = {
    "no image": ("not an image", "not images"),
    "duplicate": ("duplicate", "duplicates"),
    "leakage": ("copy of a held-out example", "copies of held-out examples"),
    "contradiction": ("with conflicting labels", "with conflicting labels"),
}
HELD_OUT_FIRST = ("test", "validation", "train")
_FORMULA_STARTS = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Quarantined:
    """An example that a run skips.

    Args:
        path: str, path of the file, or another name of the example, as the source names it; of a text its start.
        kind: str, a key of `KINDS`.
        reason: str, the rest of a sentence about the file, such as "the file is empty".
    """

    path: str
    kind: str
    reason: str


def repeats(
    paths: Sequence[str],
    digests: Sequence[str | None],
    targets: Sequence[str],
    predefined_split: Sequence[str] | None = None,
) -> dict[int, Quarantined]:
    """Chooses which of several files with the same bytes to skip, so that no example is in two parts.

    | the copies have | skipped | kind |
    |---|---|---|
    | different targets | all of them, because it is unknown which is right | contradiction |
    | one target, in several predefined parts | all but one: of test, else of validation | leakage |
    | one target, in one part or not split yet | all but the first path | duplicate |
    | one path, as a table may repeat a row | none | |

    Args:
        paths: n paths.
        digests: n digests of the files' bytes; None for a file that cannot be used anyway.
        targets: n str, the targets of each file in a form that can be compared, such as its class.
        predefined_split: n of "train", "validation" and "test" where the source defines the parts; else None.

    Returns:
        dict from the index of each skipped file to Quarantined.
    """
    first, groups = {}, {}  # A list for each file of a large set would take much memory.
    for index, digest in enumerate(digests):
        if digest is not None and first.setdefault(digest, index) != index:
            groups.setdefault(digest, [first[digest]]).append(index)
    skipped = {}
    for group in groups.values():
        skipped |= _skipped(sorted(group, key=paths.__getitem__), paths, targets, predefined_split)
    return skipped


def counts(quarantined: Iterable[Quarantined]) -> dict[str, int]:
    """Number of skipped files of each kind.

    Args:
        quarantined: the skipped files.

    Returns:
        dict from kind to int >= 1, in the order of `KINDS`; kinds that do not occur are missing.
    """
    counted = Counter(file.kind for file in quarantined)
    return {kind: counted[kind] for kind in KINDS if kind in counted}


def summary(quarantined: Iterable[Quarantined]) -> str:
    """Number of skipped files of each kind, in words.

    Args:
        quarantined: the skipped files.

    Returns:
        str, in the order of `KINDS`.

    Example:
        >>> files = [Quarantined("a.png", "contradiction", ""), Quarantined("b.png", "duplicate", "")]
        >>> summary([*files, Quarantined("c.png", "duplicate", "")])
        '2 duplicates, 1 with conflicting labels'
    """
    texts = []
    for kind, count in counts(quarantined).items():
        singular, plural = _COUNTED.get(kind, (kind, kind))
        texts.append(f"{count:,} {singular if count == 1 else plural}")
    return ", ".join(texts)


def write(quarantined: Iterable[Quarantined], path: str | os.PathLike) -> Path:
    """Writes a CSV file with the columns path, kind and reason, whole or not at all.

    Each file is one line of printable UTF-8, and no cell is a formula: unprintable characters are escaped as in Python,
    and a relative path that starts like a formula is prefixed with "./".

    Args:
        quarantined: the skipped files.
        path: path of the CSV file, which is replaced if it exists.

    Returns:
        Path of the CSV file.
    """
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    rows.writerow(field.name for field in fields(Quarantined))
    rows.writerows(map(_cell, astuple(file)) for file in quarantined)
    return files.write_text(path, text.getvalue())


def _skipped(
    group: Sequence[int], paths: Sequence[str], targets: Sequence[str], predefined_split: Sequence[str] | None
) -> dict[int, Quarantined]:
    """The files to skip of a group with the same bytes, sorted by path."""
    if len({targets[index] for index in group}) > 1:
        return {index: _contradiction(index, group, paths, targets) for index in group}
    parts = predefined_split if predefined_split is not None else dict.fromkeys(group, "train")
    used = min(group, key=lambda index: HELD_OUT_FIRST.index(parts[index]))
    same = f"it has the same bytes as {paths[used]!r}"
    skipped = {}
    for index in group:
        if parts[index] != parts[used]:
            skipped[index] = Quarantined(paths[index], "leakage", f"{same}, which is in the {parts[used]} part")
        elif paths[index] != paths[used]:
            skipped[index] = Quarantined(paths[index], "duplicate", same)
    return skipped


def _contradiction(index: int, group: Sequence[int], paths: Sequence[str], targets: Sequence[str]) -> Quarantined:
    other = next(candidate for candidate in group if targets[candidate] != targets[index])
    reason = f"it has the same bytes as {paths[other]!r}, whose label is {targets[other]!r}, not {targets[index]!r}"
    return Quarantined(paths[index], "contradiction", reason)


def _cell(text: str) -> str:
    line = printable(text).replace("\n", "\\n")
    return f"./{line}" if line.startswith(_FORMULA_STARTS) else line
