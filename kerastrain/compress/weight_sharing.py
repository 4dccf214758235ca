"""Counts the distinct values of a model's kernels, and preserves shared values during further training.

Takes any keras.Model, also a model with a SavedModel inside. Must not train.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.compress.sparsity_masks import prunable, require_unconstrained


def distinct_values(model: keras.Model) -> dict[str, int]:
    """Counts the distinct values of each kernel of a model, including frozen ones.

    Args:
        model: keras.Model, built.

    Returns:
        dict from the path of a kernel to an int >= 1.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, kernel_initializer="identity")])
        >>> list(distinct_values(model).values())
        [2]
    """
    return {kernel.path: len(np.unique(keras.ops.convert_to_numpy(kernel))) for kernel in prunable(model)}


def shares_values(kernel: keras.Variable) -> bool:
    """Whether a kernel was clustered: its nonzero weights have at most half as many values as there are weights.

    Args:
        kernel: keras.Variable.
    """
    values = keras.ops.convert_to_numpy(kernel)
    values = values[values != 0]
    return 0 < 2 * len(np.unique(values)) <= len(values)


class KeepClusters(keras.constraints.Constraint):
    """Keeps equal weights of a kernel equal: they change by the mean of their updates, and zeros stay zero.

    Args:
        kernel: keras.Variable whose values are shared.

    Reference: Han et al. 2016, https://arxiv.org/abs/1510.00149, section 3.
    """

    def __init__(self, kernel: keras.Variable):
        values, clusters = np.unique(keras.ops.convert_to_numpy(kernel), return_inverse=True)
        self.clusters = tf.constant(clusters.reshape(-1), tf.int32)
        self.nonzero = tf.constant(values != 0)

    def __call__(self, kernel):
        """The kernel with each weight at the mean of its cluster, of the same shape and dtype."""
        kernel = tf.convert_to_tensor(kernel)
        count = self.nonzero.shape[0]
        means = tf.math.unsorted_segment_mean(tf.reshape(kernel, (-1,)), self.clusters, count)
        return tf.reshape(tf.gather(tf.where(self.nonzero, means, tf.zeros_like(means)), self.clusters), kernel.shape)


def keep_clusters(model: keras.Model) -> None:
    """Keeps shared values and zeros of a model during further training; call it before `compile` or `fit`.

    The constraints exist in memory only and are not saved with the model.

    Args:
        model: keras.Model, whose trainable kernels get a constraint.

    Raises:
        InputError: a kernel already has another constraint.
    """
    for kernel in prunable(model, trainable=True):
        require_unconstrained(kernel)
        kernel.constraint = KeepClusters(kernel)
    model.train_function = None  # A step that was traced before does not apply the constraint.
