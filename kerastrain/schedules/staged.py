"""Learning rates with stages, as pure functions of the optimizer step, like those of `smooth`.

The drops of `step` and `piecewise` are points in time ("at epoch 30"), so `curves.rate` counts their steps from the
start of the run. The steps of the other curves count from the end of the warm-up.
"""

from collections.abc import Sequence

from kerastrain.errors import InputError
from kerastrain.schedules.arrays import check_fraction, check_steps, floats, half_cosine, library, progress


def step(step, *, peak: float, steps: int, every_steps: int | None = None, drop_factor: float = 0.1):
    """Learning rate that drops by the same factor at regular intervals.

        rate(t) = peak * drop_factor ** floor(t / every)

    Args:
        step: int, or int array or tensor, 0 <= step, from the start of the run; past `steps` the rate stays.
        peak: float > 0, the rate before the first drop.
        steps: int > 0, optimizer steps of the run.
        every_steps: int in (0, steps), steps from one drop to the next; None for two drops that divide the run into thirds.
        drop_factor: float in (0, 1), the rate after a drop divided by the rate before it.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: an argument lies outside its range.

    Example:
        >>> [round(float(step(t, peak=1.0, steps=6, every_steps=2)), 3) for t in range(6)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]

    Reference: He et al. 2016, https://arxiv.org/abs/1512.03385, section 3.4.
    """
    check_steps(steps)
    if not 0 < drop_factor < 1:
        raise InputError(f"`drop_factor` must lie between 0 and 1. Received: drop_factor={drop_factor}.")
    if every_steps is not None and not 0 < every_steps < steps:
        raise InputError(
            f"`every_steps` must be above 0 and shorter than the run of {steps} steps, or the rate never drops. Received: "
            f"every_steps={every_steps}."
        )
    step = library(step).minimum(step, steps - 1)
    return peak * drop_factor ** floats(step * 3 // steps if every_steps is None else step // every_steps)


def piecewise(step, *, peak: float, steps: int, boundaries_steps: Sequence[int], fractions: Sequence[float]):
    """Piecewise-constant learning rate.

        rate(t) = peak * (1, *fractions)[number of boundaries b with b <= t]

    Args:
        step: int, or int array or tensor, 0 <= step, from the start of the run.
        peak: float > 0, the rate before the first boundary.
        steps: int > 0, length of the run in optimizer steps; every boundary lies inside it.
        boundaries_steps: sequence of rising ints in (0, steps), the steps at which the rate changes.
        fractions: sequence of floats >= 0, one for each boundary: the rate from there on as a fraction of `peak`.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: the boundaries do not rise or lie outside the run, or the number of fractions differs.

    Example:
        >>> import numpy as np
        >>> piecewise(np.arange(4), peak=1.0, steps=4, boundaries_steps=[1, 3], fractions=[0.5, 0.25]).tolist()
        [1.0, 0.5, 0.5, 0.25]
    """
    check_steps(steps)
    edges = [0, *boundaries_steps, steps]
    if len(edges) < 3 or any(left >= right for left, right in zip(edges, edges[1:], strict=False)):
        raise InputError(
            f"`boundaries_steps` must rise and lie inside the run of {steps} steps. "
            f"Received: boundaries_steps={list(boundaries_steps)}."
        )
    if len(fractions) != len(boundaries_steps) or not all(fraction >= 0 for fraction in fractions):
        raise InputError(
            f"`fractions` must hold one number >= 0 for each of the {len(boundaries_steps)} boundaries. "
            f"Received: fractions={list(fractions)}."
        )
    level = 1.0 + 0.0 * floats(step)
    for boundary, fraction in zip(boundaries_steps, fractions, strict=True):
        level = library(step).where(step >= boundary, fraction, level)
    return peak * level


def cosine_restarts(
    step,
    *,
    peak: float,
    steps: int,
    cycles: int = 3,
    cycle_growth: float = 2.0,
    peak_decay: float = 1.0,
    end_fraction: float = 0.0,
):
    """Learning rate that decreases along half a cosine in several cycles, and restarts at the top of each.

    Cycle i is `cycle_growth` times as long as cycle i - 1, and the cycles together fill the run. Its peak is
    `peak * peak_decay ** i`. Within a cycle of length L the rate is `cosine` with steps=L.

    Args:
        step: int, or int array or tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the rate at step 0.
        steps: int >= cycles, optimizer steps of all cycles together.
        cycles: int > 0, number of cycles; `cycles - 1` restarts.
        cycle_growth: float > 0, length of a cycle divided by the length of the previous cycle.
        peak_decay: float in [0, 1], peak of a cycle divided by the peak of the previous cycle.
        end_fraction: float in [0, 1], the rate at the end of a cycle as a fraction of its peak.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: an argument lies outside its range, or a cycle is shorter than one step.

    Reference: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5 and section 3.
    """
    check_steps(steps)
    check_fraction("end_fraction", end_fraction)
    check_fraction("peak_decay", peak_decay)
    if not (cycles >= 1 and cycle_growth > 0):
        raise InputError(
            f"`cycles` must be at least 1 and `cycle_growth` above 0. Received: cycles={cycles}, "
            f"cycle_growth={cycle_growth}."
        )
    lengths = [cycle_growth**cycle for cycle in range(cycles)]
    edges = [round(steps * sum(lengths[:cycle]) / sum(lengths)) for cycle in range(cycles + 1)]
    if len(set(edges)) <= cycles:
        raise InputError(
            f"each cycle must last at least one step. Received: cycles={cycles}, cycle_growth={cycle_growth} in a run "
            f"of {steps} steps. Lower `cycles` or `cycle_growth`."
        )
    # Compare integer boundaries: the closed formula with a logarithm can restart one step early or late.
    step = library(step).minimum(step, steps)
    rate = 0.0
    for cycle, (begin, end) in enumerate(zip(edges, edges[1:], strict=False)):
        fall = half_cosine(floats(step - begin) / (end - begin))
        top = peak * peak_decay**cycle
        rate = library(step).where(step >= begin, top * (end_fraction + (1.0 - end_fraction) * fall), rate)
    return rate


def one_cycle(
    step,
    *,
    peak: float,
    steps: int,
    rise_steps: int | None = None,
    start_fraction: float = 0.04,
    end_fraction: float = 4e-6,
):
    """Learning rate that rises to `peak` along half a cosine and decreases far below its start along another.

    Its rise is a warm-up, so it needs no `warmup`.

    Args:
        step: int, or int array or tensor, 0 <= step; past `steps` the rate stays at its end.
        peak: float > 0, the highest rate, at step `rise_steps`.
        steps: int > 0, optimizer steps of the whole cycle.
        rise_steps: int in (0, steps), steps from the start to the peak; None for 30 % of the cycle.
        start_fraction: float in [0, 1], the rate at step 0 as a fraction of `peak`.
        end_fraction: float in [0, 1], the rate at step `steps` as a fraction of `peak`.

    Returns:
        float of the kind and shape of `step`, float32 for tensors.

    Raises:
        InputError: an argument lies outside its range.

    Reference: Smith and Topin 2018, https://arxiv.org/abs/1708.07120; the defaults are PyTorch's OneCycleLR.
    """
    check_fraction("start_fraction", start_fraction)
    check_fraction("end_fraction", end_fraction)
    if rise_steps is not None and not 0 < rise_steps < steps:
        raise InputError(
            f"`rise_steps` must lie between 0 and the {steps} steps of the cycle. Received: rise_steps={rise_steps}."
        )
    passed, top = progress(step, steps), 0.3 if rise_steps is None else rise_steps / steps
    rise = start_fraction + (1.0 - start_fraction) * (1.0 - half_cosine(passed / top))
    fall = end_fraction + (1.0 - end_fraction) * half_cosine((passed - top) / (1.0 - top))
    return peak * library(step).where(passed < top, rise, fall)
