"""Measures of predictions for examples with any number of labels, from arrays.

Takes targets and predicted probabilities; returns a dict that can be written as JSON. An undefined number is None, never 0
or 1. Must not import TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from kerastrain.errors import InputError
from kerastrain.evaluation.single_label import average

SCORES = ("precision", "recall", "f1", "average_precision", "roc_auc")
THRESHOLD = 0.5


def measure(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> dict:
    """Measures predictions against targets, each label separately at a threshold of 0.5.

        loss = mean over examples and labels of the binary cross-entropy
        accuracy = share of correct binary decisions, over all examples and labels
        exact = share of the examples with all decisions correct
        average precision = sum over thresholds of (recall[t] - recall[t - 1]) · precision[t]

    Precision, recall and F1 are as for one label. Average precision and ROC AUC need no threshold; the macro mean of the
    average precision is known as mAP. A macro average is the unweighted mean over the labels that occur; a weighted average
    weighs each label by its number of examples. `best_threshold` is the threshold with the highest F1 of the label on this
    data, so choose it on validation data.

    Args:
        targets: (n, labels) of 0 and 1.
        probabilities: float (n, labels) in [0, 1], independent per label.
        labels: sequence of str (labels,), the name of each label.

    Returns:
        dict of "task" ("multi_label"), "count", "loss" (nats), "accuracy", "exact", "macro" and "weighted" (each with
        precision, recall, f1, average_precision, roc_auc), and "classes" (for each: label, these scores,
        best_threshold, best_f1, support). All fractions are in [0, 1]; undefined numbers are None.

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
    predicted = probabilities >= THRESHOLD
    classes = [_label(str(label), targets[:, index], probabilities[:, index]) for index, label in enumerate(labels)]
    true_probabilities = np.where(targets, probabilities, 1 - probabilities)
    return {
        "task": "multi_label",
        "count": len(targets),
        "loss": float(-np.log(np.maximum(true_probabilities, np.finfo("float64").tiny)).mean()),
        "accuracy": float((predicted == targets).mean()),
        "exact": float((predicted == targets).all(axis=1).mean()),
        "macro": average(classes, [float(row["support"] > 0) for row in classes], SCORES),
        "weighted": average(classes, [float(row["support"]) for row in classes], SCORES),
        "classes": classes,
    }


def _label(label: str, targets: np.ndarray, probabilities: np.ndarray) -> dict:
    scores = precision_recall_fscore_support(
        targets, probabilities >= THRESHOLD, average="binary", zero_division=np.nan
    )
    precision, recall, f1 = (None if np.isnan(score) else float(score) for score in scores[:3])
    occurs = bool(targets.any())
    best_threshold, best_f1 = _best(targets, probabilities) if occurs else (None, None)
    return {
        "label": label,
        "precision": precision,
        "recall": recall if occurs else None,
        "f1": f1,
        "average_precision": float(average_precision_score(targets, probabilities)) if occurs else None,
        "roc_auc": float(roc_auc_score(targets, probabilities)) if occurs and not targets.all() else None,
        "best_threshold": best_threshold,
        "best_f1": best_f1,
        "support": int(targets.sum()),
    }


def _best(targets: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    precision, recall, thresholds = precision_recall_curve(targets, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo("float64").tiny)
    best = int(f1[:-1].argmax())
    return float(thresholds[best]), float(f1[best])


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
