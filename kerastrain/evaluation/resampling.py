"""95 % intervals of many measures at once, by one bootstrap with a fixed seed.

Takes which examples are alike and functions of the examples' counts in a resample; returns pairs of numbers. Works in pieces of
bounded size, so that memory stays near that of the predictions. Must not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import scipy

from kerastrain.evaluation.curves import Ranking

ROUNDS, FEWEST_ROUNDS = 1000, 200
"""The number of resamples, and that of the largest data sets."""

_WORK = 20_000_000  # counts of examples in all resamples together, before there are fewer than ROUNDS
_MOST = 10_000_000  # values, above which there are no intervals
_PIECE = 2_000_000  # counts of examples in memory
_BIASED = ("calibration.error",)


def rounds(count: int, *, cost: int = 1) -> int:
    """The number of resamples of a data set.

    Args:
        count: int >= 1, the values that each resample looks at: the examples, or their scores for all classes.
        cost: int >= 1, the time for a value in comparison to that for the decision about an example.

    Returns:
        int, from `FEWEST_ROUNDS` to `ROUNDS`; 0 if that would still take minutes.
    """
    return 0 if count > _MOST else int(np.clip(_WORK // (count * cost), FEWEST_ROUNDS, ROUNDS))


def resamples(strata: np.ndarray, count: int, *, seed: int = 0) -> Iterator[np.ndarray]:
    """Draws resamples with replacement, each of as many examples of every stratum as there are.

    Args:
        strata: int (n,), the stratum of each example, such as its class; all 0 for a plain bootstrap.
        count: int >= 1, the number of resamples.
        seed: int, by which they are drawn.

    Yields:
        float32 (n, resamples), how often each example is drawn, for some resamples at a time.

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8.
    """
    random = np.random.default_rng(seed)
    order = np.argsort(strata, kind="stable")
    _, firsts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    first, size = (np.repeat(values, sizes)[:, np.newaxis].astype(np.int32) for values in (firsts, sizes))
    examples = len(strata)
    step = max(1, _PIECE // examples)
    for start in range(0, count, step):
        width = min(step, count - start)
        drawn = (random.random((examples, width), np.float32) * size).astype(np.int32)
        drawn = order[np.minimum(drawn, size - 1) + first] * width + np.arange(width)
        yield np.bincount(drawn.ravel(), minlength=examples * width).astype(np.float32).reshape(examples, width)


def intervals(
    strata: np.ndarray,
    measures: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    estimates: Mapping[str, float | None],
    count: int,
) -> dict[str, list[float]]:
    """The 95 % intervals of measures: the 2.5th and 97.5th percentile of the resamples.

    An error of calibration grows with the noise of a resample, so its percentiles are moved by the mean difference between the
    resamples and the estimate.

    Args:
        strata: int (n,), as for `resamples`.
        measures: callable from float32 (n, r), how often each example is drawn, to a mapping from the name of a measure to
            float (r,), NaN where undefined.
        estimates: mapping from names to the measures of the examples themselves.
        count: int, the number of resamples; 0 for no interval.

    Returns:
        dict from name to [low, high]. A measure that is None has none, nor one that is the same in every resample, such as
        after no mistake at all: that says nothing about the next examples.
    """
    found: dict[str, list] = {}
    for weights in resamples(strata, count) if count else ():
        for name, values in measures(weights).items():
            found.setdefault(name, []).append(values)
    limits = {}
    for name, pieces in found.items():
        values = np.concatenate(pieces)
        values = values[np.isfinite(values)]
        estimate = estimates.get(name)
        if estimate is None or len(values) < count / 2:
            continue
        low, high = np.percentile(values, (2.5, 97.5))
        if name in _BIASED:
            low, high = np.maximum(np.array([low, high]) - (values.mean() - estimate), 0)
        if high - low > 1e-12:
            limits[name] = [float(min(low, estimate)), float(max(high, estimate))]
    return limits


class RankedResamples:
    """The areas under a class's curves in resamples.

    Args:
        ranking: Ranking of the class.
        positive: bool (n,), whether each example has the class.
    """

    def __init__(self, ranking: Ranking, positive: np.ndarray):
        counts = np.diff(np.concatenate([[0], ranking.true_positives + ranking.false_positives])).astype(np.int64)
        has_positive = np.diff(np.concatenate([[0], ranking.true_positives])) > 0
        ends = np.cumsum(counts)
        # Only groups of equal scores with a positive example change either area; the others are added up between them.
        self._ends, self._starts = ends[has_positive], (ends - counts)[has_positive]
        self._edges = np.unique(np.concatenate([[0], self._starts, self._ends, [len(positive)]]))
        self._all = _summing(ranking.order, self._edges)
        rows = ranking.order[positive[ranking.order]]
        self._positive = _summing(
            rows, np.append(0, ranking.true_positives[has_positive]).astype(np.int64), len(positive)
        )

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Average precision, ROC AUC, and the number of positive examples.

        Args:
            weights: float32 (n, r), how often each example is drawn.

        Returns:
            tuple of three float (r,), the areas NaN where undefined.
        """
        until_edge = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(self._all @ weights, axis=0)])
        until, before = (until_edge[np.searchsorted(self._edges, at)] for at in (self._ends, self._starts))
        positives = self._positive @ weights
        true_positives = np.cumsum(positives, axis=0, dtype=np.float64)
        total = true_positives[-1]
        negatives = until_edge[-1] - total
        with np.errstate(invalid="ignore", divide="ignore"):
            beaten = negatives - (until + before - 2 * true_positives + positives) / 2
            precision = np.where(until > 0, true_positives / until, 0)
            average_precision = (positives * precision).sum(axis=0) / total
            return average_precision, (positives * beaten).sum(axis=0) / (total * negatives), total


def _summing(rows: np.ndarray, edges: np.ndarray, count: int | None = None) -> scipy.sparse.csr_matrix:
    """The matrix whose product with values of examples is their sum between edges."""
    shape = (len(edges) - 1, len(rows) if count is None else count)
    return scipy.sparse.csr_matrix((np.ones(len(rows), np.float32), rows.astype(np.int32), edges), shape)
