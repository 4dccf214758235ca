"""Magnitude pruning during training: the smallest weights become zero while the others adapt.

Takes a trained keras.Model and a dataset; returns a new model whose zeros are exact. The masks are in the constraints of
the kernels, which every Keras optimizer applies in its update step. So pruning works with any train step, in graphs,
under XLA, on several replicas and in mixed precision. Must not change the given model, or write files.
"""

import keras
import tensorflow as tf

from kerastrain.compress import sparsity_schedules
from kerastrain.compress.fine_tuning import FineTuning, compile_for_training, copy_model, count_steps, fit, resolve
from kerastrain.compress.masks import Pattern
from kerastrain.compress.sparsity_masks import prunable, require_unconstrained
from kerastrain.errors import InputError

_LEARNING_RATE = 1e-3


class PruningConstraint(keras.constraints.Constraint):
    """Applies a mask to a kernel, and recomputes the mask in the steps that the schedule selects.

    Args:
        kernel: keras.Variable to prune.
        schedule: a schedule as in `sparsity_schedules`.
        optimizer: keras.Optimizer, whose `iterations` count the steps of the schedule.
        pattern: Pattern that fits the kernel.
    """

    def __init__(self, kernel: keras.Variable, schedule, optimizer: keras.optimizers.Optimizer, pattern: Pattern):
        self.schedule, self.optimizer, self.pattern = schedule, optimizer, pattern
        self.mask = keras.Variable(
            tf.ones(kernel.shape, kernel.dtype), trainable=False, name="mask", aggregation="only_first_replica"
        )

    def __call__(self, kernel):
        """The masked kernel, of the same shape and dtype."""
        kernel = tf.convert_to_tensor(kernel)
        # `iterations` is incremented after the constraints are applied, and schedules count from 1.
        update, fraction = self.schedule(tf.convert_to_tensor(self.optimizer.iterations) + 1)
        mask = tf.cond(update, lambda: self.pattern.mask(kernel, fraction), lambda: tf.convert_to_tensor(self.mask))
        self.mask.assign(mask)
        # Not kernel * mask: infinity times zero is NaN.
        return tf.where(mask > 0, kernel, tf.zeros_like(kernel))


def prune(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    fraction: float,
    fine_tuning: FineTuning,
    pattern: str = "1x1",
    schedule: sparsity_schedules.Schedule | None = None,
) -> keras.Model:
    """Fine-tunes a copy of `model` while `fraction` of each of its trainable kernels becomes zero.

    Every kernel that fits the pattern ends with exactly round(fraction * blocks) blocks of zeros. Other kernels,
    depthwise kernels, embeddings and frozen layers stay dense. Zeros make a file smaller where it is compressed (gzip,
    app stores); they do not change the size of the float file.

    Args:
        model: keras.Model, built; not changed, and copied through its `.keras` form.
        dataset: tf.data.Dataset as for `fit`, of known length.
        fraction: float in (0, 1); for a pattern like "2:4" the fraction of that pattern.
        fine_tuning: FineTuning. The default learning rate is 1e-3.
        pattern: "1x1", blocks like "1x4" (inputs x outputs), or "2:4" (two zeros of every four along input channels).
        schedule: None for cubic growth over the first half of the training; or a schedule of `sparsity_schedules` or
            tensorflow_model_optimization.

    Returns:
        keras.Model, compiled, without constraints; `keep_zeros` preserves its zeros during further training.

    Raises:
        InputError: an option is invalid, nothing is prunable, or the schedule does not reach `fraction` in this
            training.

    Reference: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878.
    """
    pattern = Pattern.parse(pattern)
    steps = count_steps(dataset, fine_tuning.epochs, fine_tuning.optimizer)
    schedule = schedule or sparsity_schedules.for_run(_checked_fraction(fraction, pattern), steps)
    _require_reached(schedule, fraction, steps)
    fine_tuning = resolve(fine_tuning, model, learning_rate=_LEARNING_RATE)
    pruned = copy_model(model)
    compile_for_training(pruned, fine_tuning, steps)
    kernels = _attach(pruned, schedule, pattern)
    fit(pruned, dataset, fine_tuning)
    _detach(pruned, kernels)
    return pruned


def _attach(model: keras.Model, schedule, pattern: Pattern) -> list[keras.Variable]:
    trainable = list(prunable(model, trainable=True))
    kernels = [kernel for kernel in trainable if pattern.fits(tuple(kernel.shape))]
    if not kernels:
        raise InputError(
            f"`model` must have a trainable kernel that fits the pattern. Received: {model.name!r} with "
            f"{len(trainable)} trainable kernels. Unfreeze layers, or use the pattern '1x1'."
        )
    for kernel in kernels:
        require_unconstrained(kernel)
        kernel.constraint = PruningConstraint(kernel, schedule, model.optimizer, pattern)
    return kernels


def _detach(model: keras.Model, kernels: list[keras.Variable]) -> None:
    for kernel in kernels:
        # Callbacks and moving averages of weights (EMA) may have assigned values that are not masked.
        value = tf.convert_to_tensor(kernel)
        kernel.assign(tf.where(tf.convert_to_tensor(kernel.constraint.mask) > 0, value, tf.zeros_like(value)))
        kernel.constraint = None
    model.train_function = None  # The traced step still applies the masks.


def _checked_fraction(fraction: float, pattern: Pattern) -> float:
    if not 0 < fraction < 1:
        raise InputError(
            f"`fraction` must lie in (0, 1). Received: {fraction!r}. Give the share of zeros, such as 0.8."
        )
    if pattern.group and abs(fraction - pattern.zeros / pattern.group) > 1e-6:
        raise InputError(
            f"`fraction` must be {pattern.zeros / pattern.group:g} for the pattern {pattern.zeros}:{pattern.group}. "
            f"Received: {fraction!r}."
        )
    return fraction


def _require_reached(schedule, fraction: float, steps: int) -> None:
    reached = sparsity_schedules.reached(schedule, steps)
    if abs(reached - fraction) > 1e-4:
        raise InputError(
            f"`schedule` must reach the fraction {fraction:g} within the run. Received: a schedule that ends at "
            f"{reached:g} after {steps} steps. Train longer, or lower its end step or frequency."
        )
