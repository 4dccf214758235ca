"""The names of classes: their order, and which spellings are one class.

Takes the names that a source gives its classes, returns labels. All sources that read classes from names of folders,
files or cells use it, so that the same data has the same labels wherever it comes from. Must not open files.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_LETTER_PAIRS = 3  # So many letters in both cases are an alphabet and not a typing error.
_MOST_NAMED = 3
_MOST_EXCLUDED = 5


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Sorts class names: by value if all are numbers, else alphabetically.

    Args:
        names: iterable of distinct str.

    Returns:
        tuple of str.

    Example:
        >>> ordered(["10", "2", "1"]), ordered(["10", "2", "b"])
        (('1', '2', '10'), ('10', '2', 'b'))
    """
    names = list(names)
    if not all(map(_NUMBER.fullmatch, names)):
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (float(name), name)))


def folded(name: str) -> str:
    r"""Form of a class name in which spellings that mean the same are equal.

    Args:
        name: str.

    Returns:
        str without case, surrounding white space, and differences of Unicode normalization.

    Example:
        >>> folded("Cafe\u0301 ") == folded("caf\u00e9")
        True
    """
    return unicodedata.normalize("NFC", _cleaned(name).casefold())


def spellings(counts: Mapping[str, int]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Chooses a label for each name; names that differ only by case, normalization or white space get one label.

    The label is the most frequent spelling, composed (NFC) and without surrounding white space. Single letters that
    differ by case stay apart if there are several such pairs: they are the characters of an alphabet.

    Args:
        counts: mapping from each name to its number of examples.

    Returns:
        tuple of dict from each name to its label, and a tuple of notes, one for each label that joins several names.

    Example:
        >>> spellings({"Cat": 2, "cat ": 5, "dog": 1})
        ({'Cat': 'cat', 'cat ': 'cat', 'dog': 'dog'}, ("the names 'Cat' (2) and 'cat ' (5) are one class, 'cat'",))
    """
    groups = {}
    for name in counts:
        groups.setdefault(folded(name), []).append(name)
    letters = [key for key, names in groups.items() if len({_cleaned(name) for name in names}) > 1 and len(key) == 1]
    if len(letters) >= _LETTER_PAIRS:
        for key in letters:
            for name in groups.pop(key):
                groups.setdefault(_cleaned(name), []).append(name)
    labels, notes = {}, []
    for names in groups.values():
        by_label = Counter()
        for name in names:
            by_label[_cleaned(name)] += counts[name]
        label = max(by_label, key=lambda spelling: (by_label[spelling], spelling))
        labels |= dict.fromkeys(names, label)
        if len(names) > 1:
            notes.append(_joined(names, counts, label))
    if len(letters) >= _LETTER_PAIRS:
        notes.append(f"small and capital letters are different classes ({len(letters)} pairs)")
    return {name: labels[name] for name in counts}, tuple(notes)


def numbered(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Numbers the classes of examples.

    Args:
        names: sequence of n str, the class of each example as the source spells it.

    Returns:
        tuple of int64 array (n,), the class numbers; the labels in order; and notes about names that are one class.
    """
    label_of, notes = spellings(Counter(names))
    labels = ordered(set(label_of.values()))
    numbers = {label: number for number, label in enumerate(labels)}
    of_name = {name: numbers[label] for name, label in label_of.items()}
    return np.array([of_name[name] for name in names], np.int64), labels, notes


def of_files(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """As `numbered`, for the names of files or folders, which are read as Windows-1252 if they are not UTF-8.

    Args:
        names: sequence of n str from the operating system, in which bytes that are not UTF-8 are surrogates.

    Returns:
        tuple as of `numbered`.
    """
    readable = {name: _readable(name) for name in set(names)}
    decoded = sorted({label for name, label in readable.items() if label != name})
    targets, labels, notes = numbered([readable[name] for name in names])
    if decoded:
        shown = ", ".join(map(repr, decoded[:_MOST_NAMED])) + (", …" if len(decoded) > _MOST_NAMED else "")
        notes += (f"names that are not UTF-8 are read as Windows-1252: {shown}",)
    return targets, labels, notes


def excluding(names: Sequence[str]) -> str:
    """The setting that leaves out classes, as one can type it.

    Args:
        names: sequence of str, labels.

    Returns:
        str, only the key if there are many names or if they need quotation marks.

    Example:
        >>> excluding(["unsup"]), excluding(["a, b"])
        ('data.exclude_classes=[unsup]', 'data.exclude_classes')
    """
    can_be_typed = len(names) <= _MOST_EXCLUDED and all(re.fullmatch(r"\w[\w.-]*", name) for name in names)
    return "data.exclude_classes" + (f"=[{','.join(names)}]" if can_be_typed else "")


def _readable(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("cp1252", errors="replace")
    return name


def _cleaned(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _joined(names: Sequence[str], counts: Mapping[str, int], label: str) -> str:
    shown = [f"{name!r} ({counts[name]:,})" for name in names[:_MOST_NAMED]]
    shown += [f"{len(names) - _MOST_NAMED:,} more"] if len(names) > _MOST_NAMED else []
    looks = " that look alike" if len({_cleaned(name) for name in names}) == 1 else ""
    return f"the names {', '.join(shown[:-1])} and {shown[-1]}{looks} are one class, {label!r}"
