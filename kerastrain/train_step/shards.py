"""The part of a batch that one device gets, and how many of its examples are valid.

Takes and returns tensors. Must not know of strategies or of where a batch comes from.
"""

from typing import NamedTuple

import keras
import tensorflow as tf


class Shard(NamedTuple):
    """The part of a batch that one device gets.

    Attributes:
        batch: tuple of tensors (b, ...), b >= 1: this device's examples of the batch that was passed to `shard`.
        valid_count: int64 scalar tensor in [0, b]; only the first `valid_count` examples count in a sum over all devices.
            It is b, or 0 where the whole batch goes to every device and this is not the first.
        global_batch_size: int64 scalar tensor, the number of examples in the whole batch.
    """

    batch: tuple
    valid_count: tf.Tensor
    global_batch_size: tf.Tensor


def unpack(data) -> tuple:
    """Separates a batch from the counts of its `Shard`.

    Args:
        data: a `Shard`, or a batch as Keras passes it to `train_step`.

    Returns:
        (batch, valid_count, shard); the last two are None where `data` is not a `Shard`.
    """
    return (data.batch, data.valid_count, data) if isinstance(data, Shard) else (data, None, None)


def valid_examples(nest, valid_count):
    """The valid examples of a nest of tensors.

    Args:
        nest: tensor or nest of tensors (b, ...), or None.
        valid_count: integer scalar tensor in [0, b], or None for all.

    Returns:
        The same nest of tensors (valid_count, ...).
    """
    if valid_count is None:
        return nest
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[:valid_count], nest)
