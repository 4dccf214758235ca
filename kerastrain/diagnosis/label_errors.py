"""Which labels are probably wrong, by confident learning.

Takes given labels and probabilities of a model that was not fitted to these examples; returns scores, counts and the more
likely labels. Must not fit a model.

Reference: Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068, section 3.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """The judgement of each label.

    Args:
        scores: float64 (n,) in [0, 1], how much the given label is doubted: (1 - normalized margin) / 2, where the margin is
            the probability of the given label minus that of the most probable other one. For several labels the most doubted
            one counts. 0.5 and more: another answer is more probable.
        suspected: bool (n,), whether the label counts as wrong in the confident joint.
        proposed: int64 (n,), the class that is more probable where `suspected`, else the given one; for several labels the
            number of the label whose presence is doubted most.
        joint: float64 (classes, classes), the estimated share of examples with a given label (row) whose true label is
            another (column); sums to 1. For several labels (labels, 2, 2), one for each.
    """

    scores: np.ndarray
    suspected: np.ndarray
    proposed: np.ndarray
    joint: np.ndarray

    @property
    def error_fraction(self) -> float:
        """The estimated fraction of wrong labels, by the joint."""
        return float(1 - np.trace(self.joint, axis1=-2, axis2=-1).mean())


def label_errors(targets: np.ndarray, probabilities: np.ndarray) -> LabelErrors:
    """Judges the class of each example.

    An example is counted in the confident joint under the class whose probability is at least the mean probability of that
    class over the examples that are labelled with it. It is suspected if that is another class than the given one, and the
    most probable one.

    Args:
        targets: int64 (n,) in [0, classes), the given classes.
        probabilities: float (n, classes), each row sums to 1, out of fold.

    Returns:
        LabelErrors.

    Example:
        >>> targets = np.array([0, 0, 0, 1, 1, 1])
        >>> sure = np.array([0.9, 0.8, 0.1, 0.1, 0.2, 0.1])
        >>> found = label_errors(targets, np.stack([sure, 1 - sure], axis=1))
        >>> np.flatnonzero(found.suspected), found.proposed[2]
        (array([2]), np.int64(1))
    """
    count, classes = probabilities.shape
    rows = np.arange(count)
    thresholds = np.full(classes, np.inf)
    for label in np.unique(targets):
        thresholds[label] = probabilities[targets == label, label].mean()
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    best = confident.argmax(axis=1)
    is_counted = confident[rows, best] >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (targets[is_counted], best[is_counted]), 1)
    suspected = is_counted & (best != targets) & (probabilities.argmax(axis=1) == best)
    given = probabilities[rows, targets]
    others = probabilities.copy()
    others[rows, targets] = -1
    margin = given - others.max(axis=1)
    return LabelErrors((1 - margin) / 2, suspected, np.where(suspected, best, targets), _calibrated(joint, targets))


def multi_label_errors(targets: np.ndarray, probabilities: np.ndarray) -> LabelErrors:
    """Judges the labels of each example, each label as two classes, present and absent.

    Args:
        targets: float (n, labels) of 0 and 1.
        probabilities: float (n, labels) in [0, 1], out of fold.

    Returns:
        LabelErrors.
    """
    found = [
        label_errors(column.astype(np.int64), np.stack([1 - probability, probability], axis=1))
        for column, probability in zip(targets.T, probabilities.T, strict=True)
    ]
    scores, suspected = (np.stack([getattr(each, name) for each in found], axis=1) for name in ("scores", "suspected"))
    proposed = np.where(suspected.any(axis=1), np.where(suspected, scores, -1).argmax(axis=1), scores.argmax(axis=1))
    return LabelErrors(scores.max(axis=1), suspected.any(axis=1), proposed, np.stack([each.joint for each in found]))


def number_errors(targets: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far each number is from its prediction, in robust standard deviations of all differences.

    Args:
        targets: float (n, numbers).
        predicted: float (n, numbers), out of fold.

    Returns:
        float64 (n,) >= 0, the largest of an example's numbers.
    """
    residuals = np.abs(predicted - targets - np.median(predicted - targets, axis=0))
    scale = 1.4826 * np.median(residuals, axis=0)
    return (residuals / np.where(scale > 0, scale, np.inf)).max(axis=1)


def _calibrated(joint: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Scales the rows of the confident joint to the counts of the given labels, eq. 3 of the paper."""
    counts = np.bincount(targets, minlength=len(joint)).astype(np.float64)
    sums = joint.sum(axis=1)
    # A class of which no example is confident counts as given.
    joint = np.where(sums[:, None] > 0, joint, np.eye(len(joint)))
    joint = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]
    return joint / max(joint.sum(), 1)
