"""Batches of examples; each batch is a pure function of (examples, seed, step).

Takes `Examples`, returns a `tf.data.Dataset`. There is no shuffle buffer and no generator state, so a run can start at
any step without reading the examples before it, and two machines that share the seed share the order. Must not change
the examples' targets.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from kerastrain.data import sampling as draws
from kerastrain.data.augmentation import Augmentation
from kerastrain.data.examples import Examples
from kerastrain.data.read_errors import recording_errors
from kerastrain.data.released import releasable
from kerastrain.data.service import client, orders
from kerastrain.data.token_ids import TokenIds
from kerastrain.distribute.sharding import Devices
from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals import dataset_iterators
from kerastrain.system.resources import processor_count

Sampling = Literal["uniform", "balanced"]
_PREFETCHED = 4  # batches


def steps_per_epoch(examples: Examples, global_batch_size: int) -> int:
    """The number of batches in an epoch: ceil(n / global_batch_size), the last batch possibly smaller.

    Args:
        examples: Examples, n of them.
        global_batch_size: int >= 1, examples in a step over all devices.

    Returns:
        int >= 0.

    Raises:
        InputError: `global_batch_size` is below 1.
    """
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
    lengths: np.ndarray | None = None,
    devices: Devices | None = None,
    service: Sequence[str] = (),
) -> tf.data.Dataset:
    """Batches the examples of all epochs as one dataset of known length, each example once per epoch.

    Step s is batch s % steps_per_epoch of epoch s // steps_per_epoch. `data.sampling` decides which example is at each
    position of an epoch; its augmentation is drawn from (seed, epoch, position). To train on it, pass the steps to
    Keras: `model.fit(dataset, epochs=epochs, initial_epoch=start_step // steps, steps_per_epoch=steps, shuffle=False)`.

    Args:
        examples: Examples of images, texts or features.
        global_batch_size: int > 0, examples in a step over all devices; the last batch of an epoch holds the rest.
        shuffle: bool, a new order in every epoch; otherwise the order of `examples`.
        sampling: "uniform", or "balanced" to draw each class equally often in every epoch. An epoch over n examples of
            k classes still has n draws, n // k or one more of each class (see `sampling.balanced`). Requires `shuffle`
            and the task "single_label".
        seed: int in [0, 2**31), for the order and the augmentation.
        epochs: int > 0, passes over the examples.
        start_step: int in [0, epochs * steps_per_epoch], the first step of the dataset.
        augment: from `augment("resized_crop", "noise")`, or a callable (inputs, targets, weights if there are any,
            seeds=int64 (b, 2)) -> tuple of the same; None for evaluation.
        lengths: int array (n,), the length of each example, such as its tokens: the examples of a batch then have similar
            lengths, for a network that pads them to the longest (see `sampling.by_length`). None for no such order.
            Requires `shuffle`.
        devices: distribute.Devices whose rows of each batch are read, as `distribute.shard` asks for them; None for all rows.
            MixUp and CutMix read at most two rows more, and a callable `augment` of your own gets the whole batch.
        service: sequence of str "host:port", the decoding workers that read the images, see `kerastrain data-worker`; the batches
            are the same. Not with `lengths`. Empty to read in this process.

    Returns:
        tf.data.Dataset of (inputs, targets) or, for examples with weights, (inputs, targets, weights). Inputs are
        float32 (b, *shape), images in [0, 255]; texts are string (b,), and token ids int64 (b, tokens). Targets are
        float32 (b, len(labels)), one-hot for "single_label". Weights are float32 (b,). For examples with numbers, inputs
        are a tuple of these and of the numbers, float32 (b, k); `augment` does not get the numbers. With `devices`,
        tf.data.Dataset as from `distribute.rows_of_devices`.

    Raises:
        InputError: a number is out of range, there are no examples, or `augment` or `sampling` does not fit the
            examples or the order.
    """
    dataset_iterators.close_at_exit()
    steps = steps_per_epoch(examples, global_batch_size)
    _check(examples, seed=seed, epochs=epochs, start_step=start_step, last_step=epochs * steps)
    dtype = tf.as_dtype(examples.dtype)
    keeps_type = dtype == tf.string or isinstance(examples.inputs, TokenIds)
    if isinstance(augment, Augmentation):
        augment.check(examples)
    drawn = order_of_epochs(examples, global_batch_size, shuffle=shuffle, sampling=sampling, seed=seed, lengths=lengths)
    columns = [examples.targets] if examples.weights is None else [examples.targets, examples.weights]
    if examples.numbers is not None:
        columns.append(examples.numbers)

    def read_positions(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        first, size = first_and_size(step)
        begin, end = _rows_to_read(devices, augment, first, size)
        return step // steps, first + begin, first + end

    def first_and_size(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = step % steps * global_batch_size
        return first, tf.minimum(first + global_batch_size, len(examples)) - first

    images_of = None
    if service:
        if lengths is not None:
            raise InputError("`service` is for images, and `lengths` for texts. Received: both. Leave out one of them.")
        order = orders.of(examples, global_batch_size, shuffle=shuffle, sampling=sampling, seed=seed)
        images_of = client.Images(service, order, read_positions, start_step, epochs * steps, processor_count())

    def read_rows(step: np.ndarray, epoch: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        indices = drawn(int(epoch))[positions]
        inputs = examples.read(indices, int(epoch)) if images_of is None else images_of(int(step))
        return inputs, *(column[indices] for column in columns)

    read, tie = releasable(recording_errors(read_rows))

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        epoch, begin, end = read_positions(step)
        positions = tf.range(begin, end)
        types = (dtype, *(tf.as_dtype(column.dtype) for column in columns))
        inputs, *outputs = tf.numpy_function(read, [step, epoch, positions], types, stateful=False)
        inputs.set_shape((None, *examples.shape))
        for values, column in zip(outputs, columns, strict=True):
            values.set_shape((None, *column.shape[1:]))
        # Augmentation takes uint8 images, a quarter of the bytes of float32 ones.
        if not (keeps_type or (dtype == tf.uint8 and isinstance(augment, Augmentation))):
            inputs = tf.cast(inputs, tf.float32)
        numbers = outputs.pop() if examples.numbers is not None else None
        if examples.task == "single_label":
            outputs[0] = tf.one_hot(outputs[0], len(examples.labels))
        if augment is not None:
            seeds = tf.stack([tf.fill(tf.shape(positions), _epoch_key(seed, epoch)), positions], axis=1)
            inputs, *outputs = augment(inputs, *outputs, seeds=seeds)
        rows = (inputs if numbers is None else (inputs, numbers), *outputs)
        if devices is None:
            return rows
        first, size = first_and_size(step)
        wanted = [first + row - begin for row in devices.rows(size)]
        return tf.nest.map_structure(lambda values: values[wanted[0] : wanted[1]], rows), size

    if augment is None or (isinstance(augment, Augmentation) and not augment.functions):
        # A caller's function may need AutoGraph; ours do not, and AutoGraph takes seconds to convert them.
        batch = tf.autograph.experimental.do_not_convert(batch)
    dataset = tf.data.Dataset.range(start_step, epochs * steps)
    options = tf.data.Options()
    # An iterator that ends waits for the thread that tunes, for up to 1.2 s after 1,500 batches (TF 2.21).
    options.autotune.enabled = False
    # AUTOTUNE starts with one call at a time, and a short epoch ends before it has adapted: 0.77 times as many images
    # per second over 600 photos on two processors (TF 2.21).
    dataset = (
        dataset.map(batch, num_parallel_calls=processor_count(), deterministic=True)
        .prefetch(_PREFETCHED)
        .with_options(options)
    )
    tie(dataset)
    if images_of is not None:
        weakref.finalize(dataset, images_of.stop)
    return dataset


def indices(
    examples: Examples,
    global_batch_size: int,
    step: int,
    *,
    shuffle: bool = False,
    sampling: Sampling = "uniform",
    seed: int = 0,
    lengths: np.ndarray | None = None,
) -> np.ndarray:
    """Finds the examples in one batch of `batches`, so that a step can be traced back to its files.

    Args:
        examples: Examples.
        global_batch_size: as for `batches`.
        step: int >= 0, the batch, counted over all epochs.
        shuffle: as for `batches`.
        sampling: as for `batches`.
        seed: as for `batches`.
        lengths: as for `batches`.

    Returns:
        int64 array (b,), indices of `examples` in the order of the batch.
    """
    epoch, batch = divmod(step, steps_per_epoch(examples, global_batch_size))
    drawn = order_of_epochs(
        examples, global_batch_size, shuffle=shuffle, sampling=sampling, seed=seed, lengths=lengths
    )(epoch)
    return drawn[batch * global_batch_size : (batch + 1) * global_batch_size]


def order_of_epochs(
    examples: Examples,
    global_batch_size: int,
    *,
    shuffle: bool,
    sampling: str,
    seed: int,
    lengths: np.ndarray | None,
) -> Callable[[int], np.ndarray]:
    """Prepares the order of the examples in each epoch.

    Args:
        examples: Examples, n of them.
        global_batch_size: as for `batches`.
        shuffle: as for `batches`.
        sampling: as for `batches`.
        seed: as for `batches`.
        lengths: as for `batches`.

    Returns:
        callable from the number of an epoch to int64 (n,), the index of the example at each position.

    Raises:
        InputError: as for `batches`.
    """
    if sampling not in get_args(Sampling):
        raise InputError(unknown("`sampling`", sampling, get_args(Sampling)))
    if sampling == "balanced" and not shuffle:
        raise InputError("`sampling` 'balanced' draws examples in random order only. Add shuffle=True.")
    if sampling == "balanced" and examples.task != "single_label":
        raise InputError(
            f"`sampling` 'balanced' needs one class for each example. Received: task {examples.task!r}. "
            "Use 'uniform', and weights where some examples should count more."
        )
    if lengths is not None and not shuffle:
        raise InputError("`lengths` changes the order of shuffled examples. Add shuffle=True.")
    if lengths is not None and np.shape(lengths) != (len(examples),):
        raise InputError(
            f"`lengths` must hold one length for each of the {len(examples):,} examples. Received: shape "
            f"{np.shape(lengths)}."
        )

    @functools.lru_cache(maxsize=2)  # The end of an epoch and the start of the next may be read concurrently.
    def drawn(epoch: int) -> np.ndarray:
        if sampling == "balanced":
            order = draws.balanced(examples.targets, seed=seed, epoch=epoch)
        else:
            order = draws.order(len(examples), seed=seed, epoch=epoch) if shuffle else np.arange(len(examples))
        return order if lengths is None else draws.by_length(order, lengths, global_batch_size, seed=seed, epoch=epoch)

    return drawn


def _rows_to_read(
    devices: Devices | None, augment: Callable | None, first: tf.Tensor, size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows of a batch from position `first` that the rows of some devices depend on."""
    if devices is None or not (augment is None or isinstance(augment, Augmentation)):
        return tf.zeros((), tf.int64), size
    begin, end = devices.rows(size)
    if augment is not None and augment.mixes:  # with the partners of the first and the last row
        begin = tf.maximum((first + begin) // 2 * 2 - first, 0)
        end = tf.minimum((first + end + 1) // 2 * 2 - first, size)
    return begin, end


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
        raise InputError(f"`start_step` must lie in [0, {last_step}], the steps of all epochs. Received: {start_step}.")
