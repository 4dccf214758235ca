"""One score per task, by which two models, or a model and its file, are compared.

Takes arrays of outputs and targets; returns a number. Must not import TensorFlow.
"""

import numpy as np

from kerastrain.errors import InputError
from kerastrain.tasks import Task

MEASURES = {"single_label": "accuracy", "multi_label": "accuracy", "regression": "R²"}
"""The name of `score` for each task. For many labels it is the share of correct binary decisions over all labels."""


def score(outputs: np.ndarray, targets: np.ndarray, task: Task = "single_label", *, threshold: float = 0.0) -> float:
    """The accuracy of `outputs`, or their R² for "regression".

        accuracy = mean(prediction == target),    R² = 1 - Σ (target - prediction)² / Σ (target - mean(target))²

    Args:
        outputs: float (n, outputs), logits or probabilities; predicted numbers for "regression".
        targets: int (n,) classes or one-hot (n, outputs) for "single_label"; 0 or 1 (n, outputs) for "multi_label"; float
            (n, outputs) for "regression", whose R² is the mean over the outputs.
        task: "single_label", "multi_label" or "regression".
        threshold: float, above which a single output, or each of many labels, is positive: 0 for logits, 0.5 for
            probabilities.

    Returns:
        float in [0, 1] for an accuracy; R² is at most 1, and below 0 for predictions worse than the mean.

    Raises:
        InputError: the number of targets differs from the number of outputs.

    Example:
        >>> score([[0.1, 0.9], [0.8, 0.2]], [1, 1])
        0.5
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    if len(outputs) != len(targets):
        raise InputError(
            f"`targets` and `outputs` must have the same length. Received: {len(targets)} and {len(outputs)}."
        )
    if task == "regression":
        from sklearn.metrics import r2_score  # slow to import, and classifiers do not need it

        return float(r2_score(targets.reshape(len(targets), -1), outputs.reshape(len(outputs), -1)))
    if task == "multi_label":
        return float(np.mean((outputs > threshold) == (targets > 0.5)))
    if outputs.shape[-1] == 1:
        return float(np.mean((outputs[:, 0] > threshold) == (targets.reshape(-1) > 0.5)))
    classes = targets.argmax(-1) if targets.ndim == 2 and targets.shape[-1] > 1 else targets.reshape(-1)
    return float(np.mean(outputs.argmax(-1) == classes))
