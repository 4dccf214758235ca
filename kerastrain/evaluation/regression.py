"""The measures of predicted numbers, from plain arrays.

Takes true and predicted numbers; gives one dict that JSON can say. Where a number is undefined it is None. Must not
import TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import r2_score

from kerastrain.errors import InputError

SCORES = ("mae", "rmse", "r2", "bias")
LARGEST_SCATTER = 500


def measure(truth: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> dict:
    """Measures predictions against the truth, each number by itself.

        MAE = mean |p - y|    RMSE = sqrt(mean (p - y)²)    bias = mean (p - y)
        R² = 1 - sum (p - y)² / sum (y - mean y)²

    R² is the share of the variance that the model explains: 1 is perfect, 0 what the mean of this data would reach, and
    there is no lower end.

    Args:
        truth: float (n, outputs), finite.
        predictions: float (n, outputs).
        names: sequence of str (outputs,), the name of each number.

    Returns:
        dict of "task" ("regression"), "count", "r2" (the mean over the outputs), "outputs" (for each: label, mae, rmse,
        r2, bias, and the mean and deviation of the truth, all in the output's own unit but r2) and "scatter" (for each
        output up to 500 pairs [truth, prediction], evenly taken in the order of the data). What is undefined is None.

    Raises:
        InputError: the shapes do not fit each other, there is no example, or a number is not finite.

    Example:
        >>> measures = measure([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]], ["age"])
        >>> measures["r2"], round(measures["outputs"][0]["mae"], 4)
        (0.5, 0.3333)
    """
    truth, predictions = np.asarray(truth, "float64"), np.asarray(predictions, "float64")
    _check(truth, predictions, names)
    outputs = [_output(str(name), truth[:, index], predictions[:, index]) for index, name in enumerate(names)]
    explained = [row["r2"] for row in outputs if row["r2"] is not None]
    shown = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), LARGEST_SCATTER)).round().astype(int))
    return {
        "task": "regression",
        "count": len(truth),
        "r2": sum(explained) / len(explained) if explained else None,
        "outputs": outputs,
        "scatter": [
            np.stack([truth[shown, index], predictions[shown, index]], axis=1).tolist() for index in range(len(names))
        ],
    }


def _output(name: str, truth: np.ndarray, predictions: np.ndarray) -> dict:
    errors = predictions - truth
    return {
        "label": name,
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "r2": float(r2_score(truth, predictions)) if truth.std() > 0 else None,
        "bias": float(errors.mean()),
        "mean": float(truth.mean()),
        "stddev": float(truth.std()),
    }


def _check(truth: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> None:
    if truth.ndim != 2 or not len(truth) or predictions.shape != truth.shape or truth.shape[1] != len(names):
        raise InputError(
            "`truth` and `predictions` must be (n, outputs) and `names` (outputs,), with n >= 1. "
            f"Received: {truth.shape}, {predictions.shape} and ({len(names)},). Take all three from one data set."
        )
    for name, values, cause in (
        ("truth", truth, "Mend the targets."),
        ("predictions", predictions, "The model has diverged; train it again with a lower learning rate."),
    ):
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            raise InputError(
                f"`{name}` must be finite. Received: NaN or infinity in {broken.sum()} of {len(truth)} rows. {cause}"
            )
