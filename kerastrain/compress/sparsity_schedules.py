"""How sparse a network is at each step of its pruning, and whether the run is long enough to get there.

A schedule is a callable from a step, int64 scalar tensor counted from 1 (the first update of the weights), to
(update: bool, fraction: float32) scalar tensors: whether masks are made anew at this step, and for which fraction. The
public schedules of tensorflow_model_optimization are such callables. Must not know of models.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError

Schedule = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """A fraction that rises fast while weights are plenty and slowly where they become scarce.

        fraction(t) = final + (initial - final) * (1 - (t - begin) / (end - begin)) ** power

    Masks are made at `begin`, at every `frequency` steps after it, and always at `end`: the target is never missed by
    a remainder. Before `begin` nothing is pruned, after `end` the masks stay.

    Args:
        final: float in [0, 1), the fraction at `end`.
        end: int, step of the last mask.
        begin: int, 0 < begin <= end, step of the first mask.
        initial: float in [0, final], the fraction at `begin`.
        power: float > 0.
        frequency: int > 0, steps from one mask to the next; each costs a sort of every kernel.

    Raises:
        InputError: a value lies outside its range.

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
        for name, fits, rule in (
            ("final", 0 <= self.final < 1, "must lie in [0, 1)"),
            ("initial", 0 <= self.initial <= self.final, "must lie in [0, `final`]"),
            ("begin", 0 < self.begin <= self.end, "must lie in [1, `end`]"),
            ("power", self.power > 0, "must be positive"),
            ("frequency", self.frequency > 0, "must be positive"),
        ):
            if not fits:
                raise InputError(f"`{name}` {rule}. Received: {getattr(self, name)!r}.")

    def __call__(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Whether masks are made at `step`, and for which fraction."""
        step = tf.cast(step, tf.int64)
        due = tf.logical_or((step - self.begin) % self.frequency == 0, tf.equal(step, self.end))
        update = tf.logical_and(due, tf.logical_and(step >= self.begin, step <= self.end))
        progress = tf.cast(step - self.begin, tf.float32) / max(self.end - self.begin, 1)
        left = (1 - tf.clip_by_value(progress, 0.0, 1.0)) ** self.power if self.end > self.begin else 0.0
        return update, tf.cast(self.final + (self.initial - self.final) * left, tf.float32)


def for_run(fraction: float, steps: int) -> Polynomial:
    """The schedule that reaches `fraction` halfway through a run of `steps`, and leaves the rest to recover.

    Masks are made about a hundred times, so that sorting costs little.
    """
    end = max(1, steps // 2)
    return Polynomial(fraction, end=end, frequency=max(1, end // 100))


def reached(schedule: Schedule, steps: int) -> float:
    """The fraction of the last mask that `schedule` makes in a run of `steps`; 0 where it makes none.

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
    made = np.flatnonzero(update.numpy())
    return float(fraction[made[-1]]) if len(made) else 0.0
