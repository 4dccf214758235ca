"""A Keras 3 model's twin in tf_keras, the Keras 2 that tensorflow_model_optimization works on.

Takes a flat model of `plain_models`; gives a tf_keras functional model with the same weights, believed only after both have
answered the same on real inputs. The only place that builds tf_keras layers. Must not train.
"""

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.keras_internals import program as programs
from kerastrain.layers.labels import Labels
from kerastrain.system import isolated_imports

TOLERANCE = 1e-5
"""The largest difference of twins, as a share of the largest output or of 1."""

PREFIX = "twin_"
"""Stands before the name of each layer, since tfmot makes layers of its own with Keras's default names."""

_WINDOW = ("pool_size", "strides", "padding", "data_format")
_KERNEL = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "activation", "use_bias")
_CARRIED = {
    "Activation": ("activation",),
    "Add": (),
    "AveragePooling2D": _WINDOW,
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "groups", *_KERNEL),
    "Cropping2D": ("cropping", "data_format"),
    "Dense": ("units", "activation", "use_bias"),
    "DepthwiseConv2D": ("depth_multiplier", *_KERNEL),
    "Dropout": ("rate",),
    "Flatten": ("data_format",),
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "LeakyReLU": ("alpha",),
    "MaxPooling2D": _WINDOW,
    "Multiply": (),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "SpatialDropout2D": ("rate", "data_format"),
    "ZeroPadding2D": ("padding", "data_format"),
}
_OTHER_WORDS = {"alpha": "negative_slope"}


def twin(model: keras.Model, samples: np.ndarray):
    """`model` in tf_keras, weights and `trainable` included, proven on `samples`.

    Args:
        model: keras.Model, flat, of the layers that `plain_models.plain` makes.
        samples: array (n, ...), real inputs.

    Returns:
        tf_keras.Model; the twin of layer "x" is named "twin_x", and `Labels` has none.

    Raises:
        InputError: a layer has no twin, or the twins' answers differ.
    """
    tf_keras = isolated_imports.tf_keras()
    program = programs.record(model)
    source = program.inputs[0]
    inputs = tf_keras.Input(source.shape[1:], dtype=source.dtype, name=f"{PREFIX}inputs")
    values = {source.number: inputs}
    for call in program.instructions:
        given = [values[slot.number] for slot in call.inputs]
        value = given[0] if len(given) == 1 else given
        if not isinstance(call.operation, Labels):
            layer = _layer(tf_keras, call.operation)
            value = layer(value)
            layer.set_weights(call.operation.get_weights())
        values[call.outputs[0].number] = value
    twins = tf_keras.Model(inputs, values[program.outputs[0].number], name=model.name)
    require_equal(model, twins, samples)
    return twins


def require_equal(model: keras.Model, twins, samples: np.ndarray) -> None:
    """Refuses twins whose answers to `samples` differ by more than `TOLERANCE`.

    Raises:
        InputError: they do; the message says by how much.
    """
    expected = keras.ops.convert_to_numpy(model(samples, training=False))
    difference = np.abs(twins(samples, training=False).numpy() - expected).max()
    if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        raise InputError(
            f"model {model.name!r} answers otherwise in tf_keras. Received: a difference of {difference:.2g} where "
            f"{TOLERANCE:g} is allowed. Quantize after training instead, with "
            '`export.tflite(model, path, quantize="int8")`.'
        )


def _layer(tf_keras, layer: keras.Operation):
    kind = type(layer).__name__
    if kind not in _CARRIED or not type(layer).__module__.startswith("keras."):
        raise InputError(
            f"layer {layer.name!r} ({type(layer).__module__}.{kind}) has no twin in tf_keras. Known: {', '.join(_CARRIED)}."
        )
    config = layer.get_config()
    options = {option: config[_OTHER_WORDS.get(option, option)] for option in _CARRIED[kind]}
    if options.get("activation") == "silu":
        options["activation"] = "swish"
    return getattr(tf_keras.layers, kind)(**options, name=PREFIX + layer.name, trainable=layer.trainable)
