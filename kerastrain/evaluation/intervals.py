"""How far a measure of few examples can be trusted: 95 % intervals. Must not import TensorFlow."""

import math
from collections.abc import Callable

import numpy as np

from kerastrain.errors import InputError

_DEVIATIONS = 1.959963984540054  # of the normal distribution, for 95 %


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of Wilson of a share such as an accuracy; true also near 0 and 1, and for few examples.

        (p + z² / 2n ± z sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n),    p = right / n, z = 1.96

    Args:
        right: int in [0, count].
        count: int > 0, n.

    Returns:
        (float, float), the lowest and highest share, in [0, 1].

    Raises:
        InputError: `count` is not positive, or `right` is out of range.

    Example:
        >>> tuple(round(limit, 3) for limit in wilson(9, 10))
        (0.596, 0.982)

    Reference: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    if not count > 0 or not 0 <= right <= count:
        raise InputError(f"`right` must lie in [0, count], count > 0. Received: {right!r} of {count!r}.")
    share, square = right / count, _DEVIATIONS**2 / count
    half = _DEVIATIONS * math.sqrt(share * (1 - share) / count + square / (4 * count))
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if right == 0 else (share + square / 2 - half) / (1 + square)
    high = 1.0 if right == count else (share + square / 2 + half) / (1 + square)
    return low, high


def bootstrap(measure: Callable[[np.ndarray], float], count: int, *, rounds: int = 1000) -> tuple[float, float]:
    """The 95 % interval of any measure: its middle values over examples drawn anew with replacement, always the same.

    Args:
        measure: function from int64 (count,) numbers of examples, some of them several times, to a float.
        count: int > 0, the examples.
        rounds: int > 0, how often they are drawn.

    Returns:
        (float, float), the 2.5th and 97.5th percentile.

    Reference: Efron 1979, https://doi.org/10.1214/aos/1176344552
    """
    random = np.random.default_rng(0)
    values = [measure(random.integers(0, count, count)) for _ in range(rounds)]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
