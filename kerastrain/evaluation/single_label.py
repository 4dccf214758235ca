"""Measures of a classifier's predictions, from arrays.

Takes targets and predicted probabilities; returns a dict that can be written as JSON. An undefined number, such as the
recall of a class without examples, is None, never 0 or 1. Must not import TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from kerastrain.errors import InputError

SCORES = ("precision", "recall", "f1", "roc_auc")
_AREAS = ("roc_auc", "average_precision")


def measure(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> dict:
    """Measures predictions against targets.

        precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)
        loss = mean(-log(probability of the true class))
        calibration error = sum over bins of count / n * |accuracy - mean confidence|

    A macro average is the unweighted mean over the classes with examples; a weighted average weighs each class by its
    number of examples. In both, a class that is never predicted has precision 0. ROC AUC is each class against the rest.

    Args:
        targets: integer (n,), the true class of each example, in [0, classes).
        probabilities: float (n, classes) in [0, 1], each row summing to 1.
        labels: sequence of str (classes,), the name of each class.

    Returns:
        dict of "task" ("single_label"), "count", "loss" (nats), "accuracy", "macro" and "weighted" (each with precision,
        recall, f1, roc_auc), "classes" (for each: label, precision, recall, f1, roc_auc, support), "confusion" (one row
        per true class, one column per predicted class) and "calibration" (error, bins). All fractions are in [0, 1];
        undefined numbers are None.

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
    classes = _per_class(targets, predicted, probabilities, labels)
    true_probabilities = probabilities[np.arange(len(targets)), targets]
    return {
        "task": "single_label",
        "count": len(targets),
        "loss": float(-np.log(np.maximum(true_probabilities, np.finfo("float64").tiny)).mean()),
        "accuracy": float((predicted == targets).mean()),
        "macro": average(classes, [float(row["support"] > 0) for row in classes], SCORES),
        "weighted": average(classes, [float(row["support"]) for row in classes], SCORES),
        "classes": classes,
        "confusion": confusion_matrix(targets, predicted, labels=range(len(labels))).tolist(),
        "calibration": _calibration(probabilities.max(axis=1), predicted == targets),
    }


def average(classes: Sequence[Mapping], weights: Sequence[float], scores: Sequence[str]) -> dict:
    """The weighted mean of each score over the classes.

    Classes with an undefined area under a curve are excluded from its mean. Any other undefined score counts as 0, such as
    the precision of a class that is never predicted.

    Args:
        classes: sequence of mappings from the name of a score to its value or None, one per class.
        weights: sequence of float >= 0, the weight of each class.
        scores: sequence of str, names of the scores.

    Returns:
        dict from the name of each score to a float, or None if no class with a positive weight defines it.
    """
    averages = {}
    for score in scores:
        pairs = list(zip((row[score] for row in classes), weights, strict=True))
        if score in _AREAS:
            pairs = [(value, weight) for value, weight in pairs if value is not None]
        total = sum(weight for _, weight in pairs)
        averages[score] = sum((value or 0.0) * weight for value, weight in pairs) / total if total else None
    return averages


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


def _per_class(targets: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> list:
    columns = precision_recall_fscore_support(targets, predicted, labels=range(len(labels)), zero_division=np.nan)
    return [
        {
            "label": str(label),
            "precision": _defined(precision),
            "recall": _defined(recall),
            "f1": _defined(f1),
            "roc_auc": _roc_auc(targets == index, probabilities[:, index]),
            "support": int(support),
        }
        for index, (label, precision, recall, f1, support) in enumerate(zip(labels, *columns, strict=True))
    ]


def _roc_auc(positive: np.ndarray, scores: np.ndarray) -> float | None:
    return float(roc_auc_score(positive, scores)) if positive.any() and not positive.all() else None


def _calibration(confidences: np.ndarray, correct: np.ndarray, bin_count: int = 10) -> dict:
    bins, error = [], 0.0
    indices = np.minimum((confidences * bin_count).astype("int64"), bin_count - 1)
    for index in range(bin_count):
        inside = indices == index
        count = int(inside.sum())
        confidence = float(confidences[inside].mean()) if count else None
        accuracy = float(correct[inside].mean()) if count else None
        error += count / len(correct) * abs(accuracy - confidence) if count else 0.0
        bins.append({"from": index / bin_count, "to": (index + 1) / bin_count, "count": count})
        bins[-1] |= {"confidence": confidence, "accuracy": accuracy}
    return {"error": error, "bins": bins}


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
