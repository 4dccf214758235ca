"""Rows of a table that have the same input.

Takes `Examples`; returns them with the rows of an input joined where each row has one of its labels, and without the rows
that contradict each other. Must not open files.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.sources.text_pairs import stripped
from kerastrain.errors import counted


@dataclasses.dataclass(frozen=True, eq=False)
class Resolved:
    """Examples whose rows agree.

    Args:
        examples: Examples.
        predefined_split: array (n,) of "train", "validation" and "test", or None.
        skipped: tuple of Quarantined, the rows that contradict each other.
        notes: tuple of str, how many rows were joined or are equal.
    """

    examples: Examples
    predefined_split: np.ndarray | None
    skipped: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()


def resolved(examples: Examples, predefined_split: np.ndarray | None, row_name: Callable[[int], str]) -> Resolved:
    """Joins rows with the same input and different labels for "multi_label", and drops such images for the other tasks.

    Rows that are equal in input and targets are kept, and count as often as they occur.

    Args:
        examples: Examples, with paths for images.
        predefined_split: array (n,), the part of each example, or None. Rows in different parts are not joined.
        row_name: callable that names the row of an index.

    Returns:
        Resolved.
    """
    inputs = examples.paths if examples.paths is not None else [stripped(text) for text in examples.inputs]
    inputs = [(value, examples.number_bytes(row)) for row, value in enumerate(inputs)]
    if len(set(inputs)) == len(inputs):
        return Resolved(examples, predefined_split)
    rows_of = {}
    for row, value in enumerate(inputs):
        rows_of.setdefault(value, []).append(row)
    groups = [rows for rows in rows_of.values() if len(rows) > 1]
    different = [rows for rows in groups if _differ(examples, rows)]
    parts = np.full(len(examples), "") if predefined_split is None else predefined_split
    equal = sum(len(rows) - len(set(parts[rows])) for rows in groups if not _differ(examples, rows))
    noun = "image" if examples.paths is not None else "text" if examples.shape == () else "pair"
    notes = (
        [f"{counted(equal, 'rows')} with the {noun} and the targets of another row; it counts as often as it occurs"]
        if equal
        else []
    )
    if different and examples.task == "multi_label":
        return _joined(examples, predefined_split, different, noun, notes)
    count = sum(map(len, different))
    if different and examples.task == "single_label":
        notes.append(
            f"{counted(count, 'rows')} with the {noun} of another row but another class; data.task=multi_label joins such rows"
        )
    if not different or examples.paths is None:  # Equal texts are compared wherever they come from.
        return Resolved(examples, predefined_split, notes=tuple(notes))
    skipped = {}
    for rows in different:
        for row in rows:
            other = next(candidate for candidate in rows if _differ(examples, [row, candidate]))
            skipped[row] = _contradiction(examples, row, other, row_name)
    kept = [row for row in range(len(examples)) if row not in skipped]
    return Resolved(
        examples.subset(kept),
        None if predefined_split is None else predefined_split[kept],
        tuple(skipped[row] for row in sorted(skipped)),
        tuple(notes),
    )


def _joined(
    examples: Examples, predefined_split: np.ndarray | None, different: Sequence, noun: str, notes: list
) -> Resolved:
    targets, dropped, joined = examples.targets.copy(), set(), 0
    for rows in different:
        by_part = {}
        for row in rows:
            by_part.setdefault(None if predefined_split is None else str(predefined_split[row]), []).append(row)
        for first, *others in by_part.values():
            targets[first] = targets[[first, *others]].max(axis=0)
            dropped |= set(others)
            joined += bool(others)
    kept = [row for row in range(len(examples)) if row not in dropped]
    if joined:
        nouns = noun if joined == 1 else f"{noun}s"
        notes.append(
            f"{counted(len(dropped) + joined, 'rows')} with one {noun} each are joined to {joined:,} {nouns} with all labels"
        )
    examples = dataclasses.replace(examples, targets=targets).subset(kept)
    return Resolved(examples, None if predefined_split is None else predefined_split[kept], notes=tuple(notes))


def _differ(examples: Examples, rows: Sequence[int]) -> bool:
    first = examples.targets[rows[0]]
    return any(not np.array_equal(examples.targets[row], first) for row in rows[1:])


def _contradiction(examples: Examples, row: int, other: int, row_name: Callable[[int], str]) -> Quarantined:
    own, others = (_said(examples, index) for index in (row, other))
    reason = f"it gives {examples.keys[row]!r} {own}, but {row_name(other)} gives it {others}"
    return Quarantined(row_name(row), "contradiction", reason)


def _said(examples: Examples, row: int) -> str:
    if examples.task == "single_label":
        return f"the class {examples.labels[examples.targets[row]]!r}"
    return ", ".join(f"{number:g}" for number in examples.targets[row])
