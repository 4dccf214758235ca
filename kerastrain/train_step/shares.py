"""What one device gets of a batch, and how many of its examples count.

Takes and gives tensors. Must not know of strategies or of where a batch comes from.
"""

from typing import NamedTuple

import keras
import tensorflow as tf


class Share(NamedTuple):
    """What one device gets of a batch.

    Attributes:
        batch: a batch as `divided` was given it, at least one example of it.
        counted: int64 scalar tensor, how many of the examples, from the first on, count in a sum over all devices: all
            of them, or none where the whole batch is given to several and this is not the first.
        whole: int64 scalar tensor, the examples of the whole batch.
    """

    batch: tuple
    counted: tf.Tensor
    whole: tf.Tensor


def taken(data) -> tuple:
    """The batch in what a step is given, how many of its examples count, None for all, and its `Share`, if it is one."""
    return (data.batch, data.counted, data) if isinstance(data, Share) else (data, None, None)


def counting(nest, counted):
    """The examples of a nest of tensors (b, ...) that count."""
    if counted is None:
        return nest
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[:counted], nest)
