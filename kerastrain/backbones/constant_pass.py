"""The forward pass of a frozen module with its weights as constants.

TensorFlow computes what depends on constants alone once, before the first batch: the scale and offset of each batch normalization
of a module that Keras wrote, most of which then are part of the convolution before it. `benchmarks/module_pass.py` measures it.

Takes a `keras.Model` with a `HubLayer`; returns one that computes the same. Must not be kept while weights train.
"""

import keras
import tensorflow as tf

from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import frozen_graphs
from kerastrain.keras_internals.layers import every_layer
from kerastrain.train_step import folded_norms

_MOST_BYTES = 256e6  # of weights, which the graph holds a second time
# As in modules of TensorFlow 1, whose pass with constants took longer than with variables.
_SLOWER = "FusedBatchNorm"


def inference_model(model: keras.Model) -> keras.Model:
    """A model whose calls compute a module with the weights that it has now.

    Args:
        model: keras.Model, built, on one device; it stays as it is.

    Returns:
        keras.Model for inference with the weights of this moment; `model` itself if it has no module or does not take images,
        if it has other batch normalizations than Keras writes, or if its weights are large.
    """
    has_module = any(isinstance(layer, HubLayer) for layer in every_layer(model))
    takes_images = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4
    if not (has_module and takes_images) or model.distribute_strategy.num_replicas_in_sync > 1:
        return model
    if sum(weight.value.dtype.size * weight.value.shape.num_elements() for weight in model.weights) > _MOST_BYTES:
        return model
    (source,) = model.inputs
    spec = tf.TensorSpec((None, *source.shape[1:]), source.dtype)
    function = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec)
    frozen = frozen_graphs.frozen(function)
    if any(operation.type.startswith(_SLOWER) for operation in frozen.graph.get_operations()):
        return model
    return folded_norms.InferenceModel(model, lambda images, training: frozen(tf.cast(images, source.dtype))[0])
