"""How few values the kernels of a model have, and how their sharing is kept through further training.

Takes any keras.Model, also those with a SavedModel inside. Must not train.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.compress.sparsity_masks import prunable, require_unconstrained


def distinct_values(model: keras.Model) -> dict[str, int]:
    """How many different values each kernel of `model` has, by its path, frozen ones included.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, kernel_initializer="identity")])
        >>> list(distinct_values(model).values())
        [2]
    """
    return {kernel.path: len(np.unique(keras.ops.convert_to_numpy(kernel))) for kernel in prunable(model)}


def shares_values(kernel: keras.Variable) -> bool:
    """Whether `kernel` was clustered: of its weights other than 0, two and more share a value on average."""
    values = keras.ops.convert_to_numpy(kernel)
    values = values[values != 0]
    return 0 < 2 * len(np.unique(values)) <= len(values)


class KeepClusters(keras.constraints.Constraint):
    """Holds together what has one value now: such weights move as one, by the mean of their updates, and zeros stay.

    Args:
        kernel: keras.Variable whose values are shared.

    Reference: Han et al. 2016, https://arxiv.org/abs/1510.00149, section 3.
    """

    def __init__(self, kernel: keras.Variable):
        values, owners = np.unique(keras.ops.convert_to_numpy(kernel), return_inverse=True)
        self.owners = tf.constant(owners.reshape(-1), tf.int32)
        self.moves = tf.constant(values != 0)

    def __call__(self, kernel):
        """The kernel with each weight at the mean of its cluster."""
        kernel = tf.convert_to_tensor(kernel)
        count = self.moves.shape[0]
        means = tf.math.unsorted_segment_mean(tf.reshape(kernel, (-1,)), self.owners, count)
        return tf.reshape(tf.gather(tf.where(self.moves, means, tf.zeros_like(means)), self.owners), kernel.shape)


def keep_clusters(model: keras.Model) -> None:
    """Makes further training of `model` keep which weights are equal, and which are zero; before `compile` or `fit`.

    It marks the model given, in memory only: a saved model is loaded without the hold.

    Raises:
        InputError: a kernel has a constraint of its own.
    """
    for kernel in prunable(model, trainable=True):
        require_unconstrained(kernel)
        kernel.constraint = KeepClusters(kernel)
    model.train_function = None  # A traced step would know nothing of the constraint.
