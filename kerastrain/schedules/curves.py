"""The curves by name, the warm-up before them, and their lengths in epochs, steps or percent.

Takes a curve's name and numbers; returns learning rates. Must not import TensorFlow: a config is checked, and its rates
are plotted, before TensorFlow starts.
"""

import inspect
import math
from collections.abc import Callable, Mapping

from kerastrain import durations
from kerastrain.errors import InputError, unknown
from kerastrain.schedules import smooth, staged
from kerastrain.schedules.arrays import check_steps, floats, library

LENGTHS = ("warmup", "every", "rise", "timescale", "boundaries")
"""The arguments that are lengths of training; the curve's own argument has the suffix `_steps`, such as `every_steps`."""


def rate(
    step, curve: str | Callable, *, peak: float, steps: int, warmup_steps: int = 0, arguments: Mapping | None = None
):
    """The learning rate at `step`: a linear warm-up to the start of the curve, then the curve.

        rate(t) = curve(0) * (t + 1) / (warmup + 1)                while t < warmup
        rate(t) = curve(t - warmup, steps=steps - warmup)          from then on

    The warm-up has no step with rate 0. The steps of `step` and `piecewise` count from the start of the run:
    curve(t, steps=steps).

    Args:
        step: int, or int array or tensor, 0 <= step.
        curve: str, a key of `CURVES`, or a function with the same signature.
        peak: float > 0, the highest rate.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        warmup_steps: int in [0, steps), optimizer steps of the warm-up.
        arguments: mapping from str, further arguments of the curve.

    Returns:
        float32 array or tensor of the shape of `step`.

    Raises:
        InputError: an argument lies outside its range; see the curve.

    Example:
        >>> [round(float(rate(step, "linear", peak=1.0, steps=6, warmup_steps=1)), 2) for step in range(7)]
        [0.5, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    """
    function = CURVES.get(curve, curve)
    begin = 0 if function in FROM_THE_START else warmup_steps
    options = {"peak": peak, "steps": steps - begin, **(arguments or {})}
    after = floats(function(library(step).maximum(step - begin, 0), **options))
    if not warmup_steps:
        return after
    rise = floats(function(0 * step, **options)) * floats(step + 1) / (warmup_steps + 1)
    return library(step).where(step < warmup_steps, rise, after)


def check(
    curve: str | Callable, *, peak: float, steps: int, warmup_steps: int = 0, arguments: Mapping | None = None
) -> None:
    """Checks the arguments of a schedule.

    Args:
        curve: str, a key of `CURVES`, or a function with the same signature.
        peak: float > 0, the highest rate.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        warmup_steps: int in [0, steps), optimizer steps of the warm-up.
        arguments: mapping from str, further arguments of the curve.

    Raises:
        InputError: the curve or an argument is unknown, an argument is missing, or a number lies outside its range.
    """
    _check_arguments(curve, arguments or {})
    check_steps(steps)
    if not (peak > 0 and math.isfinite(peak)):
        raise InputError(f"`learning_rate` must be above 0 and finite. Received: learning_rate={peak}.")
    if warmup_steps < 0:
        raise InputError(f"`warmup_steps` must be at least 0. Received: warmup_steps={warmup_steps}.")
    if warmup_steps >= steps:
        raise InputError(
            f"`warmup_steps` must be shorter than the run. Received: warmup_steps={warmup_steps}, the run has {steps} "
            f"steps. Lower the warm-up or train for longer."
        )
    if not isinstance(curve, str):
        return
    values = (rate(step, curve, peak=peak, steps=steps, arguments=arguments) for step in (0, warmup_steps))
    first, reached = map(float, values)
    if warmup_steps and first == 0:
        raise InputError(
            f"schedule {curve!r} begins at 0 here, and a warm-up would stay at 0. Received: warmup_steps="
            f"{warmup_steps}. Leave the warm-up out, or raise the start of the curve."
        )
    if CURVES[curve] in FROM_THE_START and first != reached:
        raise InputError(
            f"the warm-up must end before the first drop of schedule {curve!r}. Received: warmup_steps={warmup_steps}, "
            f"where the rate has dropped to {reached / peak:g} of its peak. Lower the warm-up."
        )


def arguments_of(curve: str | Callable) -> dict[str, bool]:
    """The further arguments of a curve.

    Args:
        curve: str, a key of `CURVES`, or a function with the same signature.

    Returns:
        dict from an argument's name to a bool, whether it is required.

    Raises:
        InputError: there is no curve of that name.

    Example:
        >>> arguments_of("piecewise")
        {'boundaries_steps': True, 'fractions': True}
    """
    if isinstance(curve, str) and curve not in CURVES:
        raise InputError(unknown("schedule", curve, CURVES))
    parameters = inspect.signature(CURVES.get(curve, curve)).parameters.values()
    named = (entry for entry in parameters if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL))
    return {entry.name: entry.default is entry.empty for entry in named if entry.name not in ("step", "peak", "steps")}


def resolved(curve: str | Callable, arguments: Mapping, *, steps: int, steps_per_epoch: int | None = None) -> dict:
    """Converts the lengths among the arguments of a curve to steps.

    Args:
        curve: str, a key of `CURVES`, or a function.
        arguments: mapping from str; a length is "2 epochs", "500 steps", "5%" of the run or an int of steps, and
            `boundaries` a sequence of lengths.
        steps: int > 0, optimizer steps of the run.
        steps_per_epoch: int > 0, optimizer steps of an epoch; may be None if no length is in epochs.

    Returns:
        dict of the arguments, each length in steps, such as {"warmup_steps": 50, "every_steps": 200}. The timescale of an
        inverse square root defaults to its warm-up.

    Raises:
        InputError: a length cannot be read, or is in epochs and `steps_per_epoch` is None.

    Example:
        >>> resolved("step", {"every": "2 epochs", "drop_factor": 0.5}, steps=1000, steps_per_epoch=100)
        {'every_steps': 200, 'drop_factor': 0.5}
    """

    def in_steps(length):
        if isinstance(length, list | tuple):
            return [in_steps(part) for part in length]
        parsed = durations.parse(length)
        if parsed.unit == "epochs" and steps_per_epoch is None:
            raise InputError(
                f"a length in epochs needs `steps_per_epoch`. Received: {length!r}. Set it, or write steps or percent."
            )
        return parsed.steps(steps_per_epoch=steps_per_epoch or 1, total_steps=steps)

    lengths = {f"{name}_steps": in_steps(value) for name, value in arguments.items() if name in LENGTHS}
    converted = {**lengths, **{name: value for name, value in arguments.items() if name not in LENGTHS}}
    if curve == "inverse_square_root" and converted.get("warmup_steps"):
        converted.setdefault("timescale_steps", converted["warmup_steps"])
    return converted


def _check_arguments(curve: str | Callable, arguments: Mapping) -> None:
    known = arguments_of(curve)
    title = repr(curve) if isinstance(curve, str) else curve.__qualname__
    parameters = inspect.signature(CURVES.get(curve, curve)).parameters.values()
    takes_all = any(entry.kind is entry.VAR_KEYWORD for entry in parameters)
    for name in arguments:
        if name not in known and not takes_all:
            if not known:
                raise InputError(f"schedule {title} takes no further arguments. Received: {name}. Leave it out.")
            raise InputError(unknown(f"argument of schedule {title}:", name, known))
    missing = [f"`{name}`" for name, required in known.items() if required and name not in arguments]
    if missing:
        raise InputError(f"schedule {title} needs {' and '.join(missing)}. Received: none.")


CURVES: dict[str, Callable] = {
    "constant": smooth.constant,
    "linear": smooth.linear,
    "polynomial": smooth.polynomial,
    "cosine": smooth.cosine,
    "cosine_restarts": staged.cosine_restarts,
    "exponential": smooth.exponential,
    "step": staged.step,
    "piecewise": staged.piecewise,
    "one_cycle": staged.one_cycle,
    "inverse_square_root": smooth.inverse_square_root,
}

FROM_THE_START = (staged.step, staged.piecewise)
"""The curves whose steps count from the start of the run instead of the end of the warm-up."""
