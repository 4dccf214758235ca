"""Runs Keras's `predict` with a graph that is traced once for batches of every size.

Takes a `keras.Model` and a dataset; returns what `model.predict` returns. Must not change the model.
"""

import keras
import tensorflow as tf


def predict(model: keras.Model, dataset: tf.data.Dataset):
    """Runs a model over a dataset, as `model.predict(dataset, verbose=0)` does.

    Keras traces the graph for the size of the first batch, and again when the last batch is smaller. For a large backbone a
    trace takes longer than the small batch.

    Args:
        model: keras.Model. Its `predict_function` stays traced for later calls, as after `model.predict`.
        dataset: tf.data.Dataset of batches as for `model.predict`, finite.

    Returns:
        array or nest of arrays, the outputs of `model.predict`.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1 and model.steps_per_execution == 1 and not model.run_eagerly:
        model.make_predict_function()
        # Batches of one size are batches of any size, so that TensorFlow uses this graph for all of them.
        model.predict_function.get_concrete_function([tf.nest.map_structure(_of_any_size, dataset.element_spec)])
    return model.predict(dataset, verbose=0)


def _of_any_size(spec: tf.TypeSpec) -> tf.TypeSpec:
    if not isinstance(spec, tf.TensorSpec) or not spec.shape.rank:
        return spec
    return tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)
