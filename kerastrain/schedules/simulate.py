"""A schedule looked at before anything is trained: its numbers, and a picture of them.

Takes a float or any schedule that a Keras optimizer takes. Must not need an optimizer or a model.
"""

import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import files


def simulate(schedule: float | keras.optimizers.schedules.LearningRateSchedule, steps: int) -> np.ndarray:
    """The learning rate that an optimizer would use at each step.

    Args:
        schedule: float, or a LearningRateSchedule of kerastrain, Keras or your own.
        steps: int >= 0, number of optimizer steps.

    Returns:
        float32 array of shape (steps,).

    Example:
        >>> from kerastrain import schedules
        >>> simulate(schedules.make("linear", 1.0, steps=4), 4).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    if not callable(schedule):
        return np.full(steps, schedule, np.float32)

    # One step at a time, as an optimizer asks: a schedule of someone else's may not take a vector.
    @tf.function(autograph=False)
    def rates() -> tf.Tensor:
        return tf.map_fn(
            lambda step: tf.cast(schedule(step), tf.float32),
            tf.range(steps, dtype=tf.int64),
            fn_output_signature=tf.TensorSpec((), tf.float32),
        )

    return rates().numpy()


def plot(
    schedule: float | keras.optimizers.schedules.LearningRateSchedule,
    steps: int,
    path: str | os.PathLike,
    *,
    steps_per_epoch: int | None = None,
) -> Path:
    """Draws the learning rate over the optimizer steps into a picture.

    Args:
        schedule: float, or a LearningRateSchedule.
        steps: int > 0, number of optimizer steps to draw.
        path: where the picture goes; its suffix (.png, .svg, .pdf) chooses the format.
        steps_per_epoch: int > 0; if given, a second axis counts the epochs.

    Returns:
        Path of the written picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(steps), simulate(schedule, steps), drawstyle="steps-post")
    axes.set(xlabel="optimizer step", ylabel="learning rate", xlim=(0, steps), ylim=(0, None))
    axes.grid(alpha=0.3)
    if steps_per_epoch:
        epochs = axes.secondary_xaxis("top", (lambda t: t / steps_per_epoch, lambda epoch: epoch * steps_per_epoch))
        epochs.set_xlabel("epoch")
    with files.atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)
