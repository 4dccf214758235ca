"""Says in words how a source was understood, so that a wrong reading is seen before a model is trained on it.

Takes a `Listing` and its parts, returns lines of text. Must not decode images or import TensorFlow.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import quarantine
from kerastrain.data.sources import number_columns
from kerastrain.data.splitting.listings import Listing

_MOST_LABELS = 20
_SHOWN_OF_MORE = 10
_SHOWN_EXAMPLES = 2
_SHOWN_SKIPPED = 3
_SHOWN_CHARACTERS = 50
_NOUNS = {"single_label": "classes", "multi_label": "labels", "regression": "numbers"}


def describe(listing: Listing, parts: Mapping[str, Examples]) -> list[str]:
    """Describes a source: its layout, parts, classes with counts and examples, and what was left out.

    Args:
        listing: Listing.
        parts: mapping from "train", "validation" and "test" (those that exist) to their Examples.

    Returns:
        list of str, lines without line ends.

    Raises:
        InputError: no training example has a value in a column of numbers.

    Example:
        >>> import kerastrain as kt
        >>> listing = kt.data.listing("digits")
        >>> parts = {part: listing.examples.subset(rows) for part, rows in kt.data.divide(listing).items()}
        >>> for line in describe(listing, parts)[:5]:
        ...     print(line)
        source: the digits
        layout: images in memory
        examples: 1,438 train, 359 validation
        classes: 10
          0: 178 (142 train, 36 validation)
    """
    examples = listing.examples
    lines = [f"source: {listing.source}"]
    if listing.layout:
        lines.append(f"layout: {listing.layout}")
    lines.append("examples: " + ", ".join(f"{len(part):,} {name}" for name, part in parts.items()))
    lines.append(f"{_NOUNS[examples.task]}: {len(examples.labels):,}")
    lines += [
        f"  {line}" for line in (_numbers(examples) if examples.task == "regression" else _labels(listing, parts))
    ]
    lines += number_columns.lines(examples, parts)
    if listing.skipped:
        first = "; ".join(f"{item.path}: {item.reason}" for item in listing.skipped[:_SHOWN_SKIPPED])
        more = len(listing.skipped) - _SHOWN_SKIPPED
        first += f"; and {more:,} more" if more > 0 else ""
        lines.append(f"skipped: {quarantine.summary(listing.skipped)} ({first})")
    return lines + [f"note: {note}" for note in listing.notes]


def _labels(listing: Listing, parts: Mapping[str, Examples]) -> list[str]:
    examples = listing.examples
    counts = {name: part.class_counts for name, part in parts.items()}
    totals = sum(counts.values())
    shown = len(totals) if len(totals) <= _MOST_LABELS else _SHOWN_OF_MORE
    lines = []
    for number, label in enumerate(examples.labels[:shown]):
        by_part = ", ".join(f"{counted[number]:,} {name}" for name, counted in counts.items())
        lines.append(f"{label}: {totals[number]:,} ({by_part}){_such_as(parts.values(), number)}")
    if shown < len(totals):
        low, high = totals[shown:].min(), totals[shown:].max()
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        lines.append(f"and {len(totals) - shown:,} more, with {span} examples each")
    if examples.task == "multi_label" and (without := int((examples.targets.sum(axis=1) == 0).sum())):
        lines.append(f"without a label: {without:,}")
    return lines


def _such_as(parts: Iterable[Examples], number: int) -> str:
    """Names the first examples of a label, of the training part if it has any, if the source has names for them."""
    keys = itertools.islice(itertools.chain.from_iterable(_keys(part, number) for part in parts), _SHOWN_EXAMPLES)
    quoted = [f"'{key}'" for key in keys]
    return f", such as {' and '.join(quoted)}" if quoted else ""


def _keys(examples: Examples, number: int) -> Iterator[str]:
    if examples.keys is None:
        return
    has_label = examples.targets == number if examples.task == "single_label" else examples.targets[:, number] > 0
    for row in np.flatnonzero(has_label)[:_SHOWN_EXAMPLES]:
        yield _shortened(examples.keys[row]) if examples.dtype.kind == "O" else examples.keys[row]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


def _numbers(examples: Examples) -> Sequence[str]:
    columns = zip(examples.labels, examples.targets.T, strict=True)
    return [f"{label}: {column.min():g} to {column.max():g}, mean {column.mean():g}" for label, column in columns]
