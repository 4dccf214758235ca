"""A curve as the schedule that Keras's optimizers take, with warm-up before any curve.

Takes the name of a curve (or a function like one) and its numbers; gives a `keras` LearningRateSchedule that survives
`.keras` files. Must not know of optimizers, epochs or configs: lengths are optimizer steps here.
"""

import inspect
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.schedules import curves


@keras.saving.register_keras_serializable("kerastrain")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate over the optimizer steps of a run: a warm-up in a straight line, then a curve.

        rate(t) = peak * (t + 1) / (warmup + 1)                    while t < warmup
        rate(t) = curve(t - warmup, peak, steps - warmup)          from then on

    No step has the rate 0, and the peak comes exactly at step `warmup_steps`.

    Args:
        curve: str, a key of `CURVES`, or a function of your own with the same signature,
            `curve(step, *, peak, steps, **arguments) -> float32 tensor`, registered with
            `@keras.saving.register_keras_serializable()` so that a saved optimizer finds it again.
        learning_rate: float > 0, the peak.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        warmup_steps: int in [0, steps).
        **arguments: further arguments of the curve.

    Raises:
        InputError: an unknown curve or argument, or a number outside its range.

    Example:
        >>> schedule = Schedule("linear", 1.0, steps=6, warmup_steps=1)
        >>> [round(float(schedule(step)), 2) for step in range(7)]
        [0.5, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    """

    def __init__(self, curve: str | Callable, learning_rate: float, *, steps: int, warmup_steps: int = 0, **arguments):
        super().__init__()
        self.curve = curve
        self.peak = float(learning_rate)
        self.steps = int(steps)
        self.warmup_steps = int(warmup_steps)
        self.arguments = arguments
        self._function = _curve_function(curve)
        _check_arguments(curve, self._function, arguments)
        _check_lengths(self.peak, self.steps, self.warmup_steps)
        if curve == "one_cycle" and self.warmup_steps:
            raise InputError(
                "schedule 'one_cycle' warms up by itself. Set `rise_fraction` instead of `warmup_steps`, or take "
                f"'cosine'. Received: warmup_steps={self.warmup_steps}."
            )
        _check_rate(curve, self)

    def __call__(self, step) -> tf.Tensor:
        """Learning rate, float32 scalar tensor, at `step`, an int or int64 scalar tensor >= 0."""
        step = tf.cast(step, tf.int64)
        after = tf.maximum(step - self.warmup_steps, 0)
        rate = self._function(after, peak=self.peak, steps=self.steps - self.warmup_steps, **self.arguments)
        rate = tf.cast(rate, tf.float32)
        if not self.warmup_steps:
            return rate
        rise = self.peak * tf.cast(step + 1, tf.float32) / (self.warmup_steps + 1)
        return tf.where(step < self.warmup_steps, rise, rate)

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them."""
        curve = self.curve if isinstance(self.curve, str) else keras.saving.serialize_keras_object(self.curve)
        return {
            "curve": curve,
            "learning_rate": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            **self.arguments,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Schedule":
        """The schedule that `get_config` described."""
        config = dict(config)
        if not isinstance(config["curve"], str):
            config["curve"] = keras.saving.deserialize_keras_object(config["curve"])
        return cls(config.pop("curve"), config.pop("learning_rate"), **config)


def make(
    name: str | Callable,
    learning_rate: float,
    *,
    steps: int,
    warmup_steps: int = 0,
    end_fraction: float | None = None,
    **arguments,
) -> Schedule:
    """The schedule of that name.

    Args:
        name: str, a key of `CURVES` ("constant", "cosine", …), or a function of your own; see `Schedule`.
        learning_rate: float > 0, the highest rate.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        warmup_steps: int in [0, steps), steps in which the rate rises from near 0 in a straight line.
        end_fraction: float in [0, 1], the final rate as a share of the highest; None for the curve's own default.
        **arguments: further arguments of the curve; see `kerastrain.schedules.curves`.

    Returns:
        A `Schedule`, to be given to an optimizer as its learning rate.

    Raises:
        InputError: an unknown name or argument, or a number outside its range.

    Example:
        >>> schedule = make("cosine", 1e-3, steps=1000, warmup_steps=50)
        >>> f"{float(schedule(50)):.4f}"
        '0.0010'
    """
    if end_fraction is not None:
        arguments["end_fraction"] = end_fraction
    if name == "inverse_square_root" and warmup_steps:
        arguments.setdefault("timescale_steps", warmup_steps)
    return Schedule(name, learning_rate, steps=steps, warmup_steps=warmup_steps, **arguments)


def _curve_function(curve: str | Callable) -> Callable:
    if isinstance(curve, str):
        if curve not in CURVES:
            raise InputError(unknown("schedule", curve, CURVES))
        return CURVES[curve]
    if not callable(curve):
        raise TypeError(
            f"`curve` must be the name of a schedule or a function. Received: {type(curve).__qualname__}. "
            f"Known names: {', '.join(sorted(CURVES))}."
        )
    if keras.saving.get_registered_object(keras.saving.get_registered_name(curve)) is not curve:
        raise InputError(
            f"a schedule's function must be registered, or a model saved with it could not be loaded. Received: "
            f"{curve.__qualname__}. Put `@keras.saving.register_keras_serializable()` above it."
        )
    return curve


def _check_arguments(curve: str | Callable, function: Callable, arguments: dict) -> None:
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = {name: parameter for name, parameter in parameters.items() if name not in ("step", "peak", "steps")}
    title = repr(curve) if isinstance(curve, str) else curve.__qualname__
    for name in arguments:
        if name not in known:
            if not known:
                raise InputError(f"schedule {title} takes no further arguments. Received: {name}. Leave it out.")
            raise InputError(unknown(f"argument of schedule {title}:", name, known))
    missing = [name for name, parameter in known.items() if parameter.default is parameter.empty]
    missing = [name for name in missing if name not in arguments]
    if missing:
        raise InputError(f"schedule {title} needs {' and '.join(f'`{name}`' for name in missing)}. Received: none.")


def _check_lengths(peak: float, steps: int, warmup_steps: int) -> None:
    if not (peak > 0 and math.isfinite(peak)):
        raise InputError(f"`learning_rate` must be above 0 and finite. Received: learning_rate={peak}.")
    if steps < 1:
        raise InputError(f"`steps` must be above 0, in optimizer steps. Received: steps={steps}.")
    if warmup_steps < 0:
        raise InputError(f"`warmup_steps` must be at least 0. Received: warmup_steps={warmup_steps}.")
    if warmup_steps >= steps:
        raise InputError(
            f"`warmup_steps` must be shorter than the run. Received: warmup_steps={warmup_steps}, the run has {steps} "
            f"steps. Lower the warm-up or train for longer."
        )


def _check_rate(curve: str | Callable, schedule: Schedule) -> None:
    """One traced call tells what a wrong function would otherwise tell in the middle of `fit`."""
    signature = tf.TensorSpec((), tf.int64)
    rate = tf.function(schedule, autograph=False).get_concrete_function(signature).output_shapes
    if rate.rank != 0:
        raise InputError(
            f"a schedule's function must give one rate for one step, a float32 scalar. Received: a tensor of shape "
            f"{rate} from {curve}."
        )


CURVES: dict[str, Callable] = {
    "constant": curves.constant,
    "linear": curves.linear,
    "polynomial": curves.polynomial,
    "cosine": curves.cosine,
    "cosine_restarts": curves.cosine_restarts,
    "exponential": curves.exponential,
    "step": curves.step,
    "piecewise": curves.piecewise,
    "one_cycle": curves.one_cycle,
    "inverse_square_root": curves.inverse_square_root,
}
