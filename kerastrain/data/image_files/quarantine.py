"""The files that a run leaves out, each with the reason, and which of several equal files those are.

Takes paths and digests, gives `Quarantined` records and a CSV file that is safe to open in a spreadsheet. Must not read
the files themselves.
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
    "unreadable": "is not there, is no file, or may not be opened",
    "empty": "has no bytes",
    "no image": "is something else, or a format that is not read",
    "truncated": "ends before its picture does",
    "damaged": "begins like an image and cannot be decoded",
    "unsupported": "has pixels of unknown range",
    "too large": "is larger than is decoded: an accident, or made to fill the memory",
    "duplicate": "has the same bytes as a file that is used",
    "leakage": "has the same bytes as a file of a held-out part, on which the model would be measured",
    "contradiction": "has the same bytes as a file with other labels",
}
REPEATS = ("duplicate", "leakage", "contradiction")
ALARMING = {
    "leakage": "a model would be measured on what it was trained on",
    "contradiction": "nobody knows which of their labels is right",
}

_FORMULA_STARTS = ("=", "+", "-", "@")
_HELD_OUT_FIRST = ("test", "validation", "train")


@dataclass(frozen=True)
class Quarantined:
    """One file that is left out.

    Args:
        path: str, the file as the source named it.
        kind: str, a key of `KINDS`.
        reason: str, the rest of a sentence, such as "the file is empty".
    """

    path: str
    kind: str
    reason: str


def repeats(
    paths: Sequence[str], digests: Sequence[str | None], targets: Sequence[str], marks: Sequence[str] | None = None
) -> dict[int, Quarantined]:
    """What is left out of files that hold the same bytes, by index, so that no example stands in two parts.

    | the copies have | left out | as |
    |---|---|---|
    | other targets | all of them, for no one knows which is right | contradiction |
    | one target, in parts that the source marks | all but one: of test, else of validation | leakage |
    | one target, in one part or in none yet | all but the first path | duplicate |

    Args:
        paths: n paths.
        digests: n digests of the files' bytes; None for a file that cannot be used anyway.
        targets: n str, what is to be learnt of each file.
        marks: n of "train", "validation" and "test" where the source marks the parts; None where it does not.

    Returns:
        dict from index to Quarantined.
    """
    groups = {}
    for index, digest in enumerate(digests):
        if digest is not None:
            groups.setdefault(digest, []).append(index)
    found = {}
    for group in groups.values():
        if len(group) > 1:
            found |= _left_out(sorted(group, key=paths.__getitem__), paths, targets, marks)
    return found


def counts(quarantined: Iterable[Quarantined]) -> dict[str, int]:
    """How many there are of each kind, in the order of `KINDS`, without those of which there is none."""
    counted = Counter(one.kind for one in quarantined)
    return {kind: counted[kind] for kind in KINDS if kind in counted}


def write(path: str | os.PathLike, quarantined: Iterable[Quarantined]) -> Path:
    """Writes a CSV file with the columns path, kind and reason, whole or not at all.

    Whatever a file's name holds, each file is one line of printable UTF-8 and no cell is a formula: unprintable signs are
    spelled out as in Python, and a relative path that begins like a formula gets a "./" in front.

    Args:
        path: path of the CSV file; one that exists is replaced.
        quarantined: the files.

    Returns:
        Path of the file.
    """
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    rows.writerow(field.name for field in fields(Quarantined))
    rows.writerows(map(_cell, astuple(one)) for one in quarantined)
    return files.write_text(path, text.getvalue())


def _left_out(
    group: Sequence[int], paths: Sequence[str], targets: Sequence[str], marks: Sequence[str] | None
) -> dict[int, Quarantined]:
    """The files to leave out of a group with the same bytes, which is in the order of its paths."""
    if len({targets[index] for index in group}) > 1:
        return {index: _contradiction(index, group, paths, targets) for index in group}
    kept = group[0]
    if marks is not None:
        kept = min(group, key=lambda index: _HELD_OUT_FIRST.index(marks[index]))
    same = f"it has the same bytes as {paths[kept]!r}"
    found = {}
    for index in group:
        if marks is not None and marks[index] != marks[kept]:
            found[index] = Quarantined(paths[index], "leakage", f"{same}, which is marked {marks[kept]}")
        elif index != kept:
            found[index] = Quarantined(paths[index], "duplicate", same)
    return found


def _contradiction(index: int, group: Sequence[int], paths: Sequence[str], targets: Sequence[str]) -> Quarantined:
    other = next(one for one in group if targets[one] != targets[index])
    reason = f"it has the same bytes as {paths[other]!r}, but {targets[index]!r} is not {targets[other]!r}"
    return Quarantined(paths[index], "contradiction", reason)


def _cell(text: str) -> str:
    line = printable(text).replace("\n", "\\n")
    return f"./{line}" if line.startswith(_FORMULA_STARTS) else line
