"""The micro-batches of a step: their gradients and losses, summed, with the activations of one in memory at a time.

Takes a function that computes the gradients of a micro-batch; returns sums. Must not know what is computed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from kerastrain.train_step import shards


class Gradients(NamedTuple):
    """What a micro-batch gives.

    Attributes:
        gradients: list with a tensor for each weight, or None where the loss does not depend on it.
        loss: float scalar tensor.
        y_pred: tensor or nest of tensors (b, ...), the outputs.
        part: (x, y, sample_weight), its examples.
        size: int32 scalar tensor, how many of them count.
    """

    gradients: list
    loss: tf.Tensor
    y_pred: object
    part: tuple
    size: tf.Tensor


def micro_batch(data, number, count: int, size, *, after: Sequence = ()):
    """Examples size * number // count to size * (number + 1) // count, and how many; read after `after` is computed.

    An empty micro-batch gets one example that does not count, because some layers fail on no examples.

    Args:
        data: nest of tensors (size, ...).
        number: int or int32 scalar tensor in [0, count).
        count: int >= 1.
        size: int32 scalar tensor.
        after: sequence of gradients or None.

    Returns:
        (nest of tensors, int32 scalar tensor).
    """
    if count == 1:
        return data, size
    begin, end = size * number // count, size * (number + 1) // count
    first = tf.minimum(begin, size - 1)
    last = tf.maximum(end, first + 1)
    with tf.control_dependencies(tensors(after)):
        part = keras.tree.map_structure(lambda leaf: None if leaf is None else tf.identity(leaf[first:last]), data)
    return part, end - begin


def sums(gradients_of: Callable, count: int, *, overlapping: bool) -> tuple[list, tf.Tensor, object]:
    """Computes micro-batches that are written out in the graph one after the other.

    Args:
        gradients_of: callable (number, after) to Gradients.
        count: int >= 1.
        overlapping: bool, whether micro-batches may run at the same time.

    Returns:
        (gradients, loss, outputs of all examples).
    """
    gradients, loss, predictions = None, 0.0, []
    for number in range(count):
        new = gradients_of(number, () if overlapping or gradients is None else gradients)
        gradients = new.gradients if gradients is None else list(map(_sum, gradients, new.gradients))
        loss += new.loss
        predictions.append(new.y_pred if count == 1 else shards.valid_examples(new.y_pred, new.size))
    whole = predictions[0] if count == 1 else keras.tree.map_structure(_concatenated, *predictions)
    return gradients, loss, whole


def sums_in_loop(
    gradients_of: Callable, count: int, weights: Sequence[keras.Variable], measure: Callable
) -> tuple[list, tf.Tensor]:
    """Computes micro-batches in a loop of the graph, which holds one of them, and forgets the outputs of each.

    Written out for each of many, a graph can take more memory than micro-batches free: that of 30 rematerialized blocks in
    4 micro-batches took 2 GB and minutes.

    Args:
        gradients_of: callable (number, after) to Gradients.
        count: int >= 1.
        weights: sequence of keras.Variable that the gradients are of.
        measure: callable that gets the Gradients of each micro-batch.

    Returns:
        (gradients, loss).
    """
    without = set()

    def add(number, loss, totals):
        new = gradients_of(number, ())
        measure(new)
        without.update(index for index, gradient in enumerate(new.gradients) if gradient is None)
        totals = [
            total if gradient is None else total + tf.ensure_shape(tf.convert_to_tensor(gradient), total.shape)
            for total, gradient in zip(totals, new.gradients, strict=True)
        ]
        return number + 1, loss + tf.cast(new.loss, tf.float32), totals

    start = (tf.constant(0), tf.constant(0.0), [tf.zeros(weight.shape, weight.dtype) for weight in weights])
    # One iteration at a time, because each frees its activations before the next starts.
    _, loss, totals = tf.while_loop(lambda number, *_: number < count, add, start, parallel_iterations=1)
    return [None if index in without else total for index, total in enumerate(totals)], loss


def tensors(gradients: Sequence) -> list[tf.Tensor]:
    """The tensors of gradients.

    Args:
        gradients: sequence of tensors, IndexedSlices and None.

    Returns:
        list of tensors.
    """
    found = [gradient for gradient in gradients if gradient is not None]
    return [tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor for tensor in found]


def _sum(first, second):
    if first is None or second is None:
        return second if first is None else first
    with tf.device(first.device or None):
        return tf.convert_to_tensor(first) + tf.convert_to_tensor(second)


def _concatenated(*parts):
    return tf.concat(parts, axis=0)
