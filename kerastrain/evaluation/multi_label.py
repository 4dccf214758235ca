"""Measures of predictions for examples with any number of labels, from arrays.

Takes targets and predicted probabilities; returns a dict that can be written as JSON. An undefined number is None, never 0
or 1. Must not import TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from kerastrain.errors import InputError
from kerastrain.evaluation import calibration, counting, curves, resampling
from kerastrain.evaluation.ranked import Ranked
from kerastrain.evaluation.single_label import SKIPPED, average

SCORES = ("precision", "recall", "specificity", "f1", "matthews", "average_precision", "roc_auc")
THRESHOLD = 0.5


def measure(
    targets: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    with_intervals: bool = True,
    with_rankings: bool = True,
) -> dict:
    """Measures predictions against targets, each label separately at a threshold of 0.5.

        loss = mean over examples and labels of the binary cross-entropy
        accuracy = share of correct binary decisions, over all examples and labels
        exact = share of the examples with all decisions correct
        Brier score = mean over examples and labels of (probability - truth)²
        average precision = sum over thresholds of (recall[t] - recall[t - 1]) · precision[t]

    The scores are as for one label. Average precision and ROC AUC need no threshold; the macro mean of the average precision is
    known as mAP. A macro average is the unweighted mean over the labels that occur; a weighted average weighs each label by its
    number of examples; a micro average is that of all decisions together. `best_threshold` is the threshold with the highest F1
    of the label on this data, so choose it on validation data.

    The intervals hold 95 % of the values in resamples of the examples (see `resampling`).

    Args:
        targets: (n, labels) of 0 and 1.
        probabilities: float (n, labels) in [0, 1], independent per label.
        labels: sequence of str (labels,), the name of each label.
        with_intervals: bool; False leaves "intervals" empty and saves most of the time.
        with_rankings: bool; False leaves "average_precision", "roc_auc", "best_threshold", "best_f1" and "curves" None, which
            saves most of the rest.

    Returns:
        dict of "task" ("multi_label"), "count", "loss" (nats), "accuracy", "exact", "brier", "macro", "weighted" and "micro"
        (each with precision, recall, specificity, f1, matthews, average_precision, roc_auc), "classes" (for each: label, these
        scores, best_threshold, best_f1, support), "calibration" (error, bins; of all decisions together), "intervals" (from
        names such as "accuracy" and "macro.f1" to [low, high]) and "curves" (see `curves.Curves`). All fractions are in
        [0, 1]; undefined numbers are None.

    Raises:
        InputError: the shapes do not match, there is no example, a target is not 0 or 1, or a probability is not finite
            or is outside [0, 1].

    Example:
        >>> measures = measure([[1, 0], [1, 1]], [[0.9, 0.2], [0.8, 0.4]], ["cat", "dog"])
        >>> measures["accuracy"], measures["exact"], measures["macro"]["average_precision"]
        (0.75, 0.5, 1.0)
    """
    targets, probabilities = np.asarray(targets), np.asarray(probabilities, "float64")
    _check(targets, probabilities, labels)
    targets = targets.astype(bool)
    ranked = Ranked(targets, probabilities, labels, is_ranked=with_rankings)
    classes = _per_label(targets, probabilities, ranked, labels)
    examples = _of_examples(targets, probabilities)
    measures = {
        "task": "multi_label",
        "count": len(targets),
        **{name: float(values.mean()) for name, values in examples.items()},
        "macro": average(classes, [float(row["support"] > 0) for row in classes], SCORES),
        "weighted": average(classes, [float(row["support"]) for row in classes], SCORES),
        "micro": _micro(targets, probabilities >= THRESHOLD) | ranked.micro,
        "classes": classes,
        "calibration": calibration.measure(probabilities.ravel(), targets.ravel()),
    }
    measures["intervals"] = {}
    if with_intervals:
        measures["intervals"] = _intervals(targets, probabilities, examples, ranked, measures)
    measures["curves"] = ranked.curves
    return measures


class _Resampled:
    """The measures of resamples of the same predictions, which need not be sorted again."""

    def __init__(self, targets, probabilities, examples):
        predicted = probabilities >= THRESHOLD
        self._calibration = calibration.Resampled(probabilities, targets)
        self._examples = examples
        self._counts = [
            scipy.sparse.csr_matrix(values.T.astype(np.float32)) for values in (targets & predicted, predicted, targets)
        ]

    def decisions(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        means = np.stack(list(self._examples.values())) @ weights / len(weights)
        found = dict(zip(self._examples, means, strict=True))
        correct, predicted, support = (np.asarray(matrix @ weights, np.float64).T for matrix in self._counts)
        for score, values in _scores(correct, predicted, support, len(weights)).items():
            for name, weighing in (("macro", (support > 0).astype(float)), ("weighted", support)):
                found[f"{name}.{score}"] = counting.averaged(values, weighing, skips_undefined=score in SKIPPED)
        pooled = (values.sum(axis=-1) for values in (correct, predicted, support))
        micro = _scores(*pooled, len(weights) * correct.shape[-1])
        found["calibration.error"] = self._calibration.errors(weights)
        return found | {f"micro.{score}": values for score, values in micro.items()}


def _intervals(targets, probabilities, examples, ranked: Ranked, measures: Mapping) -> dict[str, list[float]]:
    estimates = {name: value for name, value in measures.items() if isinstance(value, float)}
    for name in ("macro", "weighted", "micro"):
        estimates |= {f"{name}.{score}": value for score, value in measures[name].items()}
    estimates["calibration.error"] = measures["calibration"]["error"]
    resampled, strata = _Resampled(targets, probabilities, examples), np.zeros(len(targets), np.int64)
    found = resampling.intervals(strata, resampled.decisions, estimates, resampling.rounds(len(targets)))
    return found | resampling.intervals(strata, ranked.resampled, estimates, ranked.rounds)


def _of_examples(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The measures that are means over examples: float (n,) each."""
    right = (probabilities >= THRESHOLD) == targets
    true = np.maximum(np.where(targets, probabilities, 1 - probabilities), np.finfo("float64").tiny)
    return {
        "loss": -np.log(true).mean(axis=1),
        "accuracy": right.mean(axis=1),
        "exact": right.all(axis=1).astype(np.float64),
        "brier": np.square(probabilities - targets).mean(axis=1),
    }


def _scores(correct: np.ndarray, predicted: np.ndarray, support: np.ndarray, count: int) -> dict[str, np.ndarray]:
    sides = [np.stack([values, count - values], axis=-1) for values in (predicted, support)]
    right = 2 * correct + count - predicted - support  # true positives and true negatives
    matthews = counting.agreement(right, *sides)["matthews"]
    return counting.per_class(correct, predicted, support, count) | {"matthews": matthews}


def _micro(targets: np.ndarray, predicted: np.ndarray) -> dict:
    counts = (np.float64(values.sum()) for values in (targets & predicted, predicted, targets))
    return {name: counting.defined(value) for name, value in _scores(*counts, targets.size).items()}


def _per_label(targets: np.ndarray, probabilities: np.ndarray, ranked: Ranked, labels: Sequence[str]) -> list[dict]:
    predicted = probabilities >= THRESHOLD
    counts = [values.sum(axis=0).astype(np.float64) for values in (targets & predicted, predicted, targets)]
    scores = _scores(*counts, len(targets))
    rows = []
    for index, label in enumerate(labels):
        occurs = counts[2][index] > 0
        best_threshold, best_f1 = (
            _best(targets[:, index], probabilities[:, index]) if occurs and ranked.curves is not None else (None, None)
        )
        rows.append(
            {
                "label": str(label),
                **{name: counting.defined(values[index]) for name, values in scores.items()},
                "average_precision": ranked.average_precision[index],
                "roc_auc": ranked.roc_auc[index],
                "best_threshold": best_threshold,
                "best_f1": best_f1,
                "support": int(counts[2][index]),
            }
        )
    return rows


def _best(targets: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    one = curves.ranking(targets, probabilities)
    f1 = 2 * one.true_positives / (one.true_positives + one.false_positives + one.true_positives[-1])
    # Of equally good thresholds the lowest, as in scikit-learn's curve.
    best = len(f1) - 1 - int(f1[::-1].argmax())
    return float(one.thresholds[best]), float(f1[best])


def _check(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> None:
    if targets.ndim != 2 or not len(targets) or probabilities.shape != targets.shape or targets.shape[1] != len(labels):
        raise InputError(
            "`targets` and `probabilities` must be (n, labels) and `labels` (labels,), with n >= 1. "
            f"Received: {targets.shape}, {probabilities.shape} and ({len(labels)},). Take all three from one dataset."
        )
    if not np.isin(targets, (0, 1)).all():
        raise InputError("`targets` must be 0 or 1 for each label. Received: other numbers. Pass multi-hot targets.")
    broken = ~np.isfinite(probabilities).all(axis=1)
    if broken.any():
        raise InputError(
            f"`probabilities` must be finite. Received: NaN or infinity in {broken.sum()} of {len(targets)} rows. "
            "The model has diverged; train it again with a lower learning rate."
        )
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise InputError(
            "`probabilities` must be in [0, 1]. "
            f"Received: values from {probabilities.min():.3g} to {probabilities.max():.3g}. Apply a sigmoid first."
        )
