"""The mask that Keras attaches to a tensor.

Takes a tensor; returns or sets its mask. Must not compute masks.

The private name is `_keras_mask` of a tensor, read in Keras 3.12.4 and 3.15.1: layers read the mask of their inputs from
it, and there is no public way to set it. `tests/keras_internals/test_keras_tensor_masks.py` fails when it moves.
"""

import tensorflow as tf


def get_mask(tensor: tf.Tensor) -> tf.Tensor | None:
    """The mask of a tensor.

    Args:
        tensor: tf.Tensor, an output of a layer.

    Returns:
        bool tensor, or None if the tensor has no mask.
    """
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: tf.Tensor, mask: tf.Tensor) -> None:
    """Attaches a mask to a tensor, which the next layer reads.

    Args:
        tensor: tf.Tensor (batch, steps, ...).
        mask: bool tensor (batch, steps).
    """
    tensor._keras_mask = mask
