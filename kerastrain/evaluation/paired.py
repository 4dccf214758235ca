"""Compares models on the same examples: paired differences with bootstrap intervals, and McNemar's exact test.

Takes `Predictions` whose rows are about the same examples, as from `matching.aligned`; returns numbers. Every measure here is a
function of sums over the examples, so that all resamples are a product of matrices. Must not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from kerastrain.evaluation import resampling
from kerastrain.evaluation.predictions import Predictions

ROUNDS = 2000
"""The number of bootstrap resamples."""

FEWEST_EXAMPLES = 20
"""With fewer examples, no models are told apart: a bootstrap of so few is too narrow."""

LOWER_IS_BETTER = ("loss", "mae", "rmse")

_FEWEST_ROUNDS = 200
_DRAWS = 100_000_000  # of examples in all resamples together
_TINY = np.finfo("float64").tiny


@dataclass(frozen=True)
class Difference:
    """How a measure of one model differs from that of another on the same examples.

    Args:
        name: str, the measure, such as "macro.f1".
        first: float, the measure of the first model; NaN if it is undefined.
        second: float, that of the other model.
        low: float, the lower limit of the 95 % interval of `second - first`.
        high: float, the upper limit.
        label: str, the class or number that it is about; None for all of them.
        is_sure: bool, False if there are too few examples, or a test disagrees with the interval.
    """

    name: str
    first: float
    second: float
    low: float
    high: float
    label: str | None = None
    is_sure: bool = True

    @property
    def difference(self) -> float:
        """`second - first`."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """What the interval says about the second model: "better", "worse", or "not told apart"."""
        if not self.is_sure or not (self.low > 0 or self.high < 0):  # also of NaN
            return "not told apart"
        return "better" if (self.low > 0) != (self.name in LOWER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test: whether two models are wrong equally often.

    Args:
        only_first: int, examples that only the first model has right.
        only_second: int, examples that only the second model has right.
        p: float, the two-sided p-value of the binomial test of these counts; 1 if both are 0.
    """

    only_first: int
    only_second: int
    p: float


def differences(runs: Sequence[Predictions], *, rounds: int | None = None, seed: int = 0) -> list[list[Difference]]:
    """Compares each model with the first one, by a paired bootstrap.

    All models are measured on the same resamples of the examples, so that what makes an example hard cancels out of their
    difference.

    Args:
        runs: sequence of at least two Predictions, row by row about the same examples, with the same labels.
        rounds: int > 0, the number of resamples; None for `ROUNDS`, or fewer of more than 50,000 examples.
        seed: int, of the resamples.

    Returns:
        list with a list of Difference for each model after the first: of all examples, then F1 (for "regression" the mean
        absolute error) of each label.

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

    Example:
        >>> truth = np.array([0, 0, 1, 1] * 5)
        >>> right = Predictions(truth, np.eye(2)[truth], ("cat", "dog"), "single_label")
        >>> wrong = Predictions(truth, np.eye(2)[1 - truth], ("cat", "dog"), "single_label")
        >>> accuracy = differences([right, wrong])[0][0]
        >>> accuracy.name, accuracy.difference, accuracy.low, accuracy.high, accuracy.verdict
        ('accuracy', -1.0, -1.0, -1.0, 'worse')
    """
    rounds = max(_FEWEST_ROUNDS, min(ROUNDS, _DRAWS // len(runs[0]))) if rounds is None else rounds
    columns = [_columns(run) for run in runs]
    measured = [_measures(runs[0], np.asarray(each.sum(axis=0)).reshape(1, -1)) for each in columns]
    names = list(measured[0])
    resampled = [{name: [] for name in names} for _ in runs[1:]]
    for counts in resampling.resamples(np.zeros(len(runs[0]), np.int64), rounds, seed=seed):
        first, *others = (_measures(runs[0], (each.T @ counts).T) for each in columns)
        for rows, other in zip(resampled, others, strict=True):
            for name in names:
                rows[name].append(other[name] - first[name])
    result = []
    for rows, other in zip(resampled, measured[1:], strict=True):
        result.append([])
        for name in names:
            values = np.concatenate(rows[name])
            values = values[~np.isnan(values)]
            low, high = np.percentile(values, (2.5, 97.5)) if len(values) else (np.nan, np.nan)
            measure, label = name
            pair = float(measured[0][name][0]), float(other[name][0])
            is_sure = len(runs[0]) >= FEWEST_EXAMPLES
            result[-1].append(Difference(measure, *pair, float(low), float(high), label, is_sure))
    return result


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> McNemar:
    """McNemar's exact test of two models on the same examples.

    Only the examples that one of them has right count: if both are equally good, each of these is a fair coin.

    Args:
        first_right: bool (n,), whether the first model has each example right.
        second_right: bool (n,), the same of the second model.

    Returns:
        McNemar.

    Reference: McNemar 1947, https://doi.org/10.1007/BF02295996; the exact form is a binomial test.

    Example:
        >>> mcnemar(np.array([1, 1, 1, 1, 1, 1, 0]) > 0, np.array([0, 0, 0, 0, 0, 0, 0]) > 0)
        McNemar(only_first=6, only_second=0, p=0.03125)
    """
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    count = only_first + only_second
    p = float(scipy.stats.binomtest(only_first, count).pvalue) if count else 1.0
    return McNemar(only_first, only_second, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects the p-values of several tests, so that the chance of any false finding stays that of one test.

        p(i) = max over j <= i of min(1, (m - j + 1) p(j)), of the m values in ascending order

    Args:
        p_values: sequence of m floats in [0, 1].

    Returns:
        list of m floats in [0, 1], in the same order.

    Reference: Holm 1979, https://www.jstor.org/stable/4615733

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected, largest = np.zeros(len(p_values)), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected.tolist()


def right(run: Predictions) -> np.ndarray | None:
    """Which examples a model has right: the class, or of many labels all of them.

    Args:
        run: Predictions of n examples.

    Returns:
        bool (n,); None for "regression".
    """
    if run.task == "regression":
        return None
    if run.task == "single_label":
        return run.outputs.argmax(axis=1) == run.targets
    return decisions_right(run).all(axis=1)


def decisions_right(run: Predictions) -> np.ndarray:
    """Which decisions about each class or label a model has right: whether an example has it, against all others.

    Args:
        run: Predictions of n examples, not for "regression".

    Returns:
        bool (n, labels).
    """
    if run.task == "multi_label":
        return _decisions(run) == (run.targets > 0.5)
    classes = np.arange(len(run.labels))
    return (run.outputs.argmax(axis=1)[:, np.newaxis] == classes) == (run.targets[:, np.newaxis] == classes)


def _decisions(run: Predictions) -> np.ndarray:
    return run.outputs >= 0  # a logit of 0 is a probability of 0.5


def _columns(run: Predictions) -> scipy.sparse.csr_matrix:
    """What each example adds to the sums that `_measures` takes: (n, sums)."""
    count = len(run)
    ones = np.ones((count, 1))
    if run.task == "regression":
        targets = run.targets.astype("float64") - run.targets.mean(axis=0, dtype="float64")  # for the sums of squares
        errors = run.outputs.astype("float64") - run.targets
        return scipy.sparse.csr_matrix(np.hstack([ones, np.abs(errors), errors**2, targets, targets**2]))
    probabilities = run.probabilities
    if run.task == "multi_label":
        truth, decisions = run.targets > 0.5, _decisions(run)
        loss = -np.log(np.maximum(np.where(truth, probabilities, 1 - probabilities), _TINY)).mean(axis=1)
        correct = (truth == decisions).mean(axis=1)
        exact = right(run)
        extra = np.stack([loss, correct, exact], axis=1)
        return scipy.sparse.csr_matrix(np.hstack([ones, extra, truth & decisions, decisions, truth]))
    loss = -np.log(np.maximum(probabilities[np.arange(count), run.targets], _TINY))
    predicted = run.outputs.argmax(axis=1)
    size = (count, len(run.labels))
    one_hot = lambda classes, values: scipy.sparse.csr_matrix((values, (np.arange(count), classes)), shape=size)
    every = np.ones(count)
    extra = scipy.sparse.csr_matrix(np.hstack([ones, loss[:, np.newaxis]]))
    true_positives = one_hot(predicted, (predicted == run.targets).astype("float64"))
    return scipy.sparse.hstack([extra, true_positives, one_hot(predicted, every), one_hot(run.targets, every)]).tocsr()


def _measures(run: Predictions, sums: np.ndarray) -> dict[tuple[str, str | None], np.ndarray]:
    """Measures (rounds,) by (name, label), from the sums (rounds, sums) over the examples."""
    width = len(run.labels)
    if run.task == "regression":
        count = sums[:, :1]
        absolute, square, target, target_square = (sums[:, 1 + width * i : 1 + width * (i + 1)] for i in range(4))
        spread = target_square - target**2 / count
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(spread > 1e-12 * target_square.clip(_TINY), 1 - square / spread, np.nan)
        mae, rmse = absolute / count, np.sqrt(square / count)
        measures = {("r2", None): _mean(r2)}
        if width == 1:
            return measures | {("mae", None): mae[:, 0], ("rmse", None): rmse[:, 0]}
        return measures | {("mae", label): mae[:, index] for index, label in enumerate(run.labels)}
    extra = sums[:, : 4 if run.task == "multi_label" else 2]
    positives, predicted, support = (
        sums[:, extra.shape[1] + width * i : extra.shape[1] + width * (i + 1)] for i in range(3)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = np.where(support > 0, 2 * positives / (predicted + support), np.nan)
        recall = np.where(support > 0, positives / support, np.nan)
    if run.task == "multi_label":
        named = {"accuracy": extra[:, 2] / extra[:, 0], "exact": extra[:, 3] / extra[:, 0]}
    else:
        named = {"accuracy": positives.sum(axis=1) / extra[:, 0], "balanced_accuracy": _mean(recall)}
    named |= {"macro.f1": _mean(f1), "loss": extra[:, 1] / extra[:, 0]}
    of_all = {(name, None): values for name, values in named.items()}
    return of_all | {("f1", label): f1[:, index] for index, label in enumerate(run.labels)}


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of each row over what is defined in it; NaN if nothing is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=1) / defined.sum(axis=1)
