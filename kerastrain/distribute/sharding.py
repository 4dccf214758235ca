"""Sharding of batches over the devices of all workers, so that each example is used exactly once.

Takes a `tf.data.Dataset` of global batches, or a function that makes one of the examples of some devices, and a strategy; returns
a distributed dataset for `fit`, `evaluate` and `predict`. Must not change the order or the contents of a batch.

TensorFlow's own sharding may drop or repeat examples when the batch or the number of batches is not a multiple of the
number of workers. Here device r of R gets the examples r * b // R to (r + 1) * b // R of each batch of b. A batch with
fewer examples than devices goes whole to every device and counts only on the first. No device ever gets an empty batch, on
which convolutions and pooling fail on a CPU (oneDNN) and the means of most models are NaN.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.train_step import keras_trainer
from kerastrain.train_step.shards import Shard


class Devices(NamedTuple):
    """The devices of one worker among those of all workers.

    Attributes:
        first: int >= 0, the number of its first device.
        count: int >= 1, the number of its devices.
        total: int >= 1, the number of devices of all workers.
    """

    first: int
    count: int
    total: int

    def rows(self, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The rows of a batch that these devices get.

        Args:
            size: int64 scalar tensor, the number of examples in the whole batch.

        Returns:
            tuple of int64 scalar tensors, the first row and the one after the last.
        """
        is_whole = size < self.total
        begin = tf.where(is_whole, tf.zeros((), tf.int64), size * self.first // self.total)
        return begin, tf.where(is_whole, size, size * (self.first + self.count) // self.total)


def rows_of_devices(dataset: tf.data.Dataset, devices: Devices) -> tf.data.Dataset:
    """Takes the rows of some devices from whole batches.

    Args:
        dataset: tf.data.Dataset of global batches.
        devices: Devices.

    Returns:
        tf.data.Dataset of (rows, size), tuples of a batch of these rows, and of the number of examples in the whole batch, int64.
    """

    def rows(*batch):
        size = tf.shape(keras.tree.flatten(batch)[0], out_type=tf.int64)[0]
        begin, end = devices.rows(size)
        return keras.tree.map_structure(lambda leaf: leaf[begin:end], batch), size

    return dataset.with_options(_without_auto_sharding()).map(rows)


def shard(
    dataset: tf.data.Dataset | Callable[[Devices | None], tf.data.Dataset], strategy: tf.distribute.Strategy
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Shards a dataset of global batches over the devices of a strategy; each device gets a `Shard` of each batch.

    Of a dataset, every worker reads the whole batches and keeps its part; a function makes a dataset of this part only, so that
    no example is read by two workers. `fit` then needs `steps_per_epoch`, because it does not know the length of a distributed
    dataset, and the model must use Keras's own steps, which are patched to accept a `Shard`.

    Args:
        dataset: tf.data.Dataset of global batches, the same and in the same order in all workers, such as
            `kerastrain.data.batches` returns; the last batch may be smaller, even smaller than the number of devices. Or a
            callable that gets Devices and returns such a dataset as from `rows_of_devices`, and of whole batches for None, such
            as `lambda devices: kerastrain.data.batches(examples, 128, devices=devices)`.
        strategy: tf.distribute.Strategy of this process.

    Returns:
        tf.distribute.DistributedDataset; `dataset` itself if the strategy has one device.

    Raises:
        InputError: the length of `dataset` is unknown or infinite.
        ImportError: the steps of this version of Keras cannot be patched.

    Example:
        >>> strategy = tf.distribute.get_strategy()
        >>> dataset = tf.data.Dataset.range(5).batch(3)
        >>> shard(dataset, strategy) is dataset
        True
    """
    replicas = strategy.num_replicas_in_sync
    make = (
        dataset
        if callable(dataset)
        else lambda devices: dataset if devices is None else rows_of_devices(dataset, devices)
    )
    if replicas == 1:
        return make(None)
    if not keras_trainer.is_patched():
        keras_trainer.patch()

    def worker_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        per_worker = context.num_replicas_in_sync // context.num_input_pipelines
        devices = Devices(context.input_pipeline_id * per_worker, per_worker, replicas)
        numbers = tf.range(devices.first, devices.first + per_worker, dtype=tf.int64)

        def shards(rows, size):
            return tf.data.Dataset.from_tensor_slices(numbers).map(
                lambda device: _shard_of(rows, size, device, devices)
            )

        parts = make(devices)
        steps = int(parts.cardinality())
        if steps < 0:
            raise InputError(
                "`dataset` must have a known, finite length, so that all workers stop at the same step. Received: unknown. "
                "Set it with `tf.data.experimental.assert_cardinality`."
            )
        sharded = parts.with_options(_without_auto_sharding()).flat_map(shards)
        return sharded.apply(tf.data.experimental.assert_cardinality(steps * per_worker))

    return strategy.distribute_datasets_from_function(worker_dataset)


def _shard_of(rows, size, device, devices: Devices) -> Shard:
    """The shard of a device, from the rows of all devices of its worker."""
    first, _ = devices.rows(size)
    begin, end = Devices(device, 1, devices.total).rows(size)
    parts = keras.tree.map_structure(lambda leaf: leaf[begin - first : end - first], rows)
    valid_count = tf.where((size < devices.total) & (device > 0), tf.zeros((), tf.int64), end - begin)
    return Shard(parts if len(parts) > 1 else parts[0], valid_count, size)


def _without_auto_sharding() -> tf.data.Options:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
