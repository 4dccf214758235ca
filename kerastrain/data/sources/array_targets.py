"""Targets in arrays: class numbers or names, one-hot rows, and numbers, as people store them.

Takes arrays, returns targets as `Examples` has them, the labels, and notes. Must not know inputs.
"""

from collections.abc import Sequence

import numpy as np

from kerastrain.data.sources import class_names
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import Task

_UNLABELLED = -1


def targets_and_labels(
    targets: np.ndarray, labels: Sequence[str] | None, task: Task, *, where: str = "`targets`"
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Converts targets to those of `Examples`.

    | task | targets | labels |
    |---|---|---|
    | single_label | class numbers of any type without fractions, (n,) or (n, 1) | `labels`, or the numbers that occur |
    | single_label | one-hot rows (n, classes) | `labels`, or the columns that occur |
    | single_label | class names | `labels`, or the names that occur |
    | multi_label | 0 and 1, (n, labels) | `labels`, or "0", "1", … |
    | regression | numbers, (n,) or (n, targets) | `labels`, or "target 0", … |

    Args:
        targets: array.
        labels: sequence of str, or None.
        task: as `Examples.task`.
        where: str, the targets in messages.

    Returns:
        Tuple of the array, of the labels, tuple of str, and of notes, tuple of str.

    Raises:
        InputError: the targets do not fit the task.

    Example:
        >>> targets_and_labels(np.array([[0, 1], [1, 0]]), ["cat", "dog"], "single_label")[:2]
        (array([1, 0]), ('cat', 'dog'))
    """
    targets = np.asarray(targets)
    if isinstance(labels, np.ndarray):
        labels = labels.ravel().tolist()
    labels = None if labels is None else tuple(map(_text, labels))
    if targets.dtype == object or targets.dtype.kind in "US":
        targets = _without_objects(targets, where)
    if task == "single_label":
        return _classes(targets, labels, where)
    if targets.dtype.kind not in "biuf":
        raise InputError(f"{where} of task {task!r} must be numbers. Received: {targets.dtype}.")
    if task == "regression" and targets.ndim == 1:
        targets = targets[:, np.newaxis]
    if labels is None:
        count = 1 if targets.ndim == 1 else targets.shape[1]
        labels = tuple(str(number) if task == "multi_label" else f"target {number}" for number in range(count))
    return targets.astype(np.float32), labels, ()


def are_unlabelled(targets: np.ndarray) -> bool:
    """Whether all targets are -1, as published data sets mark a part whose labels are secret.

    Args:
        targets: array.

    Returns:
        bool.
    """
    return targets.dtype.kind in "if" and targets.size > 0 and bool((targets == _UNLABELLED).all())


def _classes(
    targets: np.ndarray, labels: tuple[str, ...] | None, where: str
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    notes = ()
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim == 2 and targets.dtype.kind in "biuf":
        targets, notes = _from_one_hot(targets, labels, where)
    if targets.ndim != 1:
        raise InputError(f"{where} must have the shape (n,), a class for each input. Received: {targets.shape}.")
    if targets.dtype.kind == "U":
        return (*_from_names(targets, labels, where), notes)
    if targets.dtype.kind == "f":
        _check_whole(targets, where)
        notes += (f"{where} are whole numbers of type {targets.dtype.name}, the classes",)
    elif targets.dtype.kind not in "biu":
        raise InputError(
            f"{where} must be whole numbers or names, the classes of the inputs. Received: {targets.dtype}."
        )
    if labels is not None:
        return targets.astype(np.int64), labels, notes
    if targets.dtype.kind == "b":
        names = np.array(["False", "True"])
        return (*_from_names(names[targets.astype(np.int64)], None, where), notes)
    targets = targets.astype(np.int64)
    values = np.unique(targets)
    if _UNLABELLED in values and values.tolist() != [-1, 1]:
        count = int((targets == _UNLABELLED).sum())
        raise InputError(
            f"{where} must be classes. Received: -1, which usually means without a label, {count:,} times. Remove those "
            "examples, or give names for all classes in `labels`."
        )
    if len(values) and (values[0] != 0 or values[-1] != len(values) - 1):
        numbers = f"{values[0]} to {values[-1]}" if values[-1] - values[0] == len(values) - 1 else _some(values)
        notes += (f"the classes are the numbers that occur in {where}: {numbers}",)
    return np.searchsorted(values, targets), tuple(map(str, values.tolist())), notes


def _from_one_hot(
    targets: np.ndarray, labels: tuple[str, ...] | None, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    if not np.isin(targets, (0, 1)).all():
        sums_to_one = np.allclose(targets.astype(np.float64).sum(axis=1), 1, atol=1e-3)
        hint = "Round them to a class each: targets.argmax(axis=1)." if sums_to_one else "Or set data.task=regression."
        raise InputError(
            f"{where} of shape {targets.shape} must be one-hot, 0 and a single 1 in each row. Received: other numbers. {hint}"
        )
    ones = targets.astype(np.int64).sum(axis=1)
    wrong = np.flatnonzero(ones != 1)
    if len(wrong):
        raise InputError(
            f"{where} of shape {targets.shape} must be one-hot, 0 and a single 1 in each row. Received: {ones[wrong[0]]} "
            f"ones at index {wrong[0]}, and {len(wrong):,} such rows. If an example may have several labels, set "
            "data.task=multi_label."
        )
    if labels is not None and len(labels) != targets.shape[1]:
        raise InputError(
            f"{where} must have a column for each label. Received: {targets.shape[1]} columns for {len(labels)} labels."
        )
    return targets.argmax(axis=1), (f"{where} are one-hot: the class is the column of the 1",)


def _from_names(targets: np.ndarray, labels: tuple[str, ...] | None, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    names = np.char.strip(targets.astype(str))
    if (names == "").any():
        raise InputError(
            f"{where} must name a class for each input. Received: '' at index {int(np.argmin(names != ''))}."
        )
    distinct = np.unique(names).tolist()
    labels = labels or class_names.ordered(distinct)
    unexpected = next((name for name in distinct if name not in labels), None)
    if unexpected is not None:
        raise InputError(f"{where}: {unknown('label', unexpected, labels)}")
    numbers = {label: number for number, label in enumerate(labels)}
    return np.array([numbers[name] for name in names.tolist()], np.int64), tuple(labels)


def _without_objects(targets: np.ndarray, where: str) -> np.ndarray:
    """Names as str; Python objects as what they are."""
    if targets.dtype != object:
        return targets.astype(str) if targets.dtype.kind == "U" else np.char.decode(targets, "utf-8")
    values = targets.tolist()
    if all(isinstance(value, (str, bytes)) for value in values):
        return np.array([_text(value) for value in values])
    try:
        plain = np.array(values)
    except ValueError:
        plain = targets
    if plain.dtype.kind not in "biuf":
        raise InputError(f"{where} must be numbers or names. Received: Python objects such as {values[0]!r}.")
    return plain


def _check_whole(targets: np.ndarray, where: str) -> None:
    if not np.isfinite(targets).all():
        index = int(np.flatnonzero(~np.isfinite(targets))[0])
        raise InputError(f"{where} must be classes. Received: {targets[index]} at index {index}. Remove that example.")
    fractions = np.flatnonzero(targets != np.floor(targets))
    if len(fractions):
        raise InputError(
            f"{where} must be whole numbers, the classes of the inputs. Received: {targets[fractions[0]]:g} at index "
            f"{fractions[0]}. To predict numbers, set data.task=regression."
        )


def _text(label: object) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)


def _some(values: np.ndarray) -> str:
    return ", ".join(map(str, values[:5].tolist())) + (", …" if len(values) > 5 else "")
