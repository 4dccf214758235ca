"""Rewrites a model into a flat model of the few kinds of layers that tfmot and TFLite support, with the same outputs.

Takes a built functional model; returns a flat Keras 3 model with its own weights. Raises for layers that int8 does not
support, with their name and the reason. Must not know of tf_keras.

| layer | becomes |
|---|---|
| nested model | its layers |
| SeparableConv2D | DepthwiseConv2D, Conv2D |
| Rescaling, Normalization | a Rescaling that multiplies, and a Rescaling that adds |
| ReverseChannels | a frozen Conv2D of zeros and ones |
| activation of a layer | a separate layer, unless it is ReLU |
| ReLU after a convolution without batch norm | the convolution's activation |
| x + y, x * y | Add, Multiply |
"""

import collections
from collections.abc import Callable, Iterator

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import program as programs
from kerastrain.layers.labels import Labels
from kerastrain.layers.preprocessing import ReverseChannels

KINDS = keras.layers
WITH_KERNEL = (KINDS.Conv2D, KINDS.DepthwiseConv2D, KINDS.Dense)
"""The layers whose weights become integers."""

_UNCHANGED = (
    KINDS.Add, KINDS.AveragePooling2D, KINDS.BatchNormalization, KINDS.Concatenate, KINDS.Cropping2D, KINDS.Dropout,
    KINDS.Flatten, KINDS.GlobalAveragePooling2D, KINDS.GlobalMaxPooling2D, KINDS.LeakyReLU, KINDS.MaxPooling2D,
    KINDS.Multiply, KINDS.Permute, KINDS.ReLU, KINDS.Reshape, KINDS.Softmax, KINDS.SpatialDropout2D,
    KINDS.ZeroPadding2D, Labels,
)  # fmt: skip
_ACTIVATIONS = ("linear", "relu", "relu6", "sigmoid", "silu", "softmax", "tanh")
_OPERATIONS = {"Add": KINDS.Add, "Multiply": KINDS.Multiply}

Part = tuple[type, dict, list]
"""A layer to create: its class, its config without a name, its weights."""


def plain(model: keras.Model) -> keras.Model:
    """Rewrites a model as a flat functional model of basic layers, with its own weights.

    Args:
        model: keras.Model, functional or Sequential, built, with one input and one output.

    Returns:
        keras.Model in float32 with the same outputs up to float rounding. Frozen layers and regularizers are kept.

    Raises:
        InputError: the model is not functional, has several inputs or outputs, or contains a layer that cannot be trained
            for int8; the message names the layer, the reason and the alternative.
    """
    program = programs.record(model)
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise InputError(
            f"`model` must have one input and one output. Received: {model.name!r} with {len(program.inputs)} and "
            f"{len(program.outputs)}. Compress a keras.Model(inputs, output) for each output."
        )
    readers = _readers(program)
    _check(program, readers)
    source, names, fused = program.inputs[0], _Names(), set()
    inputs = keras.Input(source.shape[1:], dtype="float32", name=names.unique("inputs"))
    values = {source.number: inputs}
    for call in program.instructions:
        call_inputs = [values[slot.number] for slot in call.inputs]
        value = call_inputs[0] if len(call_inputs) == 1 else call_inputs
        relu = _following_relu(call, readers)
        fused.update({id(relu)} if relu else ())
        parts = [] if id(call.operation) in fused else _parts(call.operation, relu=relu is not None)
        for kind, config, weights in parts:
            layer = kind.from_config({**config, "name": names.unique(call.operation.name), "dtype": "float32"})
            value = layer(value)
            layer.set_weights(weights)
        values[call.outputs[0].number] = value
    return keras.Model(inputs, values[program.outputs[0].number], name=model.name)


class _Names:
    def __init__(self):
        self.count = collections.Counter()

    def unique(self, name: str) -> str:
        self.count[name] += 1
        return name if self.count[name] == 1 else f"{name}_{self.count[name]}"


def _parts(layer: keras.Operation, *, relu: bool) -> list[Part]:
    """The layers that replace `layer`; `relu` says whether the ReLU that follows is fused into it."""
    if not isinstance(layer, keras.Layer):
        return [(_OPERATIONS[type(layer).__name__], {}, [])]
    rewrite = _REWRITTEN.get(type(layer))
    if rewrite is not None:
        return list(rewrite(layer))
    config = layer.get_config()
    if not isinstance(layer, WITH_KERNEL):
        return [(type(layer), config, layer.get_weights())]
    activation = "relu" if relu else _activation(layer)
    fused = activation if activation == "relu" else "linear"
    return [(type(layer), {**config, "activation": fused}, layer.get_weights()), *_activations(activation, fused)]


def _activations(name: str, fused: str = "linear") -> Iterator[Part]:
    if name in ("relu", "relu6") and name != fused:
        yield KINDS.ReLU, {"max_value": 6.0 if name == "relu6" else None}, []
    elif name not in ("linear", fused):
        yield KINDS.Activation, {"activation": name}, []


def _separable(layer: KINDS.SeparableConv2D) -> Iterator[Part]:
    config, weights, activation = layer.get_config(), layer.get_weights(), _activation(layer)
    shared = {name: config[name] for name in ("data_format", "trainable")}
    yield (
        KINDS.DepthwiseConv2D,
        {
            **{
                name: config[name]
                for name in ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
            },
            **shared,
            "depthwise_regularizer": config["depthwise_regularizer"],
            "use_bias": False,
        },
        weights[:1],
    )
    yield (
        KINDS.Conv2D,
        {
            **{name: config[name] for name in ("filters", "use_bias", "bias_regularizer")},
            "kernel_regularizer": config["pointwise_regularizer"],
            **shared,
            "kernel_size": 1,
            "activation": "relu" if activation == "relu" else "linear",
        },
        weights[1:],
    )
    yield from _activations(activation, fused="relu")


def _scaled(scale, offset) -> Iterator[Part]:
    scale, offset = (np.asarray(value, "float64").squeeze().tolist() for value in (scale, offset))
    if np.any(np.asarray(scale) != 1):
        yield KINDS.Rescaling, {"scale": scale, "offset": 0.0}, []
    if np.any(np.asarray(offset) != 0):
        yield KINDS.Rescaling, {"scale": 1.0, "offset": offset}, []


def _normalization(layer: KINDS.Normalization) -> Iterator[Part]:
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(value)) for value in (layer.mean, layer.variance))
    stddev = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return _scaled(stddev, mean) if layer.invert else _scaled(1 / stddev, -mean / stddev)


def _reversed_channels(layer: ReverseChannels) -> Iterator[Part]:
    channels = layer.output.shape[-1]
    config = {"filters": channels, "kernel_size": 1, "use_bias": False, "trainable": False}
    yield KINDS.Conv2D, config, [np.eye(channels)[::-1][None, None]]


_REWRITTEN: dict[type, Callable[[keras.Layer], Iterator[Part]]] = {
    KINDS.SeparableConv2D: _separable,
    KINDS.Rescaling: lambda layer: _scaled(layer.scale, layer.offset),
    KINDS.Normalization: _normalization,
    KINDS.Activation: lambda layer: _activations(_activation(layer)),
    ReverseChannels: _reversed_channels,
}


def _activation(layer: keras.Layer) -> str:
    name = keras.activations.serialize(layer.activation)
    return name if isinstance(name, str) else name.get("config", "")


def _readers(program: programs.Program) -> dict[int, list[programs.Instruction]]:
    readers = collections.defaultdict(list)
    for call in program.instructions:
        for slot in call.inputs:
            readers[slot.number].append(call)
    return readers


def _following_relu(call: programs.Instruction, readers) -> keras.Layer | None:
    """The ReLU that is the only reader of a layer with a kernel, so that int8 arithmetic fuses the two."""
    after = [reader.operation for reader in readers[call.outputs[0].number]]
    if not isinstance(call.operation, WITH_KERNEL) or _activation(call.operation) != "linear" or len(after) != 1:
        return None
    relu = after[0]
    if isinstance(relu, KINDS.ReLU):
        options = (relu.max_value, relu.negative_slope, relu.threshold)
        return relu if options == (None, 0, 0) else None
    return relu if type(relu) is KINDS.Activation and _activation(relu) == "relu" else None


def _check(program: programs.Program, readers) -> None:
    producers = {slot.number: call for call in program.instructions for slot in call.outputs}
    calls = collections.Counter(id(call.operation) for call in program.instructions)
    for call in program.instructions:
        reason = _reason(call.operation, [producers.get(slot.number) for slot in call.inputs], readers)
        if calls[id(call.operation)] > 1 and getattr(call.operation, "weights", None):
            reason = "it is called more than once, and each call would need its own ranges"
        if reason:
            kind = f"{type(call.operation).__module__.split('.')[0]}.{type(call.operation).__qualname__}"
            raise InputError(
                f"layer {call.operation.name!r} ({kind}) cannot be trained for int8: {reason}. Quantize after training "
                'instead, with `quantize=int8` or `export.tflite(model, path, quantize="int8")`.'
            )


def _reason(layer: keras.Operation, producers: list, readers) -> str | None:
    """The reason why `layer` cannot be trained for int8, or None if it can."""
    kind = type(layer)
    if kind is HubLayer:
        return "a SavedModel is a finished graph, and rounding cannot be inserted into it"
    if not isinstance(layer, keras.Layer):
        supported = kind.__name__ in _OPERATIONS and len(producers) == 2
        return None if supported else "it is an operation outside of any layer"
    if kind not in (*_UNCHANGED, *WITH_KERNEL, *_REWRITTEN):
        return "tensorflow_model_optimization has no rule for it"
    if getattr(layer, "lora_enabled", False):
        return "its low-rank pairs are not merged; see `models.merge_lora`"
    if hasattr(layer, "activation") and _activation(layer) not in _ACTIVATIONS:
        return f"its activation {_activation(layer)!r} has no int8 form that can be trained"
    if kind is KINDS.BatchNormalization and not _folds(producers[0], readers):
        return "batch norm becomes part of the convolution right before it, and there is no such convolution"
    return None


def _folds(producer: programs.Instruction | None, readers) -> bool:
    return (
        producer is not None
        and isinstance(producer.operation, (*WITH_KERNEL, KINDS.SeparableConv2D))
        and _activation(producer.operation) == "linear"
        and len(readers[producer.outputs[0].number]) == 1
    )
