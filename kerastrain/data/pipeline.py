"""Examples become batches; each batch is a pure function of (examples, seed, step).

Takes `Examples`, gives `tf.data.Dataset`. There is no shuffle buffer and no generator state:
so a run can start at any step without reading what it skips, and two machines agree on the order by agreeing on the
seed. Must not change the examples' targets.
"""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from kerastrain.data import sampling as draws
from kerastrain.data.augmentation import Augmentation
from kerastrain.data.examples import Examples
from kerastrain.data.read_errors import recording_errors
from kerastrain.errors import InputError, unknown
from kerastrain.system.resources import processor_count

Sampling = Literal["uniform", "balanced"]


def steps_per_epoch(examples: Examples, global_batch_size: int) -> int:
    """Batches in an epoch of n draws from n examples: ceil(n / global_batch_size), the last one possibly smaller."""
    if global_batch_size < 1:
        raise InputError(f"`global_batch_size` must be >= 1. Received: {global_batch_size}.")
    return -(-len(examples) // global_batch_size)


def batches(
    examples: Examples,
    global_batch_size: int,
    *,
    shuffle: bool = False,
    sampling: Sampling = "uniform",
    seed: int = 0,
    epochs: int = 1,
    start_step: int = 0,
    augment: Augmentation | Callable[..., tuple[tf.Tensor, ...]] | None = None,
) -> tf.data.Dataset:
    """Batches of all epochs in one data set of known length, each example once per epoch.

    Step s is batch s % steps_per_epoch of epoch s // steps_per_epoch. The example at a position of an epoch is
    given by `data.sampling`, its augmentation is drawn from (seed, epoch, position). To fit with it, hand Keras the
    steps: `model.fit(data, epochs=epochs, initial_epoch=start_step // steps, steps_per_epoch=steps, shuffle=False)`.

    Args:
        examples: Examples, images, texts or features.
        global_batch_size: int > 0, examples in a step over all devices; the last batch of an epoch keeps the rest.
        shuffle: bool, a new order in every epoch; otherwise the order of `examples`.
        sampling: "uniform", or "balanced" to draw each class equally often in every epoch: of n examples with k classes
            still n draws, n // k or one more of each class (see `sampling.balanced`). Needs `shuffle` and one class
            for each example.
        seed: int in [0, 2**31), of the order and of the augmentation.
        epochs: int > 0, passes over the examples.
        start_step: int in [0, epochs * steps_per_epoch], the first step to give.
        augment: from `augment("resized_crop", "noise")`, or a callable (inputs, targets, weights if there are any,
            seeds=int64 (b, 2)) -> tuple of the same; None for evaluation.

    Returns:
        tf.data.Dataset of (inputs float32 (b, *shape), labels float32 (b, class_count) one-hot); images in
        [0, 255]. Texts are string (b,).

    Raises:
        InputError: a number is out of range, there are no examples, or `augment` or `sampling` does not go with the
            examples or the order.
    """
    steps = steps_per_epoch(examples, global_batch_size)
    _check(examples, seed=seed, epochs=epochs, start_step=start_step, last_step=epochs * steps)
    dtype = tf.as_dtype(examples.dtype)
    if isinstance(augment, Augmentation):
        augment.check(examples)
    drawn = _drawn(examples, shuffle=shuffle, sampling=sampling, seed=seed)
    columns = [examples.targets] if examples.weights is None else [examples.targets, examples.weights]

    @recording_errors
    def read(epoch: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        indices = drawn(int(epoch))[positions]
        return examples.read(indices), *(column[indices] for column in columns)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        epoch, first = step // steps, step % steps * global_batch_size
        positions = tf.range(first, tf.minimum(first + global_batch_size, len(examples)))
        types = (dtype, *(tf.as_dtype(column.dtype) for column in columns))
        inputs, *given = tf.numpy_function(read, [epoch, positions], types, stateful=False)
        inputs.set_shape((None, *examples.shape))
        for values, column in zip(given, columns, strict=True):
            values.set_shape((None, *column.shape[1:]))
        # Augmentation takes the bytes of images as they are kept, a quarter of what would have to be carried.
        if dtype != tf.string and not (dtype == tf.uint8 and isinstance(augment, Augmentation)):
            inputs = tf.cast(inputs, tf.float32)
        if examples.task == "single_label":
            given[0] = tf.one_hot(given[0], len(examples.labels))
        if augment is not None:
            seeds = tf.stack([tf.fill(tf.shape(positions), _epoch_key(seed, epoch)), positions], axis=1)
            inputs, *given = augment(inputs, *given, seeds=seeds)
        return inputs, *given

    if augment is None or (isinstance(augment, Augmentation) and not augment.functions):
        # A caller's function may need AutoGraph; ours need none, and it takes seconds to find that out.
        batch = tf.autograph.experimental.do_not_convert(batch)
    data = tf.data.Dataset.range(start_step, epochs * steps)
    # AUTOTUNE feels its way up from one call at a time, in which a short epoch is over: 0.77 times as many images per
    # second over 600 photos on two processors (TF 2.21).
    return data.map(batch, num_parallel_calls=processor_count(), deterministic=True).prefetch(tf.data.AUTOTUNE)


def indices(
    examples: Examples,
    global_batch_size: int,
    step: int,
    *,
    shuffle: bool = False,
    sampling: Sampling = "uniform",
    seed: int = 0,
) -> np.ndarray:
    """Which examples are in one batch of `batches`, so that a step can be traced back to its files.

    Args:
        examples: Examples.
        global_batch_size: as for `batches`.
        step: int >= 0, counted over all epochs.
        shuffle: as for `batches`.
        sampling: as for `batches`.
        seed: as for `batches`.

    Returns:
        int64 array (b,), indices of `examples` in the order of the batch.
    """
    epoch, batch = divmod(step, steps_per_epoch(examples, global_batch_size))
    drawn = _drawn(examples, shuffle=shuffle, sampling=sampling, seed=seed)(epoch)
    return drawn[batch * global_batch_size : (batch + 1) * global_batch_size]


def _drawn(examples: Examples, *, shuffle: bool, sampling: str, seed: int) -> Callable[[int], np.ndarray]:
    """The function from the number of an epoch to the index of the example at each of its positions."""
    if sampling not in get_args(Sampling):
        raise InputError(unknown("`sampling`", sampling, get_args(Sampling)))
    if sampling == "balanced" and not shuffle:
        raise InputError("`sampling` 'balanced' has no order but a random one. Add shuffle=True.")
    if sampling == "balanced" and examples.task != "single_label":
        raise InputError(
            f"`sampling` 'balanced' needs one class for each example. Received: task {examples.task!r}. "
            "Use 'uniform', and weights where some examples should count more."
        )

    @functools.lru_cache(maxsize=2)  # The end of an epoch and the beginning of the next may be read at once.
    def drawn(epoch: int) -> np.ndarray:
        if sampling == "balanced":
            return draws.balanced(examples.targets, seed=seed, epoch=epoch)
        return draws.order(len(examples), seed=seed, epoch=epoch) if shuffle else np.arange(len(examples))

    return drawn


def _epoch_key(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.left_shift(tf.constant(seed, tf.int64), 32) + epoch


def _check(examples: Examples, *, seed: int, epochs: int, start_step: int, last_step: int) -> None:
    if len(examples) == 0:
        raise InputError("`examples` must hold at least one example. Received: none.")
    if not 0 <= seed <= draws.LARGEST_SEED:
        raise InputError(f"`seed` must lie in [0, {draws.LARGEST_SEED}]. Received: {seed}.")
    if epochs < 1:
        raise InputError(f"`epochs` must be >= 1. Received: {epochs}.")
    if not 0 <= start_step <= last_step:
        raise InputError(
            f"`start_step` must lie in [0, {last_step}], the steps of {epochs} epochs. Received: {start_step}."
        )
