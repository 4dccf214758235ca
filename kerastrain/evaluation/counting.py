"""Measures of decisions, from counts of right and wrong ones; for many resamples at once.

Takes arrays of counts whose last axis is the classes; returns arrays, with NaN for what is undefined. Must not import
TensorFlow.
"""

import numpy as np

SCORES = ("precision", "recall", "specificity", "f1")


def per_class(
    true_positives: np.ndarray, predicted: np.ndarray, support: np.ndarray, count: np.ndarray | int
) -> dict[str, np.ndarray]:
    """The scores of each class against the rest.

        precision = TP / (TP + FP)    recall = TP / (TP + FN)    specificity = TN / (TN + FP)
        F1 = 2 TP / (2 TP + FP + FN)

    Args:
        true_positives: (..., classes), TP.
        predicted: (..., classes), TP + FP.
        support: (..., classes), TP + FN.
        count: number of examples.

    Returns:
        dict from each of `SCORES` to float (..., classes).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": true_positives / predicted,
            "recall": true_positives / (support + 0 * predicted),
            "specificity": (count - support - predicted + true_positives) / (count - support + 0 * predicted),
            "f1": 2 * true_positives / (predicted + support),
        }


def averaged(scores: np.ndarray, weights: np.ndarray, *, skips_undefined: bool) -> np.ndarray:
    """The weighted mean of scores over the classes.

    Args:
        scores: float (..., classes), NaN where undefined.
        weights: float (..., classes) >= 0.
        skips_undefined: bool, whether undefined scores are left out; else they count as 0.

    Returns:
        float (...), NaN without a positive weight.
    """
    undefined = np.isnan(scores)
    weights = np.where(undefined, 0.0, weights) if skips_undefined else np.broadcast_to(weights, scores.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.where(undefined, 0.0, scores) * weights).sum(axis=-1) / weights.sum(axis=-1)


def agreement(correct: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> dict[str, np.ndarray]:
    """How far predicted and true classes agree beyond chance.

        kappa = (accuracy - chance) / (1 - chance),    chance = sum over classes of predicted · support / n²
        Matthews = (n · correct - sum predicted · support) / sqrt((n² - sum predicted²) (n² - sum support²))

    Args:
        correct: (...), the number of correct predictions.
        predicted: (..., classes), how often each class is predicted.
        support: (..., classes), how often it is true; sums to n.

    Returns:
        dict of "kappa" and "matthews", float (...): 1 is perfect, 0 no better than chance. `matthews` of a classifier that
        predicts one class only is 0, as in scikit-learn. NaN if all examples have one class; kappa only if it is predicted
        for all.

    Reference: Cohen 1960, https://doi.org/10.1177/001316446002000104; Gorodkin 2004,
    https://doi.org/10.1016/j.compbiolchem.2004.09.006, for more than two classes.
    """
    count = support.sum(axis=-1)
    shared = (predicted * support).sum(axis=-1)
    spread = [count**2 - (values**2).sum(axis=-1) for values in (predicted, support)]
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = shared / count**2
        matthews = (count * correct - shared) / np.sqrt(spread[0] * spread[1])
        kappa = (correct / count - chance) / (1 - chance)
    return {"kappa": kappa, "matthews": np.where((spread[0] == 0) & (spread[1] > 0), 0.0, matthews)}


def defined(value: float) -> float | None:
    """A number for JSON, or None for NaN.

    Args:
        value: float.

    Returns:
        float or None.
    """
    return None if np.isnan(value) else float(value)
