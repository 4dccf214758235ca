"""Examples become batches; each batch is a pure function of (examples, seed, step).

Takes `Examples`, gives `tf.data.Dataset`. There is no shuffle buffer and no generator state:
so a run can start at any step without reading what it skips, and two machines agree on the order by agreeing on the
seed. Must not change the examples' targets.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kerastrain.data.examples import Examples
from kerastrain.errors import InputError

_LARGEST_SEED = 2**31 - 1


def steps_per_epoch(examples: Examples, global_batch_size: int) -> int:
    """Batches that hold every example once: ceil(n / global_batch_size), the last one possibly smaller."""
    if global_batch_size < 1:
        raise InputError(f"`global_batch_size` must be >= 1. Received: {global_batch_size}.")
    return -(-len(examples) // global_batch_size)


def batches(
    examples: Examples,
    global_batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epochs: int = 1,
    start_step: int = 0,
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> tf.data.Dataset:
    """Batches of all epochs in one data set of known length, each example once per epoch.

    Step s is batch s % steps_per_epoch of epoch s // steps_per_epoch. The example at a position of an epoch is
    given by `order`, its augmentation is drawn from (seed, epoch, position). To fit with it, hand Keras the steps:
    `model.fit(data, epochs=epochs, initial_epoch=start_step // steps, steps_per_epoch=steps, shuffle=False)`.

    Args:
        examples: Examples, images, texts or features.
        global_batch_size: int > 0, examples in a step over all devices; the last batch of an epoch keeps the rest.
        shuffle: bool, a new order in every epoch; otherwise the order of `examples`.
        seed: int in [0, 2**31), of the order and of the augmentation.
        epochs: int > 0, passes over the examples.
        start_step: int in [0, epochs * steps_per_epoch], the first step to give.
        augment: callable (image float32 (height, width, 3) in [0, 255], seed int64 (2,)) -> image, such as
            `augment("crop", "noise")`, applied to each example; None for evaluation and for texts.

    Returns:
        tf.data.Dataset of (inputs float32 (b, *shape), labels float32 (b, class_count) one-hot); images in
        [0, 255]. Texts are string (b,).

    Raises:
        InputError: a number is out of range, there are no examples, or texts are to be augmented.
    """
    steps = steps_per_epoch(examples, global_batch_size)
    _check(examples, seed=seed, epochs=epochs, start_step=start_step, last_step=epochs * steps)
    dtype = tf.as_dtype(examples.dtype)
    if dtype == tf.string and augment is not None:
        raise InputError("`augment` changes images and cannot change texts. Leave it out.")
    columns = [examples.targets] if examples.weights is None else [examples.targets, examples.weights]

    def read(epoch: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        indices = order(len(examples), seed=seed, epoch=int(epoch))[positions] if shuffle else positions
        return examples.read(indices), *(column[indices] for column in columns)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        epoch, first = step // steps, step % steps * global_batch_size
        positions = tf.range(first, tf.minimum(first + global_batch_size, len(examples)))
        types = (dtype, *(tf.as_dtype(column.dtype) for column in columns))
        inputs, *given = tf.numpy_function(read, [epoch, positions], types, stateful=False)
        inputs.set_shape((None, *examples.shape))
        for values, column in zip(given, columns, strict=True):
            values.set_shape((None, *column.shape[1:]))
        inputs = inputs if dtype == tf.string else tf.cast(inputs, tf.float32)
        if examples.task == "single_label":
            given[0] = tf.one_hot(given[0], len(examples.labels))
        if augment is not None:
            seeds = tf.stack([tf.fill(tf.shape(positions), _epoch_key(seed, epoch)), positions], axis=1)
            inputs = tf.map_fn(lambda pair: augment(*pair), (inputs, seeds), fn_output_signature=tf.float32)
            inputs.set_shape((None, *examples.shape))
        return inputs, *given

    data = tf.data.Dataset.range(start_step, epochs * steps)
    return data.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


@functools.lru_cache(maxsize=8)
def order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Which example stands at each position of a shuffled epoch.

    The ranks of `count` raw words of the Philox generator keyed by (seed, epoch): NumPy keeps that stream the same for
    ever, which it does not promise for its shuffles. `tf.random.experimental.index_shuffle` needs no memory, but
    over 2,000 epochs it put some of 100 examples never first and others 62 times, where 20 were due (TF 2.21).

    Args:
        count: int > 0, examples in the epoch.
        seed: int in [0, 2**31).
        epoch: int >= 0.

    Returns:
        int64 array (count,), a permutation of [0, count) that depends on the arguments alone; not to be written to.
        A million examples take about 0.15 seconds, once in an epoch.

    Reference: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", https://doi.org/10.1145/2063384.2063405.
    """
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(count)
    return np.argsort(words, kind="stable")


def _epoch_key(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.left_shift(tf.constant(seed, tf.int64), 32) + epoch


def _check(examples: Examples, *, seed: int, epochs: int, start_step: int, last_step: int) -> None:
    if len(examples) == 0:
        raise InputError("`examples` must hold at least one example. Received: none.")
    if not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"`seed` must lie in [0, {_LARGEST_SEED}]. Received: {seed}.")
    if epochs < 1:
        raise InputError(f"`epochs` must be >= 1. Received: {epochs}.")
    if not 0 <= start_step <= last_step:
        raise InputError(
            f"`start_step` must lie in [0, {last_step}], the steps of {epochs} epochs. Received: {start_step}."
        )
