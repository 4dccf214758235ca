"""Sums a cross-validation up: each measure over its folds, and the predictions of all folds as one.

Takes the measures and predictions of the folds; returns dicts that can be written as JSON, and `Predictions`. Must not import
TensorFlow.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy

from kerastrain.errors import InputError
from kerastrain.evaluation.predictions import Predictions

FOLD = "fold"
"""The column of `Predictions.slices` that names the fold of each pooled prediction."""

_HEADLINES = {
    "single_label": ("accuracy", "balanced_accuracy", "macro.f1", "macro.roc_auc", "loss"),
    "multi_label": ("accuracy", "exact", "macro.f1", "macro.average_precision", "macro.roc_auc", "loss"),
    "regression": ("r2", "spearman"),
}
_TINY = 1e-12
_OF_OUTPUTS = ("mae", "rmse")


def headlines(measures: Mapping) -> dict[str, float]:
    """Picks the numbers that stand for a model from all its measures.

    Args:
        measures: mapping as from `evaluation.measures`; that of an earlier version may lack some.

    Returns:
        dict from the name of a measure, such as "macro.f1", to a float; those that are undefined are left out. Of a regression
        of several numbers, the errors are named after them, such as "weight.mae".

    Example:
        >>> headlines({"task": "single_label", "accuracy": 0.5, "macro": {"f1": 0.4, "roc_auc": None}, "loss": 1.0})
        {'accuracy': 0.5, 'macro.f1': 0.4, 'loss': 1.0}
    """
    return {name: value for name, value in _named(measures) if value is not None}


def _named(measures: Mapping) -> Iterator[tuple[str, float | None]]:
    for name in _HEADLINES[measures.get("task", "single_label")]:
        value = measures
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        yield name, value
    outputs = measures.get("outputs", ())
    for row in outputs:
        for name in _OF_OUTPUTS:
            yield name if len(outputs) == 1 else f"{row['label']}.{name}", row.get(name)


def over_folds(values: Sequence[float], *, bounds: tuple[float, float] = (-math.inf, math.inf)) -> dict:
    """The mean of a measure over the folds, with its standard deviation and a 95 % interval.

        mean ± t(0.975, k - 1) · stddev · sqrt(1 / k + 1 / (k - 1))

    The training parts of the folds overlap, so the usual interval of a mean is too narrow. The second term under the root, the
    size of a validation part as a share of its training part, is the correction of Nadeau and Bengio.

    Args:
        values: sequence of k >= 1 floats, one for each fold.
        bounds: (float, float), the lowest and highest possible value, at which the interval ends.

    Returns:
        dict of "mean", "stddev", "interval" (low and high) and "values". A single value has no deviation, and equal values, such
        as those of folds without an error, tell no interval: these are None.

    Example:
        >>> summary = over_folds([0.8, 0.9])
        >>> round(summary["mean"], 3), round(summary["stddev"], 4), [round(limit, 2) for limit in summary["interval"]]
        (0.85, 0.0707, [-0.25, 1.95])

    Reference: Nadeau and Bengio 2003, https://doi.org/10.1023/A:1024068626366
    """
    values = [float(value) for value in values]
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return {"mean": mean, "stddev": None, "interval": None, "values": values}
    stddev = float(np.std(values, ddof=1))
    if stddev < _TINY:
        return {"mean": mean, "stddev": 0.0, "interval": None, "values": values}
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * stddev * math.sqrt(1 / count + 1 / (count - 1))
    return {
        "mean": mean,
        "stddev": stddev,
        "interval": [max(mean - half, bounds[0]), min(mean + half, bounds[1])],
        "values": values,
    }


def summary(measures: Sequence[Mapping]) -> dict[str, dict]:
    """`over_folds` of each headline number that every fold has.

    Args:
        measures: sequence of mappings, the measures of each fold on its own part of that name.

    Returns:
        dict from the name of a measure to a dict as from `over_folds`.
    """
    folds = [headlines(each) for each in measures]
    names = [name for name in folds[0] if all(name in fold for fold in folds)]
    return {name: over_folds([fold[name] for fold in folds], bounds=_bounds(name)) for name in names}


def _bounds(name: str) -> tuple[float, float]:
    """The lowest and highest possible value of a headline number."""
    if name == "loss" or name.rpartition(".")[2] in _OF_OUTPUTS:
        return 0.0, math.inf
    return {"r2": -math.inf, "spearman": -1.0}.get(name, 0.0), 1.0


def pooled(folds: Sequence[Predictions]) -> Predictions:
    """Joins the predictions of all folds for their validation parts: a prediction for each example, by a model that has not
    seen it.

    Args:
        folds: sequence of Predictions, in the order of the folds.

    Returns:
        Predictions, whose slice "fold" names the fold of each. Where examples have no names, and are numbered in each fold, their
        keys are such as "fold_0/1".

    Raises:
        InputError: the folds have different labels or tasks.

    Example:
        >>> halves = [Predictions(np.array([0]), np.zeros((1, 2)), ("cat", "dog"), "single_label", keys=(key,)) for key in "ab"]
        >>> pooled(halves).keys, pooled(halves).slices["fold"].tolist()
        (('a', 'b'), ['0', '1'])
    """
    first = folds[0]
    for number, fold in enumerate(folds):
        if (fold.labels, fold.task) != (first.labels, first.task):
            raise InputError(
                f"all folds must have the same labels. Received: fold 0 with {', '.join(first.labels)} and fold {number} with "
                f"{', '.join(fold.labels)}. Train the folds again with the same data."
            )
    join = lambda name: np.concatenate([getattr(fold, name) for fold in folds])
    columns = [name for name in first.slices if all(name in fold.slices for fold in folds)]
    slices = {name: np.concatenate([fold.slices[name] for fold in folds]) for name in columns}
    slices[FOLD] = np.concatenate([np.full(len(fold), str(number), object) for number, fold in enumerate(folds)])
    numbers = [name for name in first.properties if all(name in fold.properties for fold in folds)]
    return Predictions(
        join("targets"),
        join("outputs"),
        first.labels,
        first.task,
        keys=_keys(folds),
        digests=None if any(fold.digests is None for fold in folds) else join("digests"),
        slices=slices,
        properties={name: np.concatenate([fold.properties[name] for fold in folds]) for name in numbers},
    )


def _keys(folds: Sequence[Predictions]) -> tuple[str, ...]:
    if all(fold.keys == tuple(str(index + 1) for index in range(len(fold))) for fold in folds):
        return tuple(f"fold_{number}/{key}" for number, fold in enumerate(folds) for key in fold.keys)
    return tuple(key for fold in folds for key in fold.keys)
