"""Places of tokens as angles: by how much the numbers of queries and keys turn.

Takes sizes and tensors; returns arrays and tensors. Must not hold weights.
"""

import math

import keras
import numpy as np


def rotations(
    head_size: int,
    *,
    base: float = 10_000.0,
    factor: float = 1.0,
    low_frequency: float | None = None,
    high_frequency: float | None = None,
    trained_positions: int | None = None,
) -> np.ndarray:
    """The angle by which each pair of a head's numbers turns from a place to the next.

        angle_i = base ** (-2 i / head_size) / factor

    With `low_frequency`, as in Llama 3.1, angles that turn more than `high_frequency` times over the places of the training
    stay, those that turn less than `low_frequency` times are divided, and those between them are blended.

    Args:
        head_size: int >= 2, even.
        base: float > 1.
        factor: float >= 1, by how much longer the texts are than those of the training.
        low_frequency: float > 0, or None.
        high_frequency: float > low_frequency, or None.
        trained_positions: int >= 1, the number of places of the training, or None.

    Returns:
        float32 (head_size / 2,), in radians.

    References: Su et al. 2021, https://arxiv.org/abs/2104.09864; Dubey et al. 2024, https://arxiv.org/abs/2407.21783.

    Example:
        >>> rotations(4).tolist()
        [1.0, 0.009999999776482582]
    """
    angles = (base ** (-np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size))).astype(np.float32)
    if low_frequency is None:
        return (angles / np.float32(factor)).astype(np.float32)
    turns = trained_positions * angles / (2 * math.pi)
    share = np.clip((turns - low_frequency) / (high_frequency - low_frequency), 0, 1)
    return ((1 - share) * angles / factor + share * angles).astype(np.float32)


def rotated(values, cosine, sine):
    """Turns pairs of numbers of each head: the first half of a head holds the first numbers of the pairs.

    Args:
        values: float (b, heads, n, head_size).
        cosine: float (b, 1, n, head_size / 2), of each pair's angle.
        sine: float (b, 1, n, head_size / 2).

    Returns:
        float (b, heads, n, head_size).
    """
    first, second = keras.ops.split(values, 2, axis=-1)
    return keras.ops.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
