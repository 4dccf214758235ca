"""Whole batches, divided among the devices of all workers so that each example is seen exactly once.

Takes a `tf.data.Dataset` of global batches and a strategy; gives a distributed data set for `fit`, `evaluate` and
`predict`. Must not change the order or the contents of a batch.

TensorFlow's own division may drop or repeat examples when the batch or the number of batches does not divide by the
number of workers; here device r of R takes the examples r * b // R to (r + 1) * b // R of each batch of b. A batch of
fewer examples than devices goes whole to each of them, and counts on the first alone: no device is ever asked about no
example, for which convolutions and pooling fail on a CPU (oneDNN) and the means of most models are no numbers.
"""

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.train_step import keras_trainer
from kerastrain.train_step.shards import Shard


def shard(
    data: tf.data.Dataset, strategy: tf.distribute.Strategy
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """`data` for the devices of `strategy`, a `Shard` for each; unchanged where there is only one.

    Every worker reads the whole batches and keeps its part. `fit` then needs `steps_per_epoch`, since the length of
    a distributed data set is not known to it, and the model must take Keras's own steps, which are mended for the process
    to know a `Shard`.

    Args:
        data: tf.data.Dataset of global batches, the same and in the same order in all workers, such as
            `kerastrain.data.batches` gives; the last batch may be smaller, even smaller than the number of devices.
        strategy: tf.distribute.Strategy.

    Returns:
        tf.distribute.DistributedDataset, or `data` itself.

    Raises:
        InputError: `data` is not of known, finite length.
        ImportError: this Keras is not one whose steps can be mended.

    Example:
        >>> strategy = tf.distribute.get_strategy()
        >>> data = tf.data.Dataset.range(5).batch(3)
        >>> divided(data, strategy) is data
        True
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return data
    if int(data.cardinality()) < 0:
        raise InputError(
            "`data` must have a known, finite length, so that all workers stop at the same step. Received: unknown. "
            "Give it one with `tf.data.experimental.assert_cardinality`."
        )

    if not keras_trainer.is_patched():
        keras_trainer.patch()

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        per_worker = context.num_replicas_in_sync // context.num_input_pipelines
        devices = tf.range(per_worker, dtype=tf.int64) + context.input_pipeline_id * per_worker

        def parts(*batch):
            return tf.data.Dataset.from_tensor_slices(devices).map(lambda device: _shard_of(batch, device, replicas))

        whole = data.with_options(_without_sharding())
        shares = whole.flat_map(parts)
        return shares.apply(tf.data.experimental.assert_cardinality(int(data.cardinality()) * per_worker))

    return strategy.distribute_datasets_from_function(of_worker)


def _shard_of(batch, device, replicas: int) -> Shard:
    size = tf.shape(keras.tree.flatten(batch)[0], out_type=tf.int64)[0]
    is_whole = size < replicas
    none = tf.zeros((), tf.int64)
    begin = tf.where(is_whole, none, size * device // replicas)
    end = tf.where(is_whole, size, size * (device + 1) // replicas)
    parts = keras.tree.map_structure(lambda leaf: leaf[begin:end], batch)
    valid_count = tf.where(is_whole & (device > 0), none, end - begin)
    return Shard(parts if len(parts) > 1 else parts[0], valid_count, size)


def _without_sharding() -> tf.data.Options:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
