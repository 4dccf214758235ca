"""Where a model is worse: its measures for the examples that share a value, such as a camera, a site or a brightness.

Takes `Predictions` with `slices` and `properties`; returns rows that can be written as JSON. Among many slices some look bad by
chance, so each is tested against all other examples, and the tests know how many there are. Must not import TensorFlow.
"""

from collections.abc import Iterator

import numpy as np
import scipy

from kerastrain.evaluation import intervals, resampling
from kerastrain.evaluation.predictions import Predictions

SIGNIFICANCE = 0.05
"""The probability with which any slice at all is called worse by chance."""

_FEWEST = 5  # examples in a slice, and outside it
_MOST_VALUES = 50  # of a column, the most frequent ones
_QUARTERS = 4
_MOST_PLAIN_NUMBERS = 10  # different numbers, above which they are divided into quarters


def measure(predictions: Predictions) -> list[dict]:
    """Measures each slice with at least 5 examples, and tests whether it is worse than the rest.

    A slice is a value of a column of `slices`, of which the 50 most frequent count, or a quarter of the examples by a number: a
    property, or a column of more than 10 different numbers. A classifier is measured by its accuracy, for many labels the share
    of correct decisions; a regression model by its mean absolute error, with several outputs each in standard deviations of its
    targets.

    The test for one class per example is Fisher's exact test, for the others that of Mann and Whitney, both one-sided. Their
    p-values are adjusted by Holm's method, so that with probability 0.95 no slice is called worse by chance.

    Args:
        predictions: Predictions.

    Returns:
        list of dict, the worst first: those that are worse, by the limit of their interval that is nearer to the others. Each
        has "by" (column or property), "value", "count", "accuracy" or "error", "interval" ([low, high], 95 %), "rest"
        (accuracy or error of all other examples), "p" (adjusted) and "worse" (whether p < 0.05).

    Example:
        >>> targets, cameras = np.arange(40) % 2, np.repeat(["old", "new"], 20)
        >>> answers = np.where(cameras == "old", 0, targets)
        >>> found = measure(Predictions(targets, np.eye(2)[answers], ("a", "b"), "single_label", slices={"camera": cameras}))
        >>> [(row["value"], row["accuracy"], row["worse"]) for row in found]
        [('old', 0.5, True), ('new', 1.0, False)]

    Reference: Holm 1979, https://www.jstor.org/stable/4615733
    """
    is_error, scores = predictions.task == "regression", _scores(predictions)
    name = "error" if is_error else "accuracy"
    rows = []
    for by, value, inside in _slices(predictions):
        rows.append(
            {
                "by": by,
                "value": value,
                "count": int(inside.sum()),
                name: float(scores[inside].mean()),
                "interval": _interval(scores[inside], predictions.task),
                "rest": float(scores[~inside].mean()),
                "p": _p(scores, inside, predictions.task),
            }
        )
    for row, p in zip(rows, _holm([row["p"] for row in rows]), strict=True):
        row["p"], row["worse"] = p, bool(p < SIGNIFICANCE)
    return sorted(rows, key=lambda row: (not row["worse"], -row["interval"][0] if is_error else row["interval"][1]))


def _scores(predictions: Predictions) -> np.ndarray:
    """How right, or for regression how wrong, the answer for each example is: float64 (n,)."""
    targets, outputs = predictions.targets, predictions.outputs
    if predictions.task == "single_label":
        return (outputs.argmax(axis=1) == targets).astype(np.float64)
    if predictions.task == "multi_label":
        return ((outputs >= 0) == (targets > 0)).mean(axis=1)
    errors = np.abs(outputs.astype(np.float64) - targets)
    if errors.shape[1] > 1:
        spread = targets.std(axis=0, dtype=np.float64)
        errors = errors / np.where(spread > 0, spread, 1)
    return errors.mean(axis=1)


def _slices(predictions: Predictions) -> Iterator[tuple[str, str, np.ndarray]]:
    columns = {by: _named(values) for by, values in predictions.slices.items()}
    columns |= {by: _quarters(np.asarray(values, np.float64)) for by, values in predictions.properties.items()}
    for by, values in columns.items():
        distinct, numbers, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
        for index in np.argsort(-counts, kind="stable")[:_MOST_VALUES]:
            inside = numbers.reshape(-1) == index
            if min(counts[index], len(values) - counts[index]) >= _FEWEST and distinct[index]:
                yield by, str(distinct[index]), inside


def _named(values: np.ndarray) -> np.ndarray:
    """The values themselves, or the quarters of numbers; those without a number keep their value."""
    numbers = np.array([_number(value) for value in values])
    is_number = np.isfinite(numbers)
    others = {str(value) for value in values[~is_number]}
    if len(others) > 1 or len(np.unique(numbers[is_number])) <= _MOST_PLAIN_NUMBERS:
        return values
    quarters = _quarters(numbers)
    return np.where(is_number, quarters, values)


def _quarters(numbers: np.ndarray) -> np.ndarray:
    """The range of the quarter of each number; equal numbers share one. "" without a number."""
    finite = np.isfinite(numbers)
    names = np.full(len(numbers), "", object)
    if not finite.any():
        return names
    edges = np.quantile(numbers[finite], np.arange(1, _QUARTERS) / _QUARTERS)
    quarter = np.searchsorted(edges, numbers, side="left")
    for index in np.unique(quarter[finite]):
        inside = finite & (quarter == index)
        low, high = numbers[inside].min(), numbers[inside].max()
        names[inside] = f"{low:.6g}" if low == high else f"{low:.4g} to {high:.4g}"
    return names


def _number(value: object) -> float:
    try:
        return float(value)
    except ValueError:
        return np.nan


def _interval(scores: np.ndarray, task: str) -> list[float]:
    if task == "single_label":
        return list(intervals.wilson(int(scores.sum()), len(scores)))
    rounds = resampling.rounds(len(scores)) or resampling.FEWEST_ROUNDS
    means = [scores @ weights / len(scores) for weights in resampling.resamples(np.zeros(len(scores), int), rounds)]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    if low == high and task == "multi_label":  # no resample differs
        return list(intervals.wilson(round(scores.sum()), len(scores)))
    return [float(low), float(high)]


def _p(scores: np.ndarray, inside: np.ndarray, task: str) -> float:
    if task == "single_label":
        wrong = 1 - scores
        return float(scipy.stats.hypergeom.sf(wrong[inside].sum() - 1, len(scores), wrong.sum(), inside.sum()))
    if np.ptp(scores) == 0:
        return 1.0
    worse = "greater" if task == "regression" else "less"
    return float(scipy.stats.mannwhitneyu(scores[inside], scores[~inside], alternative=worse).pvalue)


def _holm(values: list[float]) -> list[float]:
    order, adjusted, largest = np.argsort(values, kind="stable"), [1.0] * len(values), 0.0
    for place, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, values[index] * (len(values) - place)))
        adjusted[index] = largest
    return adjusted
