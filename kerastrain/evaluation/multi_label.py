"""The measures of predictions where an example may have any number of labels, from plain arrays.

Takes true labels and predicted probabilities; gives one dict that JSON can say. Where a number is undefined it is None
and never a silent 0 or 1. Must not import TensorFlow.
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


def measure(truth: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> dict:
    """Measures predictions against the truth, each label by itself at the threshold of 0.5.

        loss = mean over examples and labels of -log(probability of what is true)
        accuracy = share of the answers, yes or no to each label, that are right
        exact = share of the examples of which every answer is right
        average precision = sum over thresholds of (recall[t] - recall[t - 1]) · precision[t]

    Precision, recall and F1 are as for one label; average precision and ROC AUC need no threshold, and the macro mean of
    the first is known as mAP. A macro average is the plain mean over the labels that occur, a weighted one weighs each
    with its examples. `best_threshold` is where the label's F1 is highest on this very data: choose it on validation data.

    Args:
        truth: (n, labels) of 0 and 1.
        probabilities: float (n, labels) in [0, 1], each label for itself.
        names: sequence of str (labels,), the name of each label.

    Returns:
        dict of "task" ("multi_label"), "count", "loss" (nats), "accuracy", "exact", "macro" and "weighted" (each with
        precision, recall, f1, average_precision, roc_auc), and "classes" (for each: label, these scores,
        best_threshold, best_f1, support). All fractions lie in [0, 1]; what is undefined is None.

    Raises:
        InputError: the shapes do not fit each other, there is no example, the truth is not 0 or 1, or a probability is
            not finite or lies outside [0, 1].

    Example:
        >>> measures = measure([[1, 0], [1, 1]], [[0.9, 0.2], [0.8, 0.4]], ["cat", "dog"])
        >>> measures["accuracy"], measures["exact"], measures["macro"]["average_precision"]
        (0.75, 0.5, 1.0)
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, "float64")
    _check(truth, probabilities, names)
    truth = truth.astype(bool)
    answers = probabilities >= THRESHOLD
    classes = [_label(str(name), truth[:, index], probabilities[:, index]) for index, name in enumerate(names)]
    true_probabilities = np.where(truth, probabilities, 1 - probabilities)
    return {
        "task": "multi_label",
        "count": len(truth),
        "loss": float(-np.log(np.maximum(true_probabilities, np.finfo("float64").tiny)).mean()),
        "accuracy": float((answers == truth).mean()),
        "exact": float((answers == truth).all(axis=1).mean()),
        "macro": average(classes, [float(row["support"] > 0) for row in classes], SCORES),
        "weighted": average(classes, [float(row["support"]) for row in classes], SCORES),
        "classes": classes,
    }


def _label(name: str, truth: np.ndarray, probabilities: np.ndarray) -> dict:
    scores = precision_recall_fscore_support(truth, probabilities >= THRESHOLD, average="binary", zero_division=np.nan)
    precision, recall, f1 = (None if np.isnan(score) else float(score) for score in scores[:3])
    occurs = bool(truth.any())
    best_threshold, best_f1 = _best(truth, probabilities) if occurs else (None, None)
    return {
        "label": name,
        "precision": precision,
        "recall": recall if occurs else None,
        "f1": f1,
        "average_precision": float(average_precision_score(truth, probabilities)) if occurs else None,
        "roc_auc": float(roc_auc_score(truth, probabilities)) if occurs and not truth.all() else None,
        "best_threshold": best_threshold,
        "best_f1": best_f1,
        "support": int(truth.sum()),
    }


def _best(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    precision, recall, thresholds = precision_recall_curve(truth, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo("float64").tiny)
    best = int(f1[:-1].argmax())
    return float(thresholds[best]), float(f1[best])


def _check(truth: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> None:
    if truth.ndim != 2 or not len(truth) or probabilities.shape != truth.shape or truth.shape[1] != len(names):
        raise InputError(
            "`truth` and `probabilities` must be (n, labels) and `names` (labels,), with n >= 1. "
            f"Received: {truth.shape}, {probabilities.shape} and ({len(names)},). Take all three from one data set."
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("`truth` must be 0 or 1 for each label. Received: other numbers. Give many-hot labels.")
    broken = ~np.isfinite(probabilities).all(axis=1)
    if broken.any():
        raise InputError(
            f"`probabilities` must be finite. Received: NaN or infinity in {broken.sum()} of {len(truth)} rows. "
            "The model has diverged; train it again with a lower learning rate."
        )
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise InputError(
            "`probabilities` must lie in [0, 1]. "
            f"Received: values from {probabilities.min():.3g} to {probabilities.max():.3g}. Apply a sigmoid first."
        )
