"""How well probabilities agree with frequencies.

Takes probabilities and whether what they are about came true; returns the expected calibration error and its bins, which a
reliability diagram shows. Must not import TensorFlow.
"""

import numpy as np
import scipy

BINS = 10


def measure(probabilities: np.ndarray, true: np.ndarray) -> dict:
    """Measures calibration in bins of equal width.

        error = sum over bins of count / n · |share that is true - mean probability|

    Args:
        probabilities: float (n,) in [0, 1], n >= 1: of a classifier those of the predicted classes.
        true: bool (n,), such as whether each prediction is correct.

    Returns:
        dict of "error", in [0, 1], and "bins": for each of 10 from, to, count, confidence (mean probability) and accuracy
        (share that is true), both None in an empty bin.

    Example:
        >>> round(measure(np.array([0.9, 0.9]), np.array([True, False]))["error"], 4)
        0.4

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3.
    """
    numbers = _bins(probabilities)
    counts = np.bincount(numbers, minlength=BINS)
    sums = [np.bincount(numbers, weights=values, minlength=BINS) for values in (probabilities, true)]
    rows = []
    for index, (count, confidence, accuracy) in enumerate(zip(counts.tolist(), *sums, strict=True)):
        means = {"confidence": float(confidence / count), "accuracy": float(accuracy / count)} if count else {}
        rows.append(
            {"from": index / BINS, "to": (index + 1) / BINS, "count": count, "confidence": None, "accuracy": None}
            | means
        )
    return {"error": float(np.abs(sums[0] - sums[1]).sum() / len(true)), "bins": rows}


class Resampled:
    """The calibration errors of resamples.

    Args:
        probabilities: float (n,), as for `measure`; or (n, decisions), several of each example.
        true: bool of the same shape.
    """

    def __init__(self, probabilities: np.ndarray, true: np.ndarray):
        self._decisions = true.size // len(true)
        examples = np.repeat(np.arange(len(true)), self._decisions)
        excess = (probabilities - true).astype(np.float32).ravel()
        self._excess = scipy.sparse.csr_matrix((excess, (_bins(probabilities).ravel(), examples)), (BINS, len(true)))

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """Expected calibration errors.

        Args:
            weights: float32 (n, r), how often each example is drawn.

        Returns:
            float (r,).
        """
        return np.abs(self._excess @ weights).sum(axis=0) / (len(weights) * self._decisions)


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
