"""Magnitude pruning while a model trains: its smallest weights become zero, and the others learn to do without them.

Takes a trained keras.Model and a data set, gives a new model whose zeros are exact. The masks live in the constraints of
the kernels, which every Keras optimizer applies inside its update: so pruning works with any train step, in graphs, under
XLA, on several replicas and in mixed precision. Must not change the model given, or write files.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastrain.compress import fine_tuning, sparsity_schedules
from kerastrain.compress.masks import Pattern
from kerastrain.compress.sparsity_masks import prunable, require_unconstrained
from kerastrain.errors import InputError


class Pruned(keras.constraints.Constraint):
    """Keeps a mask on a kernel and makes it anew when the schedule says so.

    Args:
        kernel: keras.Variable to prune.
        schedule: a schedule of `sparsity_schedules`.
        optimizer: keras.Optimizer whose `iterations` are the schedule's steps.
        pattern: Pattern that fits the kernel.
    """

    def __init__(self, kernel, schedule, optimizer, pattern: Pattern):
        self.schedule, self.optimizer, self.pattern = schedule, optimizer, pattern
        self.mask = keras.Variable(
            tf.ones(kernel.shape, kernel.dtype), trainable=False, name="mask", aggregation="only_first_replica"
        )

    def __call__(self, kernel):
        """The kernel under its mask."""
        kernel = tf.convert_to_tensor(kernel)
        # An optimizer counts an update after it has applied the constraints; schedules count from 1.
        update, fraction = self.schedule(tf.convert_to_tensor(self.optimizer.iterations) + 1)
        mask = tf.cond(update, lambda: self.pattern.mask(kernel, fraction), lambda: tf.convert_to_tensor(self.mask))
        self.mask.assign(mask)
        # Not a product: infinity times zero is no number.
        return tf.where(mask > 0, kernel, tf.zeros_like(kernel))


def prune(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    fraction: float,
    epochs: int,
    pattern: str = "1x1",
    schedule: sparsity_schedules.Schedule | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    learning_rate: float = 1e-3,
    loss: keras.losses.Loss | str | None = None,
    metrics: Sequence = (),
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> keras.Model:
    """A copy of `model`, fine-tuned while `fraction` of each of its trainable kernels becomes zero.

    Every kernel that fits the pattern ends with round(fraction * blocks) blocks of zeros, exactly; the others, depthwise
    kernels, embeddings and frozen layers stay dense. Zeros make a file small where it is compressed (gzip, app stores),
    not the float file itself.

    Args:
        model: keras.Model, built; not changed, and copied through its `.keras` form.
        dataset: tf.data.Dataset as for `fit`, of known length.
        fraction: float in (0, 1); for a pattern like "2:4" what the pattern says.
        epochs: int > 0, passes over `dataset`.
        pattern: "1x1", blocks like "1x4" (inputs x outputs), or "2:4" (two zeros of every four along input channels).
        schedule: None for cubic growth over the first half of the run; or one of `sparsity_schedules` or
            tensorflow_model_optimization.
        optimizer: fresh keras.optimizers.Optimizer, or None for Adam whose rate falls from `learning_rate` to 0 along a
            cosine.
        learning_rate: float > 0, used where `optimizer` is None.
        loss: as for `compile`, or None for the loss that `model` was compiled with.
        metrics: as for `compile`.
        validation_data: as for `fit`.
        callbacks: as for `fit`.
        verbose: as for `fit`.

    Returns:
        keras.Model, compiled, without constraints; `keep_zeros` holds its zeros through further training.

    Raises:
        InputError: an option breaks its rule, nothing is prunable, or the schedule does not reach `fraction` in this
            run.

    Reference: Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878.
    """
    pattern = Pattern.parse(pattern)
    steps = fine_tuning.steps(dataset, epochs, optimizer)
    schedule = schedule or sparsity_schedules.for_run(_fraction(fraction, pattern), steps)
    _require_reached(schedule, fraction, steps)
    loss = fine_tuning.loss_of(model, loss)
    pruned = fine_tuning.copy(model)
    pruned.compile(
        optimizer or fine_tuning.adam_with_cosine_decay(learning_rate, steps), loss=loss, metrics=list(metrics)
    )
    kernels = _attach(pruned, schedule, pattern)
    fine_tuning.fit(
        pruned, dataset, epochs=epochs, validation_data=validation_data, callbacks=callbacks, verbose=verbose
    )
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
        kernel.constraint = Pruned(kernel, schedule, model.optimizer, pattern)
    return kernels


def _detach(model: keras.Model, kernels: list[keras.Variable]) -> None:
    for kernel in kernels:
        # Callbacks and averages of weights (EMA) may have brought weights back behind the masks.
        value = tf.convert_to_tensor(kernel)
        kernel.assign(tf.where(tf.convert_to_tensor(kernel.constraint.mask) > 0, value, tf.zeros_like(value)))
        kernel.constraint = None
    model.train_function = None  # The traced step still holds the masks.


def _fraction(fraction: float, pattern: Pattern) -> float:
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
            f"`schedule` must reach the fraction {fraction:g} within the run. Received: one that ends at {reached:g} after "
            f"{steps} steps. Train longer, or lower its end step or frequency."
        )
