"""A curve as the schedule that Keras's optimizers take.

Takes the name of a curve (or a function like one) and its numbers; gives a `keras` LearningRateSchedule that survives
`.keras` files. Must not know of optimizers or configs.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.schedules import curves


@keras.saving.register_keras_serializable("kerastrain")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate over the optimizer steps of a run: a warm-up in a straight line, then a curve.

    The rate of a step is `curves.rate`; the peak comes exactly at step `warmup_steps`.

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

    def _check_rate(self) -> None:
        """One traced call tells what a wrong function would otherwise tell in the middle of `fit`."""
        signature = tf.TensorSpec((), tf.int64)
        rate = tf.function(self, autograph=False).get_concrete_function(signature).output_shapes
        if rate.rank != 0:
            raise InputError(
                f"a schedule's function must give one rate for one step, a float32 scalar. Received: a tensor of shape "
                f"{rate} from {self.curve}."
            )


def make(
    name: str | Callable, learning_rate: float, *, steps: int, steps_per_epoch: int | None = None, **arguments
) -> Schedule:
    """The schedule of that name.

    Args:
        name: str, a key of `CURVES` ("constant", "cosine", …), or a function of your own; see `Schedule`.
        learning_rate: float > 0, the highest rate.
        steps: int > 0, optimizer steps of the whole run, warm-up included.
        steps_per_epoch: int > 0, for lengths in epochs.
        **arguments: `warmup`, how long the rate first rises in a straight line, and further arguments of the curve; see
            `kerastrain.schedules.smooth` and `staged`. A length is "2 epochs", "500 steps" or "5%" of the run:
            `every="10 epochs"` is the curve's `every_steps=…`, which may be given as well.

    Returns:
        A `Schedule`, to be given to an optimizer as its learning rate.

    Raises:
        InputError: an unknown name or argument, or a number outside its range.

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
            f"a schedule's function must be registered, or a model saved with it could not be loaded. Received: "
            f"{curve.__qualname__}. Put `@keras.saving.register_keras_serializable()` above it."
        )
