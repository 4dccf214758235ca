"""Numbers of a table that are inputs beside the image or the text: how they are read, and what is said about them.

Takes the columns of a table, or `Examples`; returns arrays and sentences. A missing number is NaN. Must not open files or
import TensorFlow.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.sources.table import Columns
from kerastrain.errors import InputError, counted

RULE = "a number, or be empty where it is missing"


def check(columns: Columns, *, usual_inputs: Sequence[str] = (), usual_target: str | None = None) -> None:
    """Checks that no column of numbers has another role that would give the answer away, or is named twice.

    Args:
        columns: Columns.
        usual_inputs: sequence of str, the names that hold the inputs if `columns` names none.
        usual_target: str, the name that holds the targets if `columns` names none.

    Raises:
        InputError: a column is named twice, is an input, a target or a column of parts too, or its name is not one line.
    """
    names = columns.numbers
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(
            f"`data.columns.numbers` must name each column once. Received: {twice[0]!r} twice. Remove one."
        )
    if broken := [name for name in names if "\n" in name or "\r" in name]:
        raise InputError(
            f"the names of `data.columns.numbers` must be one line each. Received: {broken[0]!r}. Rename it."
        )
    roles = {"input": columns.inputs or usual_inputs, "pair": columns.pairs, "split": (columns.split,)}
    for role, others in roles.items():
        if both := [name for name in names if name in others]:
            raise InputError(
                f"column {both[0]!r} is in `data.columns.numbers` and in `data.columns.{role}`. Name it in one of them."
            )
    if both := [name for name in names if name in (columns.targets or (usual_target,))]:
        raise InputError(
            f"column {both[0]!r} is what the model is to predict, and cannot be an input. Received: it is in "
            "`data.columns.numbers` and in the targets. Remove it from `data.columns.numbers`."
        )


def array(columns: Sequence[Sequence], number: Callable[[object], float]) -> np.ndarray:
    """The numbers of a table as an array.

    Args:
        columns: sequence of k columns of n cells.
        number: callable from a cell to its number, NaN if it has none.

    Returns:
        float32 (n, k).
    """
    return np.array([[number(value) for value in column] for column in columns], np.float64).T.astype(np.float32)


def lines(examples: Examples, parts: Mapping[str, Examples]) -> list[str]:
    """Describes the numbers beside the images or texts: range, mean, and how many are missing.

    Args:
        examples: Examples.
        parts: mapping from the name of each part to its Examples.

    Returns:
        list of str, lines without line ends; empty if there are no numbers.

    Raises:
        InputError: no training example has a number in a column.
    """
    if examples.numbers is None:
        return []
    noun = "image" if examples.dtype != object else "text" if examples.shape == () else "pair"
    rows = zip(examples.number_names, examples.numbers.T, parts["train"].numbers.T, strict=True)
    return [
        f"inputs beside each {noun}: {counted(len(examples.number_names), 'numbers')}",
        *(f"  {name}: {_described(name, values, train)}" for name, values, train in rows),
        *(f"note: {note}" for note in (*_leaks(examples), *_missing(examples, parts["train"]))),
    ]


def _described(name: str, values: np.ndarray, train: np.ndarray) -> str:
    """Range, mean and missing values of a column; raises an error if no training example has a number."""
    if np.isnan(train).all():
        raise InputError(_empty(name))
    present = values[~np.isnan(values)].astype(np.float64)
    if present.min() == present.max():
        text = f"{present[0]:g} in all examples, so that it adds nothing"
    else:
        text = f"{present.min():g} to {present.max():g}, mean {present.mean():g}"
    missing = len(values) - len(present)
    return f"{text}; missing in {missing:,} of {counted(len(values), 'examples')}" if missing else text


def _missing(examples: Examples, train: Examples) -> list[str]:
    """Says what a model makes of missing numbers."""
    missing, in_training = (np.isnan(part.numbers).any(axis=0) for part in (examples, train))
    if not missing.any():
        return []
    alone = [name for name, new in zip(examples.number_names, missing & ~in_training, strict=True) if new]
    return [
        "a missing number counts as the mean of the training part, and the model is told that it is missing",
        *(
            f"no training example lacks {name!r}, so that where it is missing the model only gets the mean"
            for name in alone
        ),
    ]


def statistics(numbers: np.ndarray, names: Sequence[str]) -> tuple[list[float], list[float], list[bool]]:
    """The mean and the standard deviation of each column, and whether it lacks a value somewhere.

    Args:
        numbers: float array (n, k), NaN where a number is missing.
        names: sequence of k str, for the error.

    Returns:
        tuple of lists of k: the means; the standard deviations, 0 for a constant column; and whether values are missing.

    Raises:
        InputError: a column has no number.
    """
    numbers = np.asarray(numbers, np.float64)
    missing = np.isnan(numbers)
    if (empty := missing.all(axis=0)).any():
        raise InputError(_empty(names[int(np.flatnonzero(empty)[0])]))
    stddev = np.where(np.nanmin(numbers, axis=0) == np.nanmax(numbers, axis=0), 0.0, np.nanstd(numbers, axis=0))
    return np.nanmean(numbers, axis=0).tolist(), stddev.tolist(), missing.any(axis=0).tolist()


def missing_notes(numbers: np.ndarray, names: Sequence[str]) -> list[str]:
    """Says which numbers are missing where a finished run predicts.

    Args:
        numbers: float array (n, k), NaN where a number is missing.
        names: sequence of k str.

    Returns:
        list of at most one str.
    """
    counts = {name: int(count) for name, count in zip(names, np.isnan(numbers).sum(axis=0), strict=True) if count}
    if not counts:
        return []
    shown = ", ".join(f"{name!r} in {counted(count, 'rows')}" for name, count in counts.items())
    return [f"missing numbers count as the mean of the training part: {shown}"]


def requirement(columns: Columns, kind: str, received: str) -> str:
    """Says that a run needs a table, because it reads numbers too.

    Args:
        columns: Columns of the run.
        kind: "images" or "text".
        received: str, what was given.

    Returns:
        str, sentences.
    """
    noun = "image" if kind == "images" else "pair of texts" if columns.pairs else "text"
    inputs = map(repr, columns.inputs) if columns.inputs else (f"of the {noun}s",)
    *others, last = (*inputs, *map(repr, (*columns.pairs, *columns.numbers)))
    return (
        f"the run reads {counted(len(columns.numbers), 'numbers')} beside each {noun}. Received: {received!r}, which has no "
        f"columns. Give a table with the columns {', '.join(others)} and {last}."
    )


def _empty(name: str) -> str:
    return (
        f"column {name!r} has no number in any training example, so that nothing can be learned from it. Remove it from "
        "`data.columns.numbers`."
    )


def _leaks(examples: Examples) -> list[str]:
    """Says which columns are the target in another form."""
    notes = []
    for name, values in zip(examples.number_names, examples.numbers.T, strict=True):
        label = _told(values.astype(np.float64), examples)
        if label is not None:
            notes.append(
                f"column {name!r} tells {label}: leave it out of data.columns.numbers unless it is known before the answer"
            )
    return notes


def _told(values: np.ndarray, examples: Examples) -> str | None:
    """What a column of numbers gives away; None if it does not."""
    if len(values) <= 2 * len(examples.labels) or np.isnan(values).any() or values.min() == values.max():
        return None
    if examples.task == "single_label":
        of_class = {(float(value), int(target)) for value, target in zip(values, examples.targets, strict=True)}
        classes = len(set(examples.targets.tolist()))
        is_told = classes > 1 and len(of_class) == classes == len({value for value, _ in of_class})
        return "the class of every example" if is_told else None
    for label, targets in zip(examples.labels, examples.targets.T.astype(np.float64), strict=True):
        if targets.min() < targets.max() and math.isclose(abs(np.corrcoef(values, targets)[0, 1]), 1, abs_tol=1e-9):
            return f"{label!r} of every example"
    return None
