"""What one device gets of a batch, and how many of its examples count.

Takes and gives tensors. Must not know of strategies or of where a batch comes from.
"""

from typing import NamedTuple

import keras
import tensorflow as tf


class Shard(NamedTuple):
    """What one device gets of a batch.

    Attributes:
        batch: a batch as `shard` was given it, at least one example of it.
        valid_count: int64 scalar tensor, how many of the examples, from the first on, count in a sum over all devices: all
            of them, or none where the whole batch is given to several and this is not the first.
        global_batch_size: int64 scalar tensor, the examples of the whole batch.
    """

    batch: tuple
    valid_count: tf.Tensor
    global_batch_size: tf.Tensor


def unpack(data) -> tuple:
    """The batch in what a step is given, how many of its examples count, None for all, and its `Shard`, if it is one."""
    return (data.batch, data.valid_count, data) if isinstance(data, Shard) else (data, None, None)


def counting(nest, valid_count):
    """The examples of a nest of tensors (b, ...) that count."""
    if valid_count is None:
        return nest
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[:valid_count], nest)
