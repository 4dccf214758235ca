"""Examples of two texts, such as a premise and a hypothesis: which columns hold them, and what is said about them.

Takes the names of columns, or pairs of texts; returns sentences. Must not open files.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from kerastrain.data.sources.table import Columns, key
from kerastrain.errors import InputError

# Names of the columns of both texts in published sets, without case, spaces and punctuation.
_USUAL = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "answer"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
    ("text1", "text2"),
    ("texta", "textb"),
    ("sentencea", "sentenceb"),
    ("s1", "s2"),
    ("q1", "q2"),
)


def check(columns: Columns, kind: str) -> None:
    """Checks that `columns.pair` fits the other columns.

    Args:
        columns: Columns.
        kind: "images" or "text".

    Raises:
        InputError: the examples are images, or a column is in both texts.
    """
    if columns.pairs and kind != "text":
        raise InputError(
            f"`data.columns.pair` is for texts. Received: {', '.join(columns.pairs)}, with images. Remove it, or set "
            "data.kind=text."
        )
    both = [name for name in columns.pairs if name in columns.inputs]
    if both:
        raise InputError(
            f"the two texts of a pair must be different columns. Received: {both[0]!r} in `data.columns.input` and in "
            "`data.columns.pair`. Name the column of the first text in `input` only, and of the second in `pair` only."
        )


def usual(names: Iterable[str]) -> tuple[str, str] | None:
    """Finds two columns that are usually the texts of a pair.

    Args:
        names: iterable of str, the names of the columns.

    Returns:
        tuple of the names of the columns of the first and of the second text, or None.

    Example:
        >>> usual(["id", "Sentence_1", "Sentence_2", "label"])
        ('Sentence_1', 'Sentence_2')
    """
    by_key = {key(name): name for name in names}
    found = next((pair for pair in _USUAL if set(pair) <= by_key.keys()), None)
    return None if found is None else (by_key[found[0]], by_key[found[1]])


def settings(names: Iterable[str]) -> str:
    """The settings that read two columns as pairs.

    Args:
        names: iterable of str, the names of the columns.

    Returns:
        str such as "data.columns.input=premise data.columns.pair=hypothesis"; "" if no two columns look like pairs.
    """
    found = usual(names)
    return "" if found is None else f"data.columns.input={found[0]} data.columns.pair={found[1]}"


def notes(names: Iterable[str], columns: Columns) -> list[str]:
    """Says how columns that look like the texts of a pair are read instead.

    Args:
        names: iterable of str, the names of all columns.
        columns: Columns, whose `input` is named.

    Returns:
        list of str, at most one.
    """
    found = usual(names)
    if columns.pairs or found is None or not set(found) & set(columns.inputs):
        return []
    if set(found) <= set(columns.inputs):
        return [f"{found[0]!r} and {found[1]!r} are joined to one text; {settings(found)} reads them as pairs of texts"]
    unread = next(name for name in found if name not in columns.inputs)
    return [f"column {unread!r} is not read; {settings(found)} reads pairs of texts"]


def repeated(firsts: Sequence[str], columns: Columns, has_parts: bool) -> list[str]:
    """Says that a first text occurs in several pairs, which may then be in different parts.

    Args:
        firsts: sequence of n str, the first text of each pair.
        columns: Columns.
        has_parts: bool, whether the source defines the parts.

    Returns:
        list of str, at most one.
    """
    count = len(firsts) - len(set(firsts))
    if columns.group is not None or has_parts or 4 * count < len(firsts):
        return []
    group = f"; data.columns.group={columns.inputs[0]} keeps them together" if len(columns.inputs) == 1 else ""
    return [f"{count:,} of {len(firsts):,} pairs have the first text of another pair, also across parts{group}"]


def shown(value: str | Sequence[str]) -> str:
    """An input as one text.

    Args:
        value: str, or sequence of two str.

    Returns:
        str; the texts of a pair are separated by " | ".

    Example:
        >>> shown(("a man sleeps", "a man is awake"))
        'a man sleeps | a man is awake'
    """
    return value if isinstance(value, str) else " | ".join(map(str, value))


def stripped(text: str | Sequence[str]) -> str | tuple[str, ...]:
    """A text without white space at both ends, or both texts of a pair.

    Args:
        text: str, or sequence of two str.

    Returns:
        str, or tuple of two str.
    """
    return str(text).strip() if np.ndim(text) == 0 else tuple(str(one).strip() for one in text)
