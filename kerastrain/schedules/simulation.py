"""Computes the learning rate of every step without training.

Takes a float or any schedule that a Keras optimizer takes; returns an array. Must not need an optimizer or a model.
"""

import keras
import numpy as np
import tensorflow as tf


def simulate(schedule: float | keras.optimizers.schedules.LearningRateSchedule, steps: int) -> np.ndarray:
    """The learning rate that an optimizer uses at each step.

    Args:
        schedule: float, or any keras LearningRateSchedule.
        steps: int >= 0, the number of optimizer steps.

    Returns:
        float32 array of shape (steps,).

    Example:
        >>> from kerastrain import schedules
        >>> simulate(schedules.make("linear", 1.0, steps=4), 4).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    if not callable(schedule):
        return np.full(steps, schedule, np.float32)

    # One step at a time, as an optimizer calls it: the schedule of another library may not accept a vector.
    @tf.function(autograph=False)
    def rates() -> tf.Tensor:
        return tf.map_fn(
            lambda step: tf.cast(schedule(step), tf.float32),
            tf.range(steps, dtype=tf.int64),
            fn_output_signature=tf.TensorSpec((), tf.float32),
        )

    return rates().numpy()
