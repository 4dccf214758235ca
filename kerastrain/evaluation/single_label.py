"""The measures of a classifier's predictions, from plain arrays.

Takes true labels and predicted probabilities; gives one dict that JSON can say. Where a number is undefined, such as
the recall of a class without examples, it is None and never a silent 0 or 1. Must not import TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from kerastrain.errors import InputError

SCORES = ("precision", "recall", "f1", "roc_auc")
_AREAS = ("roc_auc", "average_precision")


def measure(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> dict:
    """Measures predictions against the truth.

        precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)
        loss = mean(-log(probability of the true class))
        calibration error = sum over bins of count / n * |accuracy - mean confidence|

    A macro average is the plain mean over the classes that have examples, a weighted one weighs each with its examples;
    in both, a class that was never predicted has precision 0. ROC AUC is each class against the rest.

    Args:
        labels: integer (n,), the true class of each example, in [0, classes).
        probabilities: float (n, classes) in [0, 1], each row summing to 1.
        names: sequence of str (classes,), the name of each class.

    Returns:
        dict of "task" ("single_label"), "count", "loss" (nats), "accuracy", "macro" and "weighted" (each with precision,
        recall, f1, roc_auc), "classes" (for each: label, precision, recall, f1, roc_auc, support), "confusion" (a row for
        each true class, a column for each predicted class) and "calibration" (error, bins). All fractions lie in [0, 1];
        what is undefined is None.

    Raises:
        InputError: the shapes do not fit each other, there is no example, a label is out of range, or a row of
            `probabilities` is not finite or no distribution.

    Example:
        >>> measures = measure([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["cat", "dog"])
        >>> measures["confusion"]
        [[1, 0], [1, 1]]
        >>> round(measures["accuracy"], 4)
        0.6667

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3, for the calibration error.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, "float64")
    _check(labels, probabilities, names)
    predicted = probabilities.argmax(axis=1)
    classes = _per_class(labels, predicted, probabilities, names)
    true_probabilities = probabilities[np.arange(len(labels)), labels]
    return {
        "task": "single_label",
        "count": len(labels),
        "loss": float(-np.log(np.maximum(true_probabilities, np.finfo("float64").tiny)).mean()),
        "accuracy": float((predicted == labels).mean()),
        "macro": average(classes, [float(row["support"] > 0) for row in classes], SCORES),
        "weighted": average(classes, [float(row["support"]) for row in classes], SCORES),
        "classes": classes,
        "confusion": confusion_matrix(labels, predicted, labels=range(len(names))).tolist(),
        "calibration": _calibration(probabilities.max(axis=1), predicted == labels),
    }


def average(classes: Sequence[Mapping], weights: Sequence[float], scores: Sequence[str]) -> dict:
    """The weighted mean of each score over the classes, None where it is undefined for all.

    An area under a curve that is undefined is left out; another score is 0 then, as of a class that was never predicted.

    Args:
        classes: the rows of the classes.
        weights: float >= 0 for each of them.
        scores: names of the scores.
    """
    averages = {}
    for score in scores:
        pairs = list(zip((row[score] for row in classes), weights, strict=True))
        if score in _AREAS:
            pairs = [(value, weight) for value, weight in pairs if value is not None]
        total = sum(weight for _, weight in pairs)
        averages[score] = sum((value or 0.0) * weight for value, weight in pairs) / total if total else None
    return averages


def _check(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> None:
    if labels.ndim != 1 or not len(labels) or probabilities.shape != (len(labels), len(names)) or len(names) < 2:
        raise InputError(
            "`labels` must be (n,), `probabilities` (n, classes) and `names` (classes,), with n >= 1 and classes >= 2. "
            f"Received: {labels.shape}, {probabilities.shape} and ({len(names)},). Take all three from one data set."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= len(names):
        raise InputError(
            f"`labels` must be integers from 0 to {len(names) - 1}. Received: {labels.dtype} from {labels.min()} to "
            f"{labels.max()}. Evaluate on data with the classes that the model was trained on."
        )
    broken = ~np.isfinite(probabilities).all(axis=1)
    if broken.any():
        raise InputError(
            f"`probabilities` must be finite. Received: NaN or infinity in {broken.sum()} of {len(labels)} rows. "
            "The model has diverged; train it again with a lower learning rate."
        )
    if probabilities.min() < 0 or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise InputError(
            "each row of `probabilities` must be >= 0 and sum to 1. "
            f"Received: values from {probabilities.min():.3g} to {probabilities.max():.3g}. Apply a softmax first."
        )


def _per_class(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> list:
    columns = precision_recall_fscore_support(labels, predicted, labels=range(len(names)), zero_division=np.nan)
    return [
        {
            "label": str(name),
            "precision": _defined(precision),
            "recall": _defined(recall),
            "f1": _defined(f1),
            "roc_auc": _roc_auc(labels == index, probabilities[:, index]),
            "support": int(support),
        }
        for index, (name, precision, recall, f1, support) in enumerate(zip(names, *columns, strict=True))
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
