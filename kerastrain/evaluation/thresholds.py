"""Fits a temperature, and chooses thresholds for probabilities.

Takes outputs or probabilities of held-out examples beside their targets; returns numbers. `operating_point` applies them. Must
not import TensorFlow.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from kerastrain import objectives
from kerastrain.errors import InputError
from kerastrain.objectives import Objective
from kerastrain.tasks import Task

USUAL = 0.5
"""The threshold of a label for which none was chosen."""

_HOTTEST = 20.0  # Temperatures are searched between its inverse and it.


def fit_temperature(outputs: np.ndarray, targets: np.ndarray, task: Task = "single_label") -> float:
    """The temperature under which the targets are most likely.

        temperature = argmin_T mean of -log softmax(outputs / T)[target], for many labels of the binary log loss

    The labels with the highest probability stay the same. The likelihood is convex in 1 / T.

    Args:
        outputs: float (n, labels), the logits of held-out examples.
        targets: int (n,), or for "multi_label" (n, labels) of 0 and 1.
        task: "single_label" or "multi_label".

    Returns:
        float in (0.05, 20).

    Raises:
        InputError: every example is classified rightly, so that the likelihood grows without end, or there is no such
            temperature between 0.05 and 20.

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599.
    """
    if _is_separated(np.asarray(outputs), np.asarray(targets), task):
        raise InputError(
            f"these {len(targets):,} examples are separated without error, so that their likelihood grows with ever smaller "
            "temperatures. Leave the temperature at 1, or choose it on more examples."
        )
    bound = np.log(_HOTTEST)
    found = scipy.optimize.minimize_scalar(
        lambda value: log_loss(outputs, targets, task, temperature=np.exp(value)),
        bounds=(-bound, bound),
        method="bounded",
        options={"xatol": 1e-7},
    )
    if abs(found.x) > 0.99 * bound:
        raise InputError(
            f"no temperature between {1 / _HOTTEST:g} and {_HOTTEST:g} makes these {len(targets):,} examples most likely: the "
            f"outputs are far too {'small' if found.x < 0 else 'certain'} for them. Leave the temperature at 1."
        )
    return float(np.exp(found.x))


def _is_separated(outputs: np.ndarray, targets: np.ndarray, task: Task) -> bool:
    """Whether every target has the highest output, or of many labels every output the sign of its target."""
    if task == "multi_label":
        return bool((np.where(targets > 0, outputs, -outputs) > 0).all())
    own = outputs[np.arange(len(targets)), targets]
    others = np.where(np.arange(outputs.shape[1]) == targets[:, None], -np.inf, outputs)
    return bool((own > others.max(axis=1)).all())


def log_loss(outputs: np.ndarray, targets: np.ndarray, task: Task, *, temperature: float = 1.0) -> float:
    """The mean negative log-likelihood of targets, of many labels that of a label.

    Args:
        outputs: float (n, labels), logits.
        targets: as for `fit_temperature`.
        task: "single_label" or "multi_label".
        temperature: float > 0.

    Returns:
        float >= 0, in nats.
    """
    scaled = np.asarray(outputs, np.float64) / temperature
    if task == "multi_label":
        return float(
            -np.mean(
                np.where(np.asarray(targets) > 0, scipy.special.log_expit(scaled), scipy.special.log_expit(-scaled))
            )
        )
    return float(-scipy.special.log_softmax(scaled, axis=-1)[np.arange(len(targets)), targets].mean())


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it gives on the examples that it was chosen on.

    Args:
        value: float in [0, 1]; an example is positive if its probability is at least this. It is halfway between two
            probabilities of the examples.
        precision: float in [0, 1].
        recall: float in [0, 1].
        count: int > 0, the examples above the threshold.
        is_reached: bool, whether the objective is; if not, the threshold is the best one.
    """

    value: float
    precision: float
    recall: float
    count: int
    is_reached: bool = True


def choose_threshold(targets: np.ndarray, probabilities: np.ndarray, objective: Objective | str) -> Threshold:
    """The threshold that is best for an objective.

    Of several equally good ones, it is the one nearest to 0.5 for "f1" and "equal_error", and else the highest.

    Args:
        targets: (n,) of 0 and 1, or bool.
        probabilities: float (n,) in [0, 1].
        objective: str as for `objectives.parse`, but not "accuracy", or Objective.

    Returns:
        Threshold. If no threshold has the wanted precision, it is the one with the highest precision.

    Raises:
        InputError: the objective is unknown or "accuracy", or the targets are all the same.

    Example:
        >>> choose_threshold([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9], "precision>=0.9").value
        0.7
    """
    objective = objectives.parse(objective) if isinstance(objective, str) else objective
    positive = np.asarray(targets) > 0
    if objective.name == "accuracy":
        raise InputError(
            f"{objective} is for classes, and has no threshold for one of them. Use precision>={objective.at_least:g}, or "
            "`choose_rejection`."
        )
    if positive.all() or not positive.any():
        raise InputError(
            f"a threshold needs examples with and without the label. Received: {positive.sum():,} of {len(positive):,} with it."
        )
    values, hits, misses = _levels(positive, np.asarray(probabilities, np.float64))
    precision, recall = hits / (hits + misses), hits / positive.sum()
    is_reached, best = True, 0
    if objective.name == "precision":
        is_reached = bool((precision >= objective.at_least).any())
        wanted = np.where(precision >= objective.at_least, recall, -1) if is_reached else precision
        best = int(wanted.argmax())
    elif objective.name == "recall":
        best = int(np.where(recall >= objective.at_least, precision, -1).argmax())
    else:
        if objective.name == "f1":
            cost = -2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
        else:
            cost = np.abs(misses / (~positive).sum() - (1 - recall))
        ties = np.flatnonzero(np.isclose(cost, cost.min(), rtol=0, atol=1e-12))
        best = int(ties[np.abs(values[ties] - USUAL).argmin()])
    return Threshold(
        float(values[best]), float(precision[best]), float(recall[best]), int((hits + misses)[best]), is_reached
    )


def choose_rejection(targets: np.ndarray, probabilities: np.ndarray, at_least: float) -> Threshold:
    """The probability of the most probable class below which a prediction is rejected, so that the others are accurate.

    Args:
        targets: int (n,).
        probabilities: float (n, classes).
        at_least: float in (0, 1], the wanted accuracy of the predictions that are not rejected.

    Returns:
        Threshold, whose precision is their accuracy and whose recall is their share. If the accuracy is not reached, it is the
        threshold with the highest one.
    """
    right = probabilities.argmax(axis=1) == np.asarray(targets)
    values, hits, misses = _levels(right, probabilities.max(axis=1))
    accuracy, share = hits / (hits + misses), (hits + misses) / len(right)
    is_reached = bool((accuracy >= at_least).any())
    best = int((np.where(accuracy >= at_least, share, -1) if is_reached else accuracy).argmax())
    return Threshold(
        float(values[best]), float(accuracy[best]), float(share[best]), int((hits + misses)[best]), is_reached
    )


def _levels(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The thresholds between different scores, from the highest, and the positives and negatives that each accepts."""
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # the last example of each score
    hits = np.cumsum(positive)[last]
    # Halfway, because in another batch the last digits of a probability may differ.
    values = np.append((scores[last[:-1]] + scores[last[:-1] + 1]) / 2, 0.0)
    return values, hits, last + 1 - hits
