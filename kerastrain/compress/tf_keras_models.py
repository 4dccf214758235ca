"""Copies a Keras 3 model to tf_keras, the Keras 2 that tensorflow_model_optimization works on.

Takes a flat model of `basic_layers`; returns a tf_keras functional model with the same weights, after checking that both
give the same outputs for real inputs. The only module that builds tf_keras layers. Must not train.
"""

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.keras_internals import program as programs
from kerastrain.layers.labels import Labels
from kerastrain.system import isolated_imports

TOLERANCE = 1e-5
"""The largest difference of the outputs, relative to the largest output or to 1, whichever is larger."""

PREFIX = "twin_"
"""Prefix of each layer name, because tfmot creates layers with Keras's default names."""

_WINDOW = ("pool_size", "strides", "padding", "data_format")
_KERNEL = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "activation", "use_bias")
_ARGUMENTS = {
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
_KERAS_3_NAMES = {"alpha": "negative_slope"}


def twin(model: keras.Model, samples: np.ndarray):
    """Copies a model to tf_keras, including weights and `trainable`, and compares the outputs on `samples`.

    Args:
        model: keras.Model, flat, of the layers that `basic_layers.plain` creates.
        samples: array (n, ...), real inputs.

    Returns:
        tf_keras.Model; the twin of layer "x" is named "twin_x", and `Labels` has no twin.

    Raises:
        InputError: a layer has no twin, or the outputs differ.
    """
    tf_keras = isolated_imports.tf_keras()
    program = programs.record(model)
    source = program.inputs[0]
    inputs = tf_keras.Input(source.shape[1:], dtype=source.dtype, name=f"{PREFIX}inputs")
    values = {source.number: inputs}
    for call in program.instructions:
        call_inputs = [values[slot.number] for slot in call.inputs]
        value = call_inputs[0] if len(call_inputs) == 1 else call_inputs
        if not isinstance(call.operation, Labels):
            layer = _layer(tf_keras, call.operation)
            value = layer(value)
            layer.set_weights(call.operation.get_weights())
        values[call.outputs[0].number] = value
    copied = tf_keras.Model(inputs, values[program.outputs[0].number], name=model.name)
    require_equal(model, copied, samples)
    return copied


def require_equal(model: keras.Model, copied, samples: np.ndarray) -> None:
    """Raises if the outputs of a model and its twin differ by more than `TOLERANCE`.

    Args:
        model: keras.Model.
        copied: tf_keras.Model, its twin.
        samples: array (n, ...), real inputs.

    Raises:
        InputError: the outputs differ; the message contains the difference.
    """
    expected = keras.ops.convert_to_numpy(model(samples, training=False))
    difference = np.abs(copied(samples, training=False).numpy() - expected).max()
    if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        raise InputError(
            f"model {model.name!r} gives other outputs in tf_keras. Received: a difference of {difference:.2g} where "
            f"{TOLERANCE:g} is allowed. Quantize after training instead, with "
            '`export.tflite(model, path, quantize="int8")`.'
        )


def _layer(tf_keras, layer: keras.Operation):
    kind = type(layer).__name__
    if kind not in _ARGUMENTS or not type(layer).__module__.startswith("keras."):
        raise InputError(
            f"layer {layer.name!r} ({type(layer).__module__}.{kind}) has no twin in tf_keras. Known: {', '.join(_ARGUMENTS)}."
        )
    config = layer.get_config()
    options = {option: config[_KERAS_3_NAMES.get(option, option)] for option in _ARGUMENTS[kind]}
    if options.get("activation") == "silu":
        options["activation"] = "swish"
    return getattr(tf_keras.layers, kind)(**options, name=PREFIX + layer.name, trainable=layer.trainable)
