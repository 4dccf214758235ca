"""How well scores rank positive above negative examples: areas under curves, and the curves themselves.

Takes which examples are positive and their scores; returns numbers, and curves of few points that can be written as JSON. A
measure without positive or without negative examples is None. One sort of the scores serves all of them; with scikit-learn,
with which the tests compare, each would need its own. Must not import TensorFlow.
"""

import dataclasses
import heapq
from collections.abc import Callable

import numpy as np

MOST_POINTS = 200
"""The largest number of points of a curve."""

_FEWEST_POINTS = 20
_MOST_POINTS_OF_ALL = 4_000  # in the curves of one kind for all classes
_PRESELECTED = 1_000  # points among which the most important are chosen
_GRID = np.linspace(0, 1, 1001)
_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Examples sorted by their scores, best first, and grouped by equal scores.

    Args:
        order: int array (n,), the indices of the examples, best first.
        thresholds: float (m,), the distinct scores, falling.
        true_positives: float (m,), the positive examples with at least each threshold.
        false_positives: float (m,), the negative examples with at least each threshold.
    """

    order: np.ndarray
    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray

    @property
    def is_defined(self) -> bool:
        """Whether there are positive and negative examples."""
        return self.true_positives[-1] > 0 and self.false_positives[-1] > 0

    @property
    def roc_auc(self) -> float | None:
        """The probability that a positive example has a higher score than a negative one, counting ties half."""
        if not self.is_defined:
            return None
        false_positives, true_positives = self.roc()
        return float((np.diff(false_positives) * (true_positives[1:] + true_positives[:-1]) / 2).sum())

    @property
    def average_precision(self) -> float | None:
        """Sum over thresholds of (recall[t] - recall[t - 1]) · precision[t]; None without positive examples."""
        if not self.true_positives[-1]:
            return None
        recall, precision = self.precision_recall()
        return float(np.sum(np.diff(recall) * precision[1:]))

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates, float (m + 1,) each, from (0, 0) to (1, 1)."""
        rates = [values / values[-1] for values in (self.false_positives, self.true_positives)]
        return tuple(np.concatenate([[0.0], rate]) for rate in rates)

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Recalls and precisions, float (m + 1,) each, from (0, 1) with rising recall."""
        recall = self.true_positives / self.true_positives[-1]
        precision = self.true_positives / (self.true_positives + self.false_positives)
        return np.concatenate([[0.0], recall]), np.concatenate([[1.0], precision])


def ranking(positive: np.ndarray, scores: np.ndarray) -> Ranking:
    """Sorts examples by their scores.

    Args:
        positive: bool (n,), n >= 1.
        scores: float (n,).

    Returns:
        Ranking.

    Example:
        >>> found = ranking(np.array([True, False, True]), np.array([0.9, 0.4, 0.2]))
        >>> found.roc_auc, round(found.average_precision, 4)
        (0.5, 0.8333)
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives = np.cumsum(positive[order], dtype=np.float64)[ends]
    return Ranking(order, ranked[ends], true_positives, ends + 1 - true_positives)


class Curves:
    """Collects the curves of classes, of which only a few points are kept.

    Args:
        class_count: int >= 1, the number of classes, with which each curve has fewer points.
    """

    def __init__(self, class_count: int):
        self._limit = int(np.clip(_MOST_POINTS_OF_ALL // class_count, _FEWEST_POINTS, MOST_POINTS))
        self._rows = {kind: [] for kind in _KINDS}
        self._sums = {kind: np.zeros(len(_GRID)) for kind in _KINDS}
        self._defined = 0

    def add(self, label: str, ranking: Ranking) -> None:
        """Adds the curves of a class.

        Args:
            label: str, the name of the class.
            ranking: Ranking of the class against the rest.
        """
        self._defined += ranking.is_defined
        for kind, (names, points, cost, on_grid) in _KINDS.items():
            lists = dict.fromkeys((*names, "threshold"))
            if ranking.is_defined:
                curve = points(ranking)
                lists = _lists(names, curve, ranking.thresholds, cost, self._limit)
                self._sums[kind] += on_grid(*curve)
            self._rows[kind].append({"label": str(label), **lists})

    def result(self, micro: Ranking | None) -> dict:
        """The curves of all classes, and their averages.

        The macro average of the ROC curves is the mean of the true positive rates at each false positive rate; that of the
        precision-recall curves the mean of the precisions at each recall.

        Args:
            micro: Ranking of all decisions about all classes together; None leaves its curves out.

        Returns:
            dict of "roc" (curves of lists `fpr`, `tpr` and `threshold`) and "precision_recall" (`recall`, `precision`,
            `threshold`), each with "classes" (for each: label and the lists, which are null if undefined), "macro" and "micro"
            (the lists, or None). A curve has at most 200 points, those of more than 20 classes fewer. The area below one of 100
            points is `roc_auc` within 0.002, or as a sum of steps `average_precision` within 0.004. The first threshold is
            null: no example has it. A macro average has none.
        """
        found = {}
        for kind, (names, points, cost, _) in _KINDS.items():
            averages = {"macro": None, "micro": None}
            if self._defined:
                start = 0.0 if kind == "roc" else 1.0
                x, y = (_GRID, self._sums[kind] / self._defined)
                curve = (np.concatenate([[0.0], x]), np.concatenate([[start], y]))
                averages["macro"] = _lists(names, curve, None, cost, MOST_POINTS)
            if micro is not None and micro.is_defined:
                averages["micro"] = _lists(names, points(micro), micro.thresholds, cost, MOST_POINTS)
            found[kind] = {"classes": self._rows[kind], **averages}
        return found


def thinned(x: np.ndarray, y: np.ndarray, limit: int, cost: Callable[..., np.ndarray]) -> np.ndarray:
    """Chooses the points of a curve that matter most for the area below it.

    The point whose removal changes the area least goes first (Visvalingam and Whyatt 1993).

    Args:
        x: float (n,), not falling.
        y: float (n,).
        limit: int >= 2, the number of points to keep.
        cost: callable (x, y, before, index, after) -> the change of the area without the point at `index`.

    Returns:
        int array (at most limit,), rising, with the first and the last point.
    """
    chosen = np.arange(len(x))
    if len(x) > _PRESELECTED:
        length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        chosen = np.unique(np.searchsorted(length, np.linspace(0, length[-1], _PRESELECTED)).clip(0, len(x) - 1))
    count = len(chosen)
    if count <= limit:
        return chosen
    x, y = x[chosen], y[chosen]
    before, after = np.arange(-1, count - 1).tolist(), np.arange(1, count + 1).tolist()
    inner = np.arange(1, count - 1)
    costs = [0.0, *cost(x, y, inner - 1, inner, inner + 1).tolist(), 0.0]
    x, y = x.tolist(), y.tolist()  # Python's numbers are faster one by one
    heap = [(costs[index], index) for index in inner.tolist()]
    heapq.heapify(heap)
    kept = np.ones(count, bool)
    while count > limit:
        value, index = heapq.heappop(heap)
        if not kept[index] or value != costs[index]:
            continue  # an earlier cost of a point whose neighbour has gone
        kept[index] = False
        count -= 1
        left, right = before[index], after[index]
        after[left], before[right] = right, left
        for neighbour in (left, right):
            if 0 < neighbour < len(x) - 1:
                costs[neighbour] = cost(x, y, before[neighbour], neighbour, after[neighbour])
                heapq.heappush(heap, (costs[neighbour], neighbour))
    return chosen[kept]


def _lists(
    names: tuple[str, str], curve: tuple, thresholds: np.ndarray | None, cost: Callable, limit: int
) -> dict[str, list]:
    x, y = curve
    rows = thinned(x, y, limit, cost)
    lists = {names[0]: _rounded(x[rows]), names[1]: _rounded(y[rows])}
    if thresholds is not None:
        lists["threshold"] = [None, *_rounded(thresholds[rows[1:] - 1])]
    return lists


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]


def _until_full_recall(one: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """A lower threshold than that of full recall only costs precision."""
    recall, precision = one.precision_recall()
    end = int(np.searchsorted(recall, recall[-1])) + 1
    return recall[:end], precision[:end]


def _rates_on_grid(fpr: np.ndarray, tpr: np.ndarray) -> np.ndarray:
    return np.interp(_GRID, fpr, tpr)


def _precisions_on_grid(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return precision[np.maximum(np.searchsorted(recall, _GRID - 1e-12), 1)]


def _triangle(x, y, before, index, after):
    """The area between two segments and the one that replaces them."""
    across = (x[index] - x[before]) * (y[after] - y[before]) - (x[after] - x[before]) * (y[index] - y[before])
    return abs(across) / 2


def _step(x, y, before, index, after):
    """The area between two steps, each as high as its right end, and the one that replaces them."""
    return (x[index] - x[before]) * abs(y[after] - y[index])


_KINDS = {
    "roc": (("fpr", "tpr"), Ranking.roc, _triangle, _rates_on_grid),
    "precision_recall": (("recall", "precision"), _until_full_recall, _step, _precisions_on_grid),
}
