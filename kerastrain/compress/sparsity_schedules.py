"""Schedules of the pruned fraction over the steps of a training.

A schedule is a callable from a step, int64 scalar tensor that counts from 1 (the first update of the weights), to
(bool update, float32 fraction) scalar tensors: whether the masks are recomputed in this step, and for which fraction of
zeros. The public schedules of tensorflow_model_optimization are such callables. Must not know of models.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError

Schedule = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """A fraction that increases fast at first, and slowly when few weights are left.

        fraction(t) = final + (initial - final) * (1 - (t - begin) / (end - begin)) ** power

    Masks are computed at `begin`, every `frequency` steps after it, and always at `end`, so that the final fraction is
    reached exactly. Before `begin` nothing is pruned; after `end` the masks stay the same.

    Args:
        final: float in [0, 1), the fraction at `end`.
        end: int >= 1, step of the last mask.
        begin: int in [1, end], step of the first mask.
        initial: float in [0, final], the fraction at `begin`.
        power: float > 0.
        frequency: int >= 1, steps from one mask to the next; each mask sorts every kernel.

    Raises:
        InputError: a value is out of range.

    Example:
        >>> update, fraction = Polynomial(0.8, end=100)(tf.constant(100, tf.int64))
        >>> bool(update), round(float(fraction), 6)
        (True, 0.8)

    Reference: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878, eq. 1.
    """

    final: float
    end: int
    begin: int = 1
    initial: float = 0.0
    power: float = 3.0
    frequency: int = 1

    def __post_init__(self):
        for name, is_valid, rule in (
            ("final", 0 <= self.final < 1, "must lie in [0, 1)"),
            ("initial", 0 <= self.initial <= self.final, "must lie in [0, `final`]"),
            ("begin", 0 < self.begin <= self.end, "must lie in [1, `end`]"),
            ("power", self.power > 0, "must be positive"),
            ("frequency", self.frequency > 0, "must be positive"),
        ):
            if not is_valid:
                raise InputError(f"`{name}` {rule}. Received: {getattr(self, name)!r}.")

    def __call__(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Whether masks are recomputed at `step`, and for which fraction."""
        step = tf.cast(step, tf.int64)
        due = tf.logical_or((step - self.begin) % self.frequency == 0, tf.equal(step, self.end))
        update = tf.logical_and(due, tf.logical_and(step >= self.begin, step <= self.end))
        progress = tf.cast(step - self.begin, tf.float32) / max(self.end - self.begin, 1)
        remaining = (1 - tf.clip_by_value(progress, 0.0, 1.0)) ** self.power if self.end > self.begin else 0.0
        return update, tf.cast(self.final + (self.initial - self.final) * remaining, tf.float32)


def for_run(fraction: float, steps: int) -> Polynomial:
    """The default schedule: it reaches `fraction` after half of the steps, and the second half recovers accuracy.

    Masks are computed about a hundred times, so that sorting costs little.

    Args:
        fraction: float in [0, 1), the final fraction.
        steps: int >= 1, updates of the weights in the training.

    Returns:
        Polynomial.
    """
    end = max(1, steps // 2)
    return Polynomial(fraction, end=end, frequency=max(1, end // 100))


def reached(schedule: Schedule, steps: int) -> float:
    """The fraction of the last mask that a schedule computes in a training; 0 if it computes none.

    Args:
        schedule: Schedule.
        steps: int >= 1, updates of the weights in the training.

    Returns:
        float in [0, 1].

    Example:
        >>> round(reached(Polynomial(0.5, end=10, frequency=4), 10), 6)
        0.5
        >>> round(reached(Polynomial(0.5, end=20), 10), 3)
        0.427
    """
    update, fraction = tf.map_fn(
        lambda step: tuple(tf.cast(value, tf.float32) for value in schedule(step)),
        tf.range(1, steps + 1, dtype=tf.int64),
        fn_output_signature=(tf.float32, tf.float32),
    )
    update_steps = np.flatnonzero(update.numpy())
    return float(fraction[update_steps[-1]]) if len(update_steps) else 0.0
