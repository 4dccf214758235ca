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
    trace(model, dataset)
    return model.predict(dataset, verbose=0)


def trace(model: keras.Model, dataset: tf.data.Dataset) -> None:
    """Traces the graph of `model.predict_function` for batches of every size, on one device.

    Args:
        model: keras.Model. Its `predict_function` then takes a list of one batch, as in `model.predict`.
        dataset: tf.data.Dataset of batches as for `model.predict`.
    """
    is_plain = model.distribute_strategy.num_replicas_in_sync == 1 and model.steps_per_execution == 1
    if is_plain and not model.run_eagerly and takes_any_size(model):
        model.make_predict_function()
        # The batch dimension of most datasets is unknown. Batches of one size fit, so TensorFlow uses this graph for all.
        model.predict_function.get_concrete_function([dataset.element_spec])


def takes_any_size(model: keras.Model) -> bool:
    """Whether a model takes batches of any size, as all do but those with an `Input` of a fixed batch size.

    Args:
        model: keras.Model; one that is not functional counts as one that does.

    Returns:
        bool.
    """
    return all(not tensor.shape or tensor.shape[0] is None for tensor in getattr(model, "inputs", None) or ())
