"""Measures of a classifier's predictions, from arrays.

Takes targets and predicted probabilities; returns a dict that can be written as JSON. An undefined number, such as the
recall of a class without examples, is None, never 0 or 1. Must not import TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from kerastrain.errors import InputError
from kerastrain.evaluation import calibration, counting, intervals, resampling
from kerastrain.evaluation.ranked import Ranked

SCORES = ("precision", "recall", "specificity", "f1", "average_precision", "roc_auc")
TOP = (3, 5)
SKIPPED = ("specificity", "matthews", "average_precision", "roc_auc")
"""Scores that an average leaves out where they are undefined."""


def measure(
    targets: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    with_intervals: bool = True,
    with_rankings: bool = True,
) -> dict:
    """Measures predictions against targets.

        precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)
        specificity = TN / (TN + FP)    balanced accuracy = mean recall of the classes
        loss = mean(-log(probability of the true class)), also known as log loss
        Brier score = mean over examples of sum over classes of (probability - truth)²; with two classes half of that
        average precision = sum over thresholds of (recall[t] - recall[t - 1]) · precision[t]
        calibration error = sum over bins of count / n * |accuracy - mean confidence|

    Each class is measured against the rest. A macro average is the unweighted mean over the classes with examples; a weighted
    average weighs each class by its number of examples; a micro average is that of all decisions about all classes together. A
    class that is never predicted has precision 0 in the averages. Cohen's kappa and Matthews' coefficient are as in
    `counting.agreement`.

    The intervals hold 95 % of the values in resamples of the same number of examples of each class (see `resampling`). After
    no mistake, or only mistakes, no resample differs; then accuracy and top-k have Wilson's interval and the others none.

    Args:
        targets: integer (n,), the true class of each example, in [0, classes).
        probabilities: float (n, classes) in [0, 1], each row summing to 1.
        labels: sequence of str (classes,), the name of each class.
        with_intervals: bool; False leaves "intervals" empty and saves most of the time.
        with_rankings: bool; False leaves "average_precision", "roc_auc" and "curves" None, which saves most of the rest.

    Returns:
        dict of "task" ("single_label"), "count", "loss" (nats), "accuracy", "balanced_accuracy", "top_3" and "top_5" (the
        share of examples whose class is among the 3 or 5 most probable, with more classes than that), "brier", "kappa",
        "matthews", "macro", "weighted" and "micro" (each with precision, recall, specificity, f1, average_precision, roc_auc),
        "classes" (for each: label, these scores, support), "confusion" (one row per true class, one column per predicted
        class), "calibration" (error, bins), "intervals" (from names such as "accuracy" and "macro.f1" to [low, high]) and
        "curves" (see `curves.Curves`). All fractions are in [0, 1]; undefined numbers are None.

    Raises:
        InputError: the shapes do not match, there is no example, a target is out of range, or a row of `probabilities`
            is not finite or not a distribution.

    Example:
        >>> measures = measure([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["cat", "dog"])
        >>> measures["confusion"]
        [[1, 0], [1, 1]]
        >>> round(measures["accuracy"], 4)
        0.6667

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3, for the calibration error.
    """
    targets, probabilities = np.asarray(targets), np.asarray(probabilities, "float64")
    _check(targets, probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    support = np.bincount(targets, minlength=len(labels))
    ranked = Ranked(targets[:, np.newaxis] == np.arange(len(labels)), probabilities, labels, is_ranked=with_rankings)
    classes = _per_class(targets, predicted, ranked, labels)
    examples = _of_examples(targets, probabilities, predicted)
    correct = float((predicted == targets).sum())
    agreement = counting.agreement(
        correct, np.bincount(predicted, minlength=len(labels)).astype(float), support.astype(float)
    )
    averages = {
        "macro": average(classes, [float(row["support"] > 0) for row in classes], SCORES),
        "weighted": average(classes, [float(row["support"]) for row in classes], SCORES),
        "micro": _micro(correct / len(targets), len(labels)) | ranked.micro,
    }
    measures = {
        "task": "single_label",
        "count": len(targets),
        **{name: float(values.mean()) for name, values in examples.items()},
        "balanced_accuracy": averages["macro"]["recall"],
        **{name: counting.defined(value) for name, value in agreement.items()},
        **averages,
        "classes": classes,
        "confusion": _confusion(targets, predicted, len(labels)).tolist(),
        "calibration": calibration.measure(probabilities.max(axis=1), predicted == targets),
    }
    measures["intervals"] = {}
    if with_intervals:
        resampled = _Resampled(targets, probabilities, predicted, examples)
        measures["intervals"] = _intervals(resampled, ranked, targets, measures)
    measures["curves"] = ranked.curves
    return measures


def average(classes: Sequence[Mapping], weights: Sequence[float], scores: Sequence[str]) -> dict:
    """The weighted mean of each score over the classes.

    Classes with an undefined area under a curve or specificity are excluded from its mean. Any other undefined score counts as
    0, such as the precision of a class that is never predicted.

    Args:
        classes: sequence of mappings from the name of a score to its value or None, one per class.
        weights: sequence of float >= 0, the weight of each class.
        scores: sequence of str, names of the scores.

    Returns:
        dict from the name of each score to a float, or None if no class with a positive weight defines it.
    """
    weights, averages = np.array(weights, np.float64), {}
    for score in scores:
        values = np.array([np.nan if row[score] is None else row[score] for row in classes])
        averages[score] = counting.defined(counting.averaged(values, weights, skips_undefined=score in SKIPPED))
    return averages


class _Resampled:
    """The measures of resamples of the same predictions, which need not be predicted or sorted again."""

    def __init__(self, targets, probabilities, predicted, examples):
        count, self._classes = probabilities.shape
        self._support = np.bincount(targets, minlength=self._classes).astype(float)
        self._examples = examples
        rows = np.arange(count)
        ones = np.ones(count, np.float32)
        shape = (self._classes, count)
        self._predicted = scipy.sparse.csr_matrix((ones, (predicted, rows)), shape)
        self._correct = scipy.sparse.csr_matrix(((predicted == targets).astype(np.float32), (targets, rows)), shape)
        self._calibration = calibration.Resampled(probabilities.max(axis=1), predicted == targets)

    def decisions(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        count, support = len(weights), self._support
        found = dict(zip(self._examples, np.stack(list(self._examples.values())) @ weights / count, strict=True))
        correct, predicted = (np.asarray(matrix @ weights, np.float64).T for matrix in (self._correct, self._predicted))
        found |= counting.agreement(correct.sum(axis=-1), predicted, support)
        for score, values in counting.per_class(correct, predicted, support, count).items():
            for name, weighing in (("macro", (support > 0).astype(float)), ("weighted", support)):
                found[f"{name}.{score}"] = counting.averaged(values, weighing, skips_undefined=score in SKIPPED)
        found["balanced_accuracy"] = found["macro.recall"]
        found["calibration.error"] = self._calibration.errors(weights)
        return found


def _confusion(targets: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """How many examples of each class (rows) were predicted as each class (columns)."""
    return np.bincount(targets * count + predicted, minlength=count * count).reshape(count, count)


def _intervals(resampled: _Resampled, ranked: Ranked, targets: np.ndarray, measures: Mapping) -> dict[str, list[float]]:
    estimates = {name: value for name, value in measures.items() if isinstance(value, float)}
    estimates |= {f"{name}.{score}": value for name in ("macro", "weighted") for score, value in measures[name].items()}
    estimates["calibration.error"] = measures["calibration"]["error"]
    count = len(targets)
    found = resampling.intervals(targets, resampled.decisions, estimates, resampling.rounds(count))
    found |= resampling.intervals(targets, ranked.resampled, estimates, ranked.rounds)
    for name in ("accuracy", *(f"top_{k}" for k in TOP)):
        if name in measures and name not in found:
            found[name] = list(intervals.wilson(round(measures[name] * count), count))
    return found


def _of_examples(targets: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The measures that are means over examples: float (n,) each."""
    class_count = probabilities.shape[1]
    true = probabilities[np.arange(len(targets)), targets]
    squares = np.square(probabilities).sum(axis=1) - 2 * true + 1
    found = {
        "loss": -np.log(np.maximum(true, np.finfo("float64").tiny)),
        "accuracy": (predicted == targets).astype(np.float64),
        "brier": squares / 2 if class_count == 2 else squares,
    }
    # Of equal probabilities the first counts as higher, as in `argmax`.
    above = (probabilities > true[:, np.newaxis]).sum(axis=1)
    tied = (probabilities == true[:, np.newaxis]) & (np.arange(class_count) < targets[:, np.newaxis])
    rank = above + tied.sum(axis=1)
    return found | {f"top_{k}": (rank < k).astype(np.float64) for k in TOP if class_count > k}


def _micro(accuracy: float, class_count: int) -> dict:
    """Of one class per example, each mistake is a false positive and a false negative."""
    specificity = 1 - (1 - accuracy) / (class_count - 1)
    return {"precision": accuracy, "recall": accuracy, "specificity": specificity, "f1": accuracy}


def _check(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> None:
    if targets.ndim != 1 or not len(targets) or probabilities.shape != (len(targets), len(labels)) or len(labels) < 2:
        raise InputError(
            "`targets` must be (n,), `probabilities` (n, classes) and `labels` (classes,), with n >= 1 and classes >= 2. "
            f"Received: {targets.shape}, {probabilities.shape} and ({len(labels)},). Take all three from one dataset."
        )
    if not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0 or targets.max() >= len(labels):
        raise InputError(
            f"`targets` must be integers from 0 to {len(labels) - 1}. Received: {targets.dtype} from {targets.min()} to "
            f"{targets.max()}. Evaluate on data with the classes that the model was trained on."
        )
    broken = ~np.isfinite(probabilities).all(axis=1)
    if broken.any():
        raise InputError(
            f"`probabilities` must be finite. Received: NaN or infinity in {broken.sum()} of {len(targets)} rows. "
            "The model has diverged; train it again with a lower learning rate."
        )
    if probabilities.min() < 0 or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise InputError(
            "each row of `probabilities` must be >= 0 and sum to 1. "
            f"Received: values from {probabilities.min():.3g} to {probabilities.max():.3g}. Apply a softmax first."
        )


def _per_class(targets: np.ndarray, predicted: np.ndarray, ranked: Ranked, labels: Sequence[str]) -> list:
    size = len(labels)
    support, chosen = np.bincount(targets, minlength=size), np.bincount(predicted, minlength=size)
    correct = np.bincount(targets[predicted == targets], minlength=size)
    scores = counting.per_class(correct, chosen, support, len(targets))
    return [
        {
            "label": str(label),
            **{name: counting.defined(values[index]) for name, values in scores.items()},
            "average_precision": ranked.average_precision[index],
            "roc_auc": ranked.roc_auc[index],
            "support": int(support[index]),
        }
        for index, label in enumerate(labels)
    ]
