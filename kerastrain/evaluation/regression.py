"""Measures of predicted numbers, from arrays.

Takes targets and predictions; returns a dict that can be written as JSON. An undefined number is None. Must not import
TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import r2_score

from kerastrain.errors import InputError

SCORES = ("mae", "rmse", "r2", "bias")
LARGEST_SCATTER = 500


def measure(targets: np.ndarray, predictions: np.ndarray, labels: Sequence[str]) -> dict:
    """Measures predictions against targets, each output separately.

        MAE = mean |p - y|    RMSE = sqrt(mean (p - y)²)    bias = mean (p - y)
        R² = 1 - sum (p - y)² / sum (y - mean y)²

    R² is the share of the variance that the model explains: 1 is perfect, 0 is the score of predicting the mean of this
    data, and there is no lower bound.

    Args:
        targets: float (n, outputs), finite.
        predictions: float (n, outputs), finite.
        labels: sequence of str (outputs,), the name of each output.

    Returns:
        dict of "task" ("regression"), "count", "r2" (the mean over the outputs), "outputs" (for each: label, mae, rmse,
        r2, bias, and mean and stddev of the targets, all in the output's unit except r2) and "scatter" (for each output up
        to 500 pairs [target, prediction], evenly spaced in the order of the data). Undefined numbers are None.

    Raises:
        InputError: the shapes do not match, there is no example, or a number is not finite.

    Example:
        >>> measures = measure([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]], ["age"])
        >>> measures["r2"], round(measures["outputs"][0]["mae"], 4)
        (0.5, 0.3333)
    """
    targets, predictions = np.asarray(targets, "float64"), np.asarray(predictions, "float64")
    _check(targets, predictions, labels)
    outputs = [_output(str(label), targets[:, index], predictions[:, index]) for index, label in enumerate(labels)]
    explained = [row["r2"] for row in outputs if row["r2"] is not None]
    shown = np.unique(np.linspace(0, len(targets) - 1, min(len(targets), LARGEST_SCATTER)).round().astype(int))
    return {
        "task": "regression",
        "count": len(targets),
        "r2": sum(explained) / len(explained) if explained else None,
        "outputs": outputs,
        "scatter": [
            np.stack([targets[shown, index], predictions[shown, index]], axis=1).tolist()
            for index in range(len(labels))
        ],
    }


def _output(label: str, targets: np.ndarray, predictions: np.ndarray) -> dict:
    errors = predictions - targets
    return {
        "label": label,
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "r2": float(r2_score(targets, predictions)) if targets.std() > 0 else None,
        "bias": float(errors.mean()),
        "mean": float(targets.mean()),
        "stddev": float(targets.std()),
    }


def _check(targets: np.ndarray, predictions: np.ndarray, labels: Sequence[str]) -> None:
    if targets.ndim != 2 or not len(targets) or predictions.shape != targets.shape or targets.shape[1] != len(labels):
        raise InputError(
            "`targets` and `predictions` must be (n, outputs) and `labels` (outputs,), with n >= 1. "
            f"Received: {targets.shape}, {predictions.shape} and ({len(labels)},). Take all three from one dataset."
        )
    for name, values, remedy in (
        ("targets", targets, "Correct the targets."),
        ("predictions", predictions, "The model has diverged; train it again with a lower learning rate."),
    ):
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            raise InputError(
                f"`{name}` must be finite. Received: NaN or infinity in {broken.sum()} of {len(targets)} rows. {remedy}"
            )
