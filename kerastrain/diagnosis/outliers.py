"""Which numbers of a set stand out from the others.

Takes arrays, returns arrays. The set itself is the measure: a property that most examples share accuses none of them.
"""

import numpy as np

STANDS_OUT = 5.0
"""Robust standard deviations from which a value stands out; of normally distributed ones, 3 of ten million do."""

_ROWS = 512


def below(values: np.ndarray, *, least_spread: float = 0.0) -> np.ndarray:
    """How far each value lies below the median, in robust standard deviations of the values below it.

        score = (median - value) / (1.4826 * median of (median - value) over the values below the median)

    Only the lower half counts for the spread, so that a skewed distribution does not accuse its long side.

    Args:
        values: float (n,).
        least_spread: float >= 0, the smallest standard deviation that is assumed, such as for values that are mostly equal.

    Returns:
        float64 (n,); 0 everywhere without any spread.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return np.zeros(0)
    distance = np.median(values) - values
    spread = max(1.4826 * np.median(distance[distance >= 0]), least_spread)
    return distance / spread if spread > 0 else np.zeros(len(values))


def above(values: np.ndarray, *, least_spread: float = 0.0) -> np.ndarray:
    """How far each value lies above the median; see `below`.

    Args:
        values: float (n,).
        least_spread: as for `below`.

    Returns:
        float64 (n,).
    """
    return below(-np.asarray(values, np.float64), least_spread=least_spread)


def neighbour_distances(features: np.ndarray, neighbours: int = 20) -> np.ndarray:
    """The mean cosine distance of each row to its nearest others. Memory grows with n, not with its square.

    Args:
        features: float (n, d).
        neighbours: int > 0; at most n - 1 are used.

    Returns:
        float32 (n,) in [0, 2]; 0 for a single row.
    """
    features = np.asarray(features, np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.where(lengths > 0, lengths, 1)
    neighbours = min(neighbours, len(features) - 1)
    if neighbours < 1:
        return np.zeros(len(features), np.float32)
    means = []
    for start in range(0, len(features), _ROWS):
        similar = features[start : start + _ROWS] @ features.T
        rows = np.arange(len(similar))
        similar[rows, rows + start] = -np.inf
        means.append(np.partition(similar, -neighbours, axis=1)[:, -neighbours:].mean(axis=1))
    return 1 - np.concatenate(means)
