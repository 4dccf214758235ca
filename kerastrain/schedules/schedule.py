"""A curve as a LearningRateSchedule for Keras's optimizers.

Takes the name of a curve (or a function with the same signature) and its numbers; returns a Keras LearningRateSchedule
that is saved in `.keras` files. Must not know of optimizers or configs.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.schedules import curves


@keras.saving.register_keras_serializable("kerastrain")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate over the optimizer steps of a run: a linear warm-up, then a curve.

    `curves.rate` computes the rate of a step; the curve begins at step `warmup_steps`.

    Args:
        curve: str, a key of `CURVES`, or your own function with the same signature,
            `curve(step, *, peak, steps, **arguments) -> float32 tensor`, registered with
            `@keras.saving.register_keras_serializable()` so that a saved optimizer can be loaded.
        learning_rate: float > 0, the peak.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        warmup_steps: int in [0, steps), optimizer steps of the warm-up.
        **arguments: further arguments of the curve.

    Raises:
        InputError: the curve or an argument is unknown, or a number lies outside its range.
        TypeError: `curve` is neither a name nor a function.

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
        _check_function(curve)
        curves.check(curve, peak=self.peak, steps=self.steps, warmup_steps=self.warmup_steps, arguments=arguments)
        if callable(curve):
            self._check_rate()

    def __call__(self, step) -> tf.Tensor:
        """Learning rate, float32 scalar tensor, at `step`, an int or int64 scalar tensor >= 0."""
        return curves.rate(
            tf.cast(step, tf.int64),
            self.curve,
            peak=self.peak,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            arguments=self.arguments,
        )

    def get_config(self) -> dict:
        """The constructor's arguments as JSON values."""
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
        """The schedule of a config from `get_config`."""
        config = dict(config)
        if not isinstance(config["curve"], str):
            config["curve"] = keras.saving.deserialize_keras_object(config["curve"])
        return cls(config.pop("curve"), config.pop("learning_rate"), **config)

    def _check_rate(self) -> None:
        """Traces the function once, so that a wrong one fails here and not during `fit`."""
        signature = tf.TensorSpec((), tf.int64)
        rate = tf.function(self, autograph=False).get_concrete_function(signature).output_shapes
        if rate.rank != 0:
            raise InputError(
                f"a schedule's function must return one rate for one step, a float32 scalar. Received: a tensor of shape "
                f"{rate} from {self.curve}."
            )


def make(
    name: str | Callable, learning_rate: float, *, steps: int, steps_per_epoch: int | None = None, **arguments
) -> Schedule:
    """The schedule of a curve, with lengths in epochs, steps or percent.

    Args:
        name: str, a key of `CURVES` ("constant", "cosine", …), or your own function; see `Schedule`.
        learning_rate: float > 0, the highest rate.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        steps_per_epoch: int > 0, optimizer steps of an epoch, for lengths in epochs.
        **arguments: `warmup`, the length of the linear warm-up, and further arguments of the curve; see
            `kerastrain.schedules.smooth` and `staged`. A length is "2 epochs", "500 steps" or "5%" of the run:
            `every="10 epochs"` sets the curve's `every_steps`, which may be set directly instead.

    Returns:
        Schedule, the `learning_rate` of an optimizer.

    Raises:
        InputError: the name or an argument is unknown, or a number lies outside its range.
        TypeError: `name` is neither a name nor a function.

    Example:
        >>> schedule = make("cosine", 1e-3, steps=1000, warmup="5%")
        >>> f"{float(schedule(50)):.4f}"
        '0.0010'
    """
    return Schedule(
        name,
        learning_rate,
        steps=steps,
        **curves.resolved(name, arguments, steps=steps, steps_per_epoch=steps_per_epoch),
    )


def _check_function(curve: str | Callable) -> None:
    if isinstance(curve, str):
        return
    if not callable(curve):
        raise TypeError(
            f"`curve` must be the name of a schedule or a function. Received: {type(curve).__qualname__}. "
            f"Known names: {', '.join(sorted(curves.CURVES))}."
        )
    if keras.saving.get_registered_object(keras.saving.get_registered_name(curve)) is not curve:
        raise InputError(
            f"a schedule's function must be registered, or a model saved with it cannot be loaded. Received: "
            f"{curve.__qualname__}. Put `@keras.saving.register_keras_serializable()` above it."
        )
