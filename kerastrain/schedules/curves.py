"""The learning rate as a function of the optimizer step: pure mathematics.

Takes a step (a Python int or an int tensor of any shape) and gives a float32 tensor of the same shape. Warm-up is not
here: `Schedule` puts it before any curve. Must not hold state or know of Keras's classes.

Past its last step every curve stays at its end, so that a run that goes on does not rise again.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from kerastrain.errors import InputError


def constant(step, *, peak: float, steps: int) -> tf.Tensor:
    """Learning rate that never changes.

        rate(t) = peak

    Args:
        step: int or int64 tensor, 0 <= step.
        peak: float > 0, the learning rate.
        steps: int > 0, length of the run in optimizer steps; it changes nothing here.

    Returns:
        float32 tensor of the shape of `step`.

    Example:
        >>> float(constant(7, peak=0.5, steps=10))
        0.5
    """
    _check_steps(steps)
    return tf.fill(tf.shape(step), tf.constant(peak, tf.float32))


def polynomial(step, *, peak: float, steps: int, power: float = 2.0, end_fraction: float = 0.0) -> tf.Tensor:
    """Learning rate that falls from `peak` along a power of the remaining share of the run.

        rate(t) = peak * (end + (1 - end) * (1 - t / steps) ** power)

    Args:
        step: int or int64 tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        power: float > 0; 1 is a straight line, 2 falls fast first and then slowly.
        end_fraction: float in [0, 1], the final rate as a share of `peak`.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: an argument lies outside its range.

    Reference: Liu et al. 2015, https://arxiv.org/abs/1506.04579, section 3.3 (the "poly" rate).
    """
    _check_fraction("end_fraction", end_fraction)
    if not power > 0:
        raise InputError(f"`power` must be above 0. Received: power={power}.")
    return peak * (end_fraction + (1.0 - end_fraction) * (1.0 - _progress(step, steps)) ** power)


def linear(step, *, peak: float, steps: int, end_fraction: float = 0.0) -> tf.Tensor:
    """Learning rate that falls from `peak` along a straight line: `polynomial` with power 1.

    rate(t) = peak * (end + (1 - end) * (1 - t / steps))

    Args, returns and raises as `polynomial`.

    Example:
        >>> float(linear(5, peak=1.0, steps=10))
        0.5
    """
    return polynomial(step, peak=peak, steps=steps, power=1.0, end_fraction=end_fraction)


def cosine(step, *, peak: float, steps: int, end_fraction: float = 0.0) -> tf.Tensor:
    """Learning rate that falls from `peak` along half a cosine; the usual choice for fine-tuning.

        rate(t) = peak * (end + (1 - end) * (1 + cos(pi * t / steps)) / 2)

    Args:
        step: int or int64 tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        end_fraction: float in [0, 1], the final rate as a share of `peak`.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: `steps` is not positive or `end_fraction` lies outside [0, 1].

    Example:
        >>> round(float(cosine(5, peak=1.0, steps=10)), 6)
        0.5

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5 without restarts.
    """
    _check_fraction("end_fraction", end_fraction)
    return peak * (end_fraction + (1.0 - end_fraction) * _half_cosine(_progress(step, steps)))


def cosine_restarts(
    step,
    *,
    peak: float,
    steps: int,
    cycles: int = 3,
    cycle_growth: float = 2.0,
    peak_decay: float = 1.0,
    end_fraction: float = 0.0,
) -> tf.Tensor:
    """Learning rate that falls along half a cosine several times, each time from the top again.

    Cycle i of n is `cycle_growth` times as long as the one before, and all of them together fill the run; its peak is
    `peak * peak_decay ** i`. Within a cycle of length L the rate is `cosine` with steps=L.

    Args:
        step: int or int64 tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int >= cycles, optimizer steps of all cycles together.
        cycles: int > 0, number of cycles; `cycles - 1` restarts.
        cycle_growth: float > 0, length of a cycle over the length of the one before.
        peak_decay: float in [0, 1], peak of a cycle over the peak of the one before.
        end_fraction: float in [0, 1], the rate at the end of a cycle as a share of its peak.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: an argument lies outside its range, or a cycle is shorter than one step.

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5 and section 3.
    """
    _check_steps(steps)
    _check_fraction("end_fraction", end_fraction)
    _check_fraction("peak_decay", peak_decay)
    if not (cycles >= 1 and cycle_growth > 0):
        raise InputError(
            f"`cycles` must be at least 1 and `cycle_growth` above 0. Received: cycles={cycles}, "
            f"cycle_growth={cycle_growth}."
        )
    shares = [cycle_growth**cycle for cycle in range(cycles)]
    starts = [round(steps * sum(shares[:cycle]) / sum(shares)) for cycle in range(cycles + 1)]
    if len(set(starts)) <= cycles:
        raise InputError(
            f"each cycle must last at least one step. Received: cycles={cycles}, cycle_growth={cycle_growth} in a run "
            f"of {steps} steps. Lower `cycles` or `cycle_growth`."
        )
    # Whole boundaries, counted in integers: the closed formula with a logarithm restarts a step early or late.
    step = tf.minimum(tf.cast(step, tf.int64), steps)
    cycle = _count_passed(step, starts[1:-1])
    start = tf.gather(tf.constant(starts, tf.int64), cycle)
    length = tf.gather(tf.constant(starts, tf.int64), cycle + 1) - start
    top = peak * tf.cast(peak_decay, tf.float32) ** tf.cast(cycle, tf.float32)
    fall = _half_cosine(tf.cast(step - start, tf.float32) / tf.cast(length, tf.float32))
    return top * (end_fraction + (1.0 - end_fraction) * fall)


def exponential(step, *, peak: float, steps: int, end_fraction: float = 0.01) -> tf.Tensor:
    """Learning rate that loses the same share in every step.

        rate(t) = peak * end ** (t / steps)

    Args:
        step: int or int64 tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        end_fraction: float in (0, 1], the final rate as a share of `peak`.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: `steps` is not positive or `end_fraction` lies outside (0, 1].

    Example:
        >>> round(float(exponential(5, peak=1.0, steps=10, end_fraction=0.01)), 6)
        0.1
    """
    if not 0 < end_fraction <= 1:
        raise InputError(
            f"`end_fraction` of an exponential schedule must lie above 0 and at most at 1, for it never reaches 0. "
            f"Received: end_fraction={end_fraction}. Take 'linear' or 'cosine' to end at 0."
        )
    return peak * tf.constant(end_fraction, tf.float32) ** _progress(step, steps)


def step(step, *, peak: float, steps: int, drops: int = 2, drop_factor: float = 0.1) -> tf.Tensor:
    """Learning rate that drops by the same factor at even distances.

        rate(t) = peak * drop_factor ** floor(t * (drops + 1) / steps)

    Args:
        step: int or int64 tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate before the first drop.
        steps: int > drops, optimizer steps of the run, cut into `drops + 1` even parts.
        drops: int > 0, number of drops.
        drop_factor: float in (0, 1), the rate after a drop over the rate before it.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: an argument lies outside its range.

    Reference: He et al. 2016, https://arxiv.org/abs/1512.03385, section 3.4.
    """
    _check_steps(steps)
    if not (0 < drops < steps and 0 < drop_factor < 1):
        raise InputError(
            f"`drops` must lie between 1 and the run's last step, and `drop_factor` between 0 and 1. "
            f"Received: drops={drops}, drop_factor={drop_factor}, steps={steps}."
        )
    passed = tf.minimum(tf.cast(step, tf.int64) * (drops + 1) // steps, drops)
    return peak * tf.constant(drop_factor, tf.float32) ** tf.cast(passed, tf.float32)


def piecewise(
    step, *, peak: float, steps: int, boundaries_steps: Sequence[int], fractions: Sequence[float]
) -> tf.Tensor:
    """Learning rate that takes the levels it is told at the steps it is told.

        rate(t) = peak * (1, *fractions)[number of boundaries b with b <= t]

    Args:
        step: int or int64 tensor, 0 <= step.
        peak: float > 0, the rate before the first boundary.
        steps: int > 0, length of the run in optimizer steps; every boundary lies inside it.
        boundaries_steps: rising ints in (0, steps), the steps at which the rate changes.
        fractions: floats >= 0, one for each boundary: the rate from there on as a share of `peak`.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: the boundaries do not rise or lie outside the run, or there are not as many fractions.

    Example:
        >>> rates = piecewise(tf.range(4), peak=1.0, steps=4, boundaries_steps=[1, 3], fractions=[0.5, 0.25])
        >>> rates.numpy().tolist()
        [1.0, 0.5, 0.5, 0.25]
    """
    _check_steps(steps)
    edges = [0, *boundaries_steps, steps]
    if len(edges) < 3 or any(left >= right for left, right in zip(edges, edges[1:], strict=False)):
        raise InputError(
            f"`boundaries_steps` must rise and lie inside the run of {steps} steps. "
            f"Received: boundaries_steps={list(boundaries_steps)}."
        )
    if len(fractions) != len(boundaries_steps) or not all(fraction >= 0 for fraction in fractions):
        raise InputError(
            f"`fractions` must hold one share >= 0 for each of the {len(boundaries_steps)} boundaries. "
            f"Received: fractions={list(fractions)}."
        )
    levels = tf.constant([1.0, *fractions], tf.float32)
    return peak * tf.gather(levels, _count_passed(step, boundaries_steps))


def one_cycle(
    step,
    *,
    peak: float,
    steps: int,
    rise_fraction: float = 0.3,
    start_fraction: float = 0.04,
    end_fraction: float = 4e-6,
) -> tf.Tensor:
    """Learning rate that rises to `peak` along half a cosine and falls far below its start along another.

    Its rise is its warm-up, so it takes no other before it.

    Args:
        step: int or int64 tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the highest rate, at step `rise_fraction * steps`.
        steps: int > 0, optimizer steps of the whole cycle.
        rise_fraction: float in (0, 1), the share of the cycle that rises.
        start_fraction: float in [0, 1], the rate at step 0 as a share of `peak`.
        end_fraction: float in [0, 1], the rate at step `steps` as a share of `peak`.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: an argument lies outside its range.

    Reference: Smith and Topin 2018, https://arxiv.org/abs/1708.07120; the defaults are PyTorch's OneCycleLR.
    """
    _check_fraction("start_fraction", start_fraction)
    _check_fraction("end_fraction", end_fraction)
    if not 0 < rise_fraction < 1:
        raise InputError(f"`rise_fraction` must lie between 0 and 1. Received: rise_fraction={rise_fraction}.")
    progress = _progress(step, steps)
    rise = start_fraction + (1.0 - start_fraction) * (1.0 - _half_cosine(progress / rise_fraction))
    fall = end_fraction + (1.0 - end_fraction) * _half_cosine((progress - rise_fraction) / (1.0 - rise_fraction))
    return peak * tf.where(progress < rise_fraction, rise, fall)


def inverse_square_root(step, *, peak: float, steps: int, timescale_steps: int = 10_000) -> tf.Tensor:
    """Learning rate that falls with the square root of the step; it needs no end, so a run can be prolonged.

        rate(t) = peak * sqrt(timescale / (timescale + t))

    After a warm-up of w steps and with timescale_steps=w this is the Transformer's rate, peak * sqrt(w / step).

    Args:
        step: int or int64 tensor, 0 <= step.
        peak: float > 0, the rate at step 0.
        steps: int > 0, length of the run in optimizer steps; it changes nothing here.
        timescale_steps: int > 0; at three times this step the rate is half its peak.

    Returns:
        float32 tensor of the shape of `step`.

    Raises:
        InputError: `timescale_steps` is not positive.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 3.
    """
    _check_steps(steps)
    if not timescale_steps > 0:
        raise InputError(f"`timescale_steps` must be above 0. Received: timescale_steps={timescale_steps}.")
    return peak * tf.math.rsqrt(1.0 + tf.cast(step, tf.float32) / timescale_steps)


def _progress(step, steps: int) -> tf.Tensor:
    _check_steps(steps)
    return tf.minimum(tf.cast(step, tf.float32) / steps, 1.0)


def _half_cosine(progress) -> tf.Tensor:
    return 0.5 * (1.0 + tf.cos(math.pi * progress))


def _count_passed(step, boundaries: Sequence[int]) -> tf.Tensor:
    reached = tf.cast(step, tf.int64)[..., tf.newaxis] >= tf.constant(list(boundaries), tf.int64)
    return tf.reduce_sum(tf.cast(reached, tf.int32), axis=-1)


def _check_steps(steps: int) -> None:
    if not steps > 0:
        raise InputError(f"`steps` must be above 0, in optimizer steps. Received: steps={steps}.")


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise InputError(f"`{name}` must lie in [0, 1]. Received: {name}={fraction}.")
