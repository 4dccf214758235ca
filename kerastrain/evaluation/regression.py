"""Measures of predicted numbers, from arrays.

Takes targets and predictions; returns a dict that can be written as JSON. An undefined number is None. Must not import
TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from kerastrain.errors import InputError
from kerastrain.evaluation import counting, resampling

SCORES = ("mae", "rmse", "r2", "spearman", "bias")
LARGEST_SCATTER = 500


def measure(
    targets: np.ndarray, predictions: np.ndarray, labels: Sequence[str], *, with_intervals: bool = True
) -> dict:
    """Measures predictions against targets, each output separately.

        MAE = mean |p - y|    RMSE = sqrt(mean (p - y)²)    bias = mean (p - y)
        R² = 1 - sum (p - y)² / sum (y - mean y)²
        Spearman's ρ = correlation of the ranks of p and y, equal numbers sharing their mean rank

    R² is the share of the variance that the model explains: 1 is perfect, 0 is the score of predicting the mean of this
    data, and there is no lower bound. Spearman's ρ, from -1 to 1, says how well the order of the predictions is that of the
    targets.

    The intervals hold 95 % of the values in resamples of the examples (see `resampling`).

    Args:
        targets: float (n, outputs), finite.
        predictions: float (n, outputs), finite.
        labels: sequence of str (outputs,), the name of each output.
        with_intervals: bool; False leaves all "intervals" empty and saves most of the time.

    Returns:
        dict of "task" ("regression"), "count", "r2" and "spearman" (means over the outputs), "mae" and "rmse" (over all
        outputs, as the metrics during training), "outputs" (for each: label, mae, rmse, r2, spearman, bias, mean and stddev of
        the targets, all in the output's unit except r2 and spearman, and "intervals"), "intervals" (from the names of the
        measures to [low, high]) and "scatter" (for each output up to 500 pairs [target, prediction], evenly spaced in the
        order of the data). Undefined numbers are None.

    Raises:
        InputError: the shapes do not match, there is no example, or a number is not finite.

    Example:
        >>> measures = measure([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]], ["age"])
        >>> measures["r2"], round(measures["outputs"][0]["mae"], 4)
        (0.5, 0.3333)
    """
    targets, predictions = np.asarray(targets, "float64"), np.asarray(predictions, "float64")
    _check(targets, predictions, labels)
    resampled = [_Resampled(*columns) for columns in zip(targets.T, predictions.T, strict=True)]
    once = np.ones((len(targets), 1), np.float32)
    outputs = [
        {"label": str(label)}
        | {name: counting.defined(values[0]) for name, values in one.scores(once).items()}
        | {"mean": float(truth.mean()), "stddev": float(truth.std())}
        for label, one, truth in zip(labels, resampled, targets.T, strict=True)
    ]
    overall = {
        name: counting.defined(values[0]) for name, values in _overall([one.scores(once) for one in resampled]).items()
    }
    found = _intervals(resampled, outputs, overall, len(targets)) if with_intervals else {}
    for index, row in enumerate(outputs):
        row["intervals"] = {name: found[f"{index}.{name}"] for name in SCORES if f"{index}.{name}" in found}
    shown = np.unique(np.linspace(0, len(targets) - 1, min(len(targets), LARGEST_SCATTER)).round().astype(int))
    return {
        "task": "regression",
        "count": len(targets),
        **overall,
        "outputs": outputs,
        "intervals": {name: found[name] for name in overall if name in found},
        "scatter": [
            np.stack([targets[shown, index], predictions[shown, index]], axis=1).tolist()
            for index in range(len(labels))
        ],
    }


class _Resampled:
    """The scores of one output in resamples, in which each example has a weight.

    Args:
        targets: float (n,).
        predictions: float (n,).
    """

    def __init__(self, targets: np.ndarray, predictions: np.ndarray):
        errors, centred = predictions - targets, targets - targets.mean()
        self._means = np.stack([np.abs(errors), np.square(errors), errors, centred, np.square(centred)])
        self._is_constant = targets.std() == 0
        self._sorted = [np.unique(values, return_inverse=True)[1].reshape(-1) for values in (targets, predictions)]

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        mae, squared, bias, mean, square = self._means @ weights / len(weights)
        variance = square - mean**2
        undefined = self._is_constant | (variance <= 0)
        r2 = 1 - squared / np.where(undefined, np.nan, variance)
        return {"mae": mae, "rmse": np.sqrt(squared), "r2": r2, "spearman": self._spearman(weights), "bias": bias}

    def _spearman(self, weights: np.ndarray) -> np.ndarray:
        ranks = []
        for groups in self._sorted:
            summing = scipy.sparse.csr_matrix((np.ones(len(groups), np.float32), (groups, np.arange(len(groups)))))
            sizes = np.asarray(summing @ weights, np.float64)
            ranks.append((np.cumsum(sizes, axis=0) - sizes / 2)[groups] - len(weights) / 2)
        spreads = [np.sqrt((weights * np.square(rank)).sum(axis=0)) for rank in ranks]
        # Of ranks that are all equal, rounding would make a correlation.
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (weights * ranks[0] * ranks[1]).sum(axis=0) / (spreads[0] * spreads[1])
        return np.where(np.minimum(*spreads) > 1e-6, np.clip(found, -1, 1), np.nan)


def _overall(scores: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    columns = {name: np.stack([row[name] for row in scores], axis=-1) for name in ("mae", "rmse", "r2", "spearman")}
    means = {
        name: counting.averaged(columns[name], np.ones(len(scores)), skips_undefined=True)
        for name in ("r2", "spearman")
    }
    return {"mae": columns["mae"].mean(axis=-1), "rmse": np.sqrt(np.square(columns["rmse"]).mean(axis=-1)), **means}


def _intervals(
    resampled: Sequence[_Resampled], outputs: Sequence[Mapping], overall: Mapping, count: int
) -> dict[str, list[float]]:
    def measures(weights: np.ndarray) -> dict[str, np.ndarray]:
        scores = [one.scores(weights) for one in resampled]
        each = {f"{index}.{name}": values for index, row in enumerate(scores) for name, values in row.items()}
        return each | _overall(scores)

    estimates = {f"{index}.{name}": row[name] for index, row in enumerate(outputs) for name in SCORES} | overall
    rounds = resampling.rounds(count * len(outputs), cost=4)  # Ranks take long.
    return resampling.intervals(np.zeros(count, np.int64), measures, estimates, rounds)


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
