"""Weight sharing during training: each kernel has only a few distinct values, so that its file compresses well.

Takes a trained keras.Model and a dataset; returns a new model with a fixed number of values per kernel. Works on any
Keras 3 layer and inside Hub modules, in graphs, under XLA and on several replicas, because the sharing is in the
constraints of the kernels. The clustering of tfmot needs a tf_keras twin, which Hub modules and transformers do not have,
and fails on kernels with fewer weights than clusters. Must not change the given model, or write files.
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans

from kerastrain.compress.fine_tuning import (
    FineTuning,
    compile_for_training,
    copy_model,
    count_steps,
    fit,
    recalibrate_batch_norm,
    resolve,
)
from kerastrain.compress.sparsity_masks import prunable, require_unconstrained
from kerastrain.compress.weight_sharing import KeepClusters
from kerastrain.errors import InputError, is_whole_number

_LEARNING_RATE = 1e-4
_LARGEST_SAMPLE = 100_000


def cluster(
    model: keras.Model, dataset: tf.data.Dataset, *, fine_tuning: FineTuning, clusters: int = 16
) -> keras.Model:
    """Fine-tunes a copy of `model` in which each trainable kernel has only `clusters` distinct values.

    The weights of each kernel are grouped by k-means, set to the value of their cluster, and then trained as one value.
    Zeros form a cluster that does not change, so a pruned model keeps its sparsity. Kernels that already have `clusters`
    values or fewer keep them. Before the training, the moving statistics of batch norm layers are set to their means over
    the first 16 batches, including frozen batch norm right after a trainable layer. Depthwise kernels, embeddings and
    frozen layers are not clustered, as in `prune`.

    Args:
        model: keras.Model, built; not changed, and copied through its `.keras` form.
        dataset: tf.data.Dataset as for `fit`, of known length.
        fine_tuning: FineTuning. The default learning rate is 1e-4.
        clusters: int in [2, 256], distinct values of a kernel, including 0 if it has zeros.

    Returns:
        keras.Model, compiled, without constraints; `keep_clusters` preserves the sharing during further training.

    Raises:
        InputError: an option is invalid, or there is nothing to cluster.

    Reference: Han et al. 2016, https://arxiv.org/abs/1510.00149, section 3; with the linear initialization of 3.2.
    """
    if not is_whole_number(clusters) or not 2 <= clusters <= 256:
        raise InputError(f"`clusters` must be a whole number in [2, 256]. Received: {clusters!r}.")
    steps = count_steps(dataset, fine_tuning.epochs, fine_tuning.optimizer)
    fine_tuning = resolve(fine_tuning, model, learning_rate=_LEARNING_RATE)
    clustered = copy_model(model)
    kernels = list(prunable(clustered, trainable=True))
    if not kernels:
        raise InputError(
            f"`model` must have a trainable kernel. Received: {model.name!r} without one. Unfreeze layers."
        )
    for kernel in kernels:
        require_unconstrained(kernel)
        kernel.assign(clustered_kernel(keras.ops.convert_to_numpy(kernel), clusters))
        kernel.constraint = KeepClusters(kernel)
    recalibrate_batch_norm(clustered, dataset)
    compile_for_training(clustered, fine_tuning, steps)
    fit(clustered, dataset, fine_tuning)
    for kernel in kernels:
        # Callbacks and moving averages of weights (EMA) may have changed the weights of a cluster separately.
        kernel.assign(kernel.constraint(kernel))
        kernel.constraint = None
    clustered.train_function = None  # The traced step still applies the constraints.
    return clustered


def clustered_kernel(kernel: np.ndarray, clusters: int) -> np.ndarray:
    """Replaces each weight of a kernel by the mean of its cluster; zeros stay zero.

    Args:
        kernel: float32 array of any shape.
        clusters: int >= 2, the largest number of distinct values in the result.

    Returns:
        float32 array of the same shape; `kernel` itself if it has no more than `clusters` values.

    Example:
        >>> clustered_kernel(np.array([0.0, 0.9, 1.1, 5.0, -3.0], "float32"), 4).tolist()
        [0.0, 1.0, 1.0, 5.0, -3.0]
    """
    if len(np.unique(kernel)) <= clusters:
        return kernel
    nonzero = kernel != 0
    values = np.sort(kernel[nonzero]).astype(np.float64)
    initial_centers = np.linspace(values[0], values[-1], clusters - (not nonzero.all()))[:, None]
    # The values are sorted, so every n-th value is a sample of the same distribution.
    sample = values[:: -(-len(values) // _LARGEST_SAMPLE), None]
    k_means = KMeans(len(initial_centers), init=initial_centers, n_init=1, random_state=0).fit(sample)
    result = kernel.copy()
    result[nonzero] = _nearest(kernel[nonzero], np.sort(k_means.cluster_centers_[:, 0]))
    return result


def _nearest(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return centers[np.searchsorted((centers[1:] + centers[:-1]) / 2, values)].astype(np.float32)
