"""Weight sharing while a model trains: each kernel gets by with a few values, so that its file compresses well.

Takes a trained keras.Model and a data set, gives a new model whose kernels have exactly so many values. Works on Keras 3 as
it is, for any layer and inside Hub modules, in graphs, under XLA and on several replicas: the sharing lives in the
constraints of the kernels. tfmot's own clustering needs a tf_keras twin, which Hub modules and transformers do not have,
and fails on kernels with fewer weights than clusters. Must not change the model given, or write files.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans

from kerastrain.compress import fine_tuning
from kerastrain.compress.sparsity_masks import prunable, require_unconstrained
from kerastrain.compress.weight_sharing import KeepClusters
from kerastrain.errors import InputError, is_whole_number

_LARGEST_SAMPLE = 100_000


def cluster(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    clusters: int = 16,
    epochs: int,
    optimizer: keras.optimizers.Optimizer | None = None,
    learning_rate: float = 1e-4,
    loss: keras.losses.Loss | str | None = None,
    metrics: Sequence = (),
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> keras.Model:
    """A copy of `model` in which each trainable kernel has `clusters` different values, fine-tuned as such.

    Each kernel's weights are put into clusters of like value (k-means), take the value of their cluster, and then move as
    one. Zeros are a cluster of their own that never moves, so a pruned model stays as sparse as it is. Kernels that
    have no more values already keep them. Batch norm starts from its means over the first 16 batches with these kernels,
    frozen or not, if it follows a layer that trains. Depthwise kernels, embeddings and frozen layers are left alone, as by
    `prune`.

    Args:
        model: keras.Model, built; not changed, and copied through its `.keras` form.
        dataset: tf.data.Dataset as for `fit`, of known length.
        clusters: int, 2 <= clusters <= 256, values of a kernel, 0 included where there are zeros.
        epochs: int > 0, passes over `dataset`.
        optimizer: fresh keras.optimizers.Optimizer, or None for Adam whose rate falls from `learning_rate` to 0 along a
            cosine.
        learning_rate: float > 0, used where `optimizer` is None.
        loss: as for `compile`, or None for the loss that `model` was compiled with.
        metrics: as for `compile`.
        validation_data: as for `fit`.
        callbacks: as for `fit`.
        verbose: as for `fit`.

    Returns:
        keras.Model, compiled, without constraints; `keep_clusters` holds the sharing through further training.

    Raises:
        InputError: an option breaks its rule, or there is nothing to cluster.

    Reference: Han et al. 2016, https://arxiv.org/abs/1510.00149, section 3; with the linear initialization of 3.2.
    """
    if not is_whole_number(clusters) or not 2 <= clusters <= 256:
        raise InputError(f"`clusters` must be a whole number in [2, 256]. Received: {clusters!r}.")
    steps = fine_tuning.steps(dataset, epochs, optimizer)
    loss = fine_tuning.loss_of(model, loss)
    clustered = fine_tuning.copy(model)
    kernels = list(prunable(clustered, trainable=True))
    if not kernels:
        raise InputError(f"`model` must have a trainable kernel. Received: {model.name!r} without. Unfreeze layers.")
    for kernel in kernels:
        require_unconstrained(kernel)
        kernel.assign(shared(keras.ops.convert_to_numpy(kernel), clusters))
        kernel.constraint = KeepClusters(kernel)
    fine_tuning.recalibrate_batch_norm(clustered, dataset)
    clustered.compile(
        optimizer or fine_tuning.adam_with_cosine_decay(learning_rate, steps), loss=loss, metrics=list(metrics)
    )
    fine_tuning.fit(
        clustered, dataset, epochs=epochs, validation_data=validation_data, callbacks=callbacks, verbose=verbose
    )
    for kernel in kernels:
        # Callbacks and averages of weights (EMA) may have moved weights apart.
        kernel.assign(kernel.constraint(kernel))
        kernel.constraint = None
    clustered.train_function = None  # The traced step still holds the constraints.
    return clustered


def shared(kernel: np.ndarray, clusters: int) -> np.ndarray:
    """`kernel` with each weight at the mean of its cluster; zeros stay zeros.

    Args:
        kernel: float32 array of any shape.
        clusters: int >= 2, the most different values of the result.

    Returns:
        float32 array of the same shape; `kernel` itself where it has no more values.

    Example:
        >>> shared(np.array([0.0, 0.9, 1.1, 5.0, -3.0], "float32"), 4).tolist()
        [0.0, 1.0, 1.0, 5.0, -3.0]
    """
    if len(np.unique(kernel)) <= clusters:
        return kernel
    moving = kernel != 0
    values = np.sort(kernel[moving]).astype(np.float64)
    centres = np.linspace(values[0], values[-1], clusters - (not moving.all()))[:, None]
    # In order, every n-th weight is a sample of the same distribution.
    sample = values[:: -(-len(values) // _LARGEST_SAMPLE), None]
    found = KMeans(len(centres), init=centres, n_init=1, random_state=0).fit(sample).cluster_centers_
    result = kernel.copy()
    result[moving] = _nearest(kernel[moving], np.sort(found[:, 0]))
    return result


def _nearest(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, values)].astype(np.float32)
