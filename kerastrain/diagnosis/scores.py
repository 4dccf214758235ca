"""A score for each example, so that parts of any task can be compared by the mean of their scores.

Takes targets and outputs; returns arrays. Must not import TensorFlow.
"""

import numpy as np
import scipy

from kerastrain.diagnosis.records import Part, Record

NAMES = {"single_label": "accuracy", "multi_label": "overlap of labels", "regression": "R²"}
"""What the mean of the scores is called for each task. The overlap of an example's true and predicted labels is the number that
both have over the number that either has, 1 if both are empty (Jaccard)."""


def scores(record: Record, name: str) -> np.ndarray:
    """The score of each example of a part.

    Args:
        record: Record.
        name: str, the name of a part in it.

    Returns:
        float (n,): 0 or 1 for "single_label"; in [0, 1] for "multi_label"; for "regression" at most 1, with R² as their mean,
        relative to the variance of the part.
    """
    part = record.parts[name]
    if record.task == "single_label":
        return (part.outputs.argmax(axis=1) == part.targets).astype(np.float64)
    if record.task == "multi_label":
        return _overlaps(part.targets > 0.5, part.outputs > 0)
    variances = part.targets.astype(np.float64).var(axis=0)
    relative = np.square(part.outputs - part.targets) / np.where(variances > 0, variances, 1.0)
    return 1 - relative.mean(axis=1)


def guess_score(record: Record, name: str) -> float:
    """The score on a part of the best prediction that is the same for every input.

    Args:
        record: Record.
        name: str, the name of a part in it.

    Returns:
        float.
    """
    targets = record.parts[name].targets
    if record.task == "single_label":
        return float(np.bincount(targets).max() / len(targets))
    if record.task == "multi_label":
        usual = np.broadcast_to(targets.mean(axis=0) > 0.5, targets.shape)
        return float(_overlaps(targets > 0.5, usual).mean())
    return 0.0


def probabilities(record: Record, part: Part) -> np.ndarray:
    """The probabilities of a classifier's classes or labels.

    Args:
        record: Record of a classifier.
        part: Part.

    Returns:
        float64 (n, outputs) in [0, 1].
    """
    logits = part.outputs.astype(np.float64)
    return scipy.special.softmax(logits, axis=1) if record.task == "single_label" else scipy.special.expit(logits)


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    either = (first | second).sum(axis=1)
    return np.where(either > 0, (first & second).sum(axis=1) / np.maximum(either, 1), 1.0)
