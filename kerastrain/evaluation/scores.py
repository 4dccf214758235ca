"""One number for how right answers are, by the task: what two models, or a model and its file, are held against.

Takes arrays of outputs and targets. Must not import TensorFlow.
"""

import numpy as np
from sklearn.metrics import r2_score

from kerastrain.errors import InputError
from kerastrain.tasks import Task

MEASURES = {"single_label": "accuracy", "multi_label": "accuracy", "regression": "R²"}
"""What `score` is called; of many labels it is the share of right answers yes or no, over all labels together."""


def score(outputs: np.ndarray, targets: np.ndarray, task: Task = "single_label", *, threshold: float = 0.0) -> float:
    """How right `outputs` are.

        accuracy = mean(answer == target),    R² = 1 - Σ (target - answer)² / Σ (target - mean(target))²

    Args:
        outputs: float (n, classes), logits or probabilities; numbers for "regression".
        targets: int (n,) classes, or (n, classes) with one 1, for "single_label"; 0 or 1 (n, classes) for "multi_label";
            float (n, classes) for "regression", whose R² is the mean over the numbers.
        task: "single_label", "multi_label" or "regression".
        threshold: float, above which a single output, or each of many labels, is a yes: 0 of logits, 0.5 of
            probabilities.

    Returns:
        float, in [0, 1] but for R², which is below 0 for answers worse than the mean.

    Raises:
        InputError: the targets are not as many as the outputs.

    Example:
        >>> score([[0.1, 0.9], [0.8, 0.2]], [1, 1])
        0.5
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    if len(outputs) != len(targets):
        raise InputError(f"`targets` must be as many as outputs. Received: {len(targets)} and {len(outputs)}.")
    if task == "regression":
        return float(r2_score(targets.reshape(len(targets), -1), outputs.reshape(len(outputs), -1)))
    if task == "multi_label":
        return float(np.mean((outputs > threshold) == (targets > 0.5)))
    if outputs.shape[-1] == 1:
        return float(np.mean((outputs[:, 0] > threshold) == (targets.reshape(-1) > 0.5)))
    classes = targets.argmax(-1) if targets.ndim == 2 and targets.shape[-1] > 1 else targets.reshape(-1)
    return float(np.mean(outputs.argmax(-1) == classes))
