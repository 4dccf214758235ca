"""Sharding of batches over the devices of all workers, so that each example is used exactly once.

Takes a `tf.data.Dataset` of global batches and a strategy; returns a distributed dataset for `fit`, `evaluate` and
`predict`. Must not change the order or the contents of a batch.

TensorFlow's own sharding may drop or repeat examples when the batch or the number of batches is not a multiple of the
number of workers. Here device r of R gets the examples r * b // R to (r + 1) * b // R of each batch of b. A batch with
fewer examples than devices goes whole to every device and counts only on the first. No device ever gets an empty batch, on
which convolutions and pooling fail on a CPU (oneDNN) and the means of most models are NaN.
"""

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.train_step import keras_trainer
from kerastrain.train_step.shards import Shard


def shard(
    dataset: tf.data.Dataset, strategy: tf.distribute.Strategy
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Shards a dataset of global batches over the devices of a strategy; each device gets a `Shard` of each batch.

    Every worker reads the whole batches and keeps its part. `fit` then needs `steps_per_epoch`, because it does not know
    the length of a distributed dataset, and the model must use Keras's own steps, which are patched to accept a `Shard`.

    Args:
        dataset: tf.data.Dataset of global batches, the same and in the same order in all workers, such as
            `kerastrain.data.batches` returns; the last batch may be smaller, even smaller than the number of devices.
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
    if replicas == 1:
        return dataset
    if int(dataset.cardinality()) < 0:
        raise InputError(
            "`dataset` must have a known, finite length, so that all workers stop at the same step. Received: unknown. "
            "Set it with `tf.data.experimental.assert_cardinality`."
        )

    if not keras_trainer.is_patched():
        keras_trainer.patch()

    def worker_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        per_worker = context.num_replicas_in_sync // context.num_input_pipelines
        devices = tf.range(per_worker, dtype=tf.int64) + context.input_pipeline_id * per_worker

        def shards(*batch):
            return tf.data.Dataset.from_tensor_slices(devices).map(lambda device: _shard_of(batch, device, replicas))

        sharded = dataset.with_options(_without_auto_sharding()).flat_map(shards)
        return sharded.apply(tf.data.experimental.assert_cardinality(int(dataset.cardinality()) * per_worker))

    return strategy.distribute_datasets_from_function(worker_dataset)


def _shard_of(batch, device, replicas: int) -> Shard:
    size = tf.shape(keras.tree.flatten(batch)[0], out_type=tf.int64)[0]
    is_whole = size < replicas
    zero = tf.zeros((), tf.int64)
    begin = tf.where(is_whole, zero, size * device // replicas)
    end = tf.where(is_whole, size, size * (device + 1) // replicas)
    parts = keras.tree.map_structure(lambda leaf: leaf[begin:end], batch)
    valid_count = tf.where(is_whole & (device > 0), zero, end - begin)
    return Shard(parts if len(parts) > 1 else parts[0], valid_count, size)


def _without_auto_sharding() -> tf.data.Options:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
