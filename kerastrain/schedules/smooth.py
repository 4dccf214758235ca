"""Continuous learning rates as pure functions of the optimizer step.

Takes a step: an int, or an int array of NumPy or tensor of TensorFlow of any shape; returns floats of the same kind and
shape. `curves.rate` adds the warm-up. Must not hold state or know of Keras's classes.

Past its last step every curve stays at its last value, so that the rate of a prolonged run does not rise again.
"""

from kerastrain.errors import InputError
from kerastrain.schedules.arrays import check_fraction, check_steps, floats, half_cosine, library, progress


def constant(step, *, peak: float, steps: int):
    """Constant learning rate.

        rate(t) = peak

    Args:
        step: int, or int array or tensor, 0 <= step.
        peak: float > 0, the learning rate.
        steps: int > 0, length of the run in optimizer steps; it has no effect here.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Example:
        >>> float(constant(7, peak=0.5, steps=10))
        0.5
    """
    check_steps(steps)
    return peak + 0.0 * floats(step)


def linear(step, *, peak: float, steps: int, end_fraction: float = 0.0):
    """Learning rate that decreases linearly from `peak`: `polynomial` with power 1.

        rate(t) = peak * (end + (1 - end) * (1 - t / steps))

    Args:
        step: int, or int array or tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        end_fraction: float in [0, 1], the final rate as a fraction of `peak`.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: `steps` is not positive or `end_fraction` lies outside [0, 1].

    Example:
        >>> float(linear(5, peak=1.0, steps=10))
        0.5
    """
    return polynomial(step, peak=peak, steps=steps, power=1.0, end_fraction=end_fraction)


def polynomial(step, *, peak: float, steps: int, power: float = 2.0, end_fraction: float = 0.0):
    """Learning rate that decreases from `peak` with a power of the remaining fraction of the run.

        rate(t) = peak * (end + (1 - end) * (1 - t / steps) ** power)

    Args:
        step: int, or int array or tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        power: float > 0; 1 is linear, 2 decreases fast first and then slowly.
        end_fraction: float in [0, 1], the final rate as a fraction of `peak`.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: an argument lies outside its range.

    Reference: Liu et al. 2015, https://arxiv.org/abs/1506.04579, section 3.3 (the "poly" rate).
    """
    check_fraction("end_fraction", end_fraction)
    if not power > 0:
        raise InputError(f"`power` must be above 0. Received: power={power}.")
    return peak * (end_fraction + (1.0 - end_fraction) * (1.0 - progress(step, steps)) ** power)


def cosine(step, *, peak: float, steps: int, end_fraction: float = 0.0):
    """Learning rate that decreases from `peak` along half a cosine; the usual choice for fine-tuning.

        rate(t) = peak * (end + (1 - end) * (1 + cos(pi * t / steps)) / 2)

    Args:
        step: int, or int array or tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        end_fraction: float in [0, 1], the final rate as a fraction of `peak`.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: `steps` is not positive or `end_fraction` lies outside [0, 1].

    Example:
        >>> round(float(cosine(5, peak=1.0, steps=10)), 6)
        0.5

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5 without restarts.
    """
    check_fraction("end_fraction", end_fraction)
    return peak * (end_fraction + (1.0 - end_fraction) * half_cosine(progress(step, steps)))


def exponential(step, *, peak: float, steps: int, end_fraction: float = 0.01):
    """Learning rate that decreases by the same factor in every step.

        rate(t) = peak * end ** (t / steps)

    Args:
        step: int, or int array or tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int > 0, optimizer steps from the peak to the end.
        end_fraction: float in (0, 1], the final rate as a fraction of `peak`.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: `steps` is not positive or `end_fraction` lies outside (0, 1].

    Example:
        >>> round(float(exponential(5, peak=1.0, steps=10, end_fraction=0.01)), 6)
        0.1
    """
    if not 0 < end_fraction <= 1:
        raise InputError(
            f"`end_fraction` of an exponential schedule must lie in (0, 1], since it never reaches 0. "
            f"Received: end_fraction={end_fraction}. Use 'linear' or 'cosine' to end at 0."
        )
    return peak * end_fraction ** progress(step, steps)


def inverse_square_root(step, *, peak: float, steps: int, timescale_steps: int = 10_000):
    """Learning rate that decreases with the square root of the step; it does not depend on the length of the run.

        rate(t) = peak / sqrt(1 + t / timescale)

    After a warm-up of w steps and with timescale_steps=w this is the Transformer's rate, peak * sqrt(w / step).

    Args:
        step: int, or int array or tensor, 0 <= step.
        peak: float > 0, the rate at step 0.
        steps: int > 0, length of the run in optimizer steps; it has no effect here.
        timescale_steps: int > 0; at three times this step the rate is half its peak.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: `timescale_steps` is not positive.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 3.
    """
    check_steps(steps)
    if not timescale_steps > 0:
        raise InputError(f"`timescale_steps` must be above 0. Received: timescale_steps={timescale_steps}.")
    return peak / library(step).sqrt(1.0 + floats(step) / timescale_steps)
