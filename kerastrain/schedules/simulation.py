"""A schedule looked at before anything is trained: the rate of every step.

Takes a float or any schedule that a Keras optimizer takes. Must not need an optimizer or a model.
"""

import keras
import numpy as np
import tensorflow as tf


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
