"""95 % confidence intervals of measures of few examples.

Takes counts or a function of examples; returns two numbers. Must not import TensorFlow.
"""

from collections.abc import Callable

import numpy as np
import scipy


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a share such as an accuracy; valid near 0 and 1 and for few examples.

        (p + z² / 2n ± z sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n),    p = correct / n, z = 1.96

    Args:
        correct: int in [0, count].
        count: int > 0, n.

    Returns:
        (float, float), the lower and upper limit, in [0, 1].

    Raises:
        ValueError: `count` is not positive, or `correct` is out of range.

    Example:
        >>> tuple(round(limit, 3) for limit in wilson(9, 10))
        (0.596, 0.982)

    Reference: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    interval = scipy.stats.binomtest(correct, count).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap(measure: Callable[[np.ndarray], float], count: int, *, rounds: int = 1000) -> tuple[float, float]:
    """The 95 % confidence interval of any measure, by the bootstrap with a fixed seed.

    Args:
        measure: callable from int64 (count,) indices of examples, drawn with replacement, to a float.
        count: int > 0, the number of examples.
        rounds: int > 0, the number of resamples.

    Returns:
        (float, float), the 2.5th and 97.5th percentile of the measure over the resamples.

    Reference: Efron 1979, https://doi.org/10.1214/aos/1176344552
    """
    random = np.random.default_rng(0)
    values = [measure(random.integers(0, count, count)) for _ in range(rounds)]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
