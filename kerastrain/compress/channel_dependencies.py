"""Finds the channels of a network that can only be removed together.

Takes a functional model; returns the input and output channels of each layer, and its multiply-adds. Channels are numbers:
a convolution creates new channels, batch norm and activations pass them on, `Add` joins the channels that it adds,
`Flatten` repeats them for each position. Channels that other kinds of layers read or create cannot be removed. Must not
train.
"""

import collections
import dataclasses
import itertools
import math

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.keras_internals import program as programs

KINDS = keras.layers
FULL = (KINDS.Conv1D, KINDS.Conv2D, KINDS.Dense)
"""Layers in which each output channel depends on all input channels."""

DEPTHWISE = (KINDS.DepthwiseConv1D, KINDS.DepthwiseConv2D)
SEPARABLE = (KINDS.SeparableConv1D, KINDS.SeparableConv2D)
_PASSING = (
    KINDS.ActivityRegularization, KINDS.AveragePooling1D, KINDS.AveragePooling2D, KINDS.BatchNormalization,
    KINDS.Cropping1D, KINDS.Cropping2D, KINDS.Dropout, KINDS.ELU, KINDS.GaussianDropout, KINDS.GaussianNoise,
    KINDS.GlobalAveragePooling1D, KINDS.GlobalAveragePooling2D, KINDS.GlobalMaxPooling1D, KINDS.GlobalMaxPooling2D,
    KINDS.Identity, KINDS.LeakyReLU, KINDS.MaxPooling1D, KINDS.MaxPooling2D, KINDS.ReLU, KINDS.SpatialDropout1D,
    KINDS.SpatialDropout2D, KINDS.UpSampling1D, KINDS.UpSampling2D, KINDS.ZeroPadding1D, KINDS.ZeroPadding2D,
)  # fmt: skip
_JOINING = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")


@dataclasses.dataclass(frozen=True)
class LayerChannels:
    """The input and output channels of one layer.

    Attributes:
        layer: keras.Layer of `FULL`, `DEPTHWISE`, `SEPARABLE`, batch norm, or Reshape.
        inputs: int array (channels,), the number of each channel along the last axis of its input.
        outputs: int array (channels,), the number of each channel along the last axis of its output.
        dense_multiply_adds: int >= 0, multiply-adds per example between every input and every output channel.
        depthwise_multiply_adds: int >= 0, multiply-adds per example within single input channels.
        normalized: bool, whether batch norm is the only layer that reads the output.
    """

    layer: keras.Layer
    inputs: np.ndarray
    outputs: np.ndarray
    dense_multiply_adds: int
    depthwise_multiply_adds: int
    normalized: bool

    def multiply_adds(self, keep: np.ndarray) -> float:
        """The multiply-adds that remain when channels are removed.

        Args:
            keep: bool array (channels of the model,), False for removed channels.

        Returns:
            float >= 0, per example.
        """
        inputs, outputs = keep[self.inputs].mean(), keep[self.outputs].mean()
        return inputs * (self.depthwise_multiply_adds + outputs * self.dense_multiply_adds)


@dataclasses.dataclass(frozen=True)
class ModelChannels:
    """All channels of a model.

    Attributes:
        layers: tuple of LayerChannels, in the order of the program.
        group: int array (channels,), the lowest number among the channels that must be removed together with each.
        space: int array (channels,), the number of the layer that creates the lowest channel of the group.
        fixed: bool array (channels,), whether the channel cannot be removed.
    """

    layers: tuple[LayerChannels, ...]
    group: np.ndarray
    space: np.ndarray
    fixed: np.ndarray


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiply-adds of convolutions and dense layers for one example.

    Args:
        model: keras.Model, functional or Sequential, built for inputs of one size.

    Returns:
        int >= 0.

    Raises:
        InputError: the model is not functional, or its input size is not fixed.

    Example:
        >>> multiply_adds(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]))
        3888
    """
    layers = trace(programs.record(model)).layers
    return sum(layer.dense_multiply_adds + layer.depthwise_multiply_adds for layer in layers)


def trace(program: programs.Program) -> ModelChannels:
    """Follows the channels of a program from its inputs to its outputs.

    Args:
        program: Program of a functional model.

    Returns:
        ModelChannels.

    Raises:
        InputError: the input size of the model is not fixed.
    """
    tracer = _Tracer()
    channels = {slot.number: tracer.new(slot, fixed=True) for slot in program.inputs}
    readers = collections.defaultdict(list)
    for call in program.instructions:
        for slot in call.inputs:
            readers[slot.number].append(call.operation)
    for call in program.instructions:
        inputs = [channels[slot.number] for slot in call.inputs]
        outputs = tracer.outputs(call, inputs)
        if outputs is None:
            tracer.fix(*inputs)
            channels.update((slot.number, tracer.new(slot, fixed=True)) for slot in call.outputs)
            continue
        channels[call.outputs[0].number] = outputs
        if isinstance(call.operation, (*FULL, *DEPTHWISE, *SEPARABLE, KINDS.BatchNormalization, KINDS.Reshape)):
            after = readers[call.outputs[0].number]
            normalized = len(after) == 1 and isinstance(after[0], KINDS.BatchNormalization)
            tracer.layers.append(
                LayerChannels(call.operation, inputs[0], outputs, *_multiply_adds(call), normalized=normalized)
            )
    tracer.fix(*(channels[slot.number] for slot in program.outputs))
    return tracer.result()


class _Tracer:
    def __init__(self):
        self.layers, self.parents, self.spaces, self.fixed, self.calls = [], [], [], set(), {}
        self.counter = itertools.count()

    def new(self, slot: programs.Slot, *, fixed: bool = False) -> np.ndarray:
        """Creates channels for the last axis of a tensor."""
        count = (slot.shape[-1] or 0) if len(slot.shape) > 1 else 0
        first = len(self.parents)
        self.parents += range(first, first + count)
        self.spaces += [next(self.counter)] * count
        channels = np.arange(first, first + count)
        if fixed:
            self.fix(channels)
        return channels

    def fix(self, *channels: np.ndarray) -> None:
        self.fixed.update(int(number) for array in channels for number in array)

    def root(self, number: int) -> int:
        while self.parents[number] != number:
            number = self.parents[number]
        return number

    def join(self, channels: np.ndarray, others: np.ndarray) -> None:
        for first, second in zip(channels, others, strict=True):
            low, high = sorted((self.root(first), self.root(second)))
            self.parents[high] = low

    def outputs(self, call: programs.Instruction, inputs: list[np.ndarray]) -> np.ndarray | None:
        """The output channels of a call, or None if they cannot be derived from the input channels."""
        layer, slot = call.operation, call.outputs[0]
        axis = getattr(layer, "axis", -1) if isinstance(layer, KINDS.BatchNormalization) else -1
        if getattr(layer, "data_format", None) == "channels_first" or axis not in (-1, len(slot.shape) - 1):
            return None
        if isinstance(layer, (*FULL, *SEPARABLE)) and getattr(layer, "groups", 1) == 1:
            return self._created(layer, slot, inputs[0])
        if isinstance(layer, DEPTHWISE):
            return np.repeat(inputs[0], layer.depth_multiplier)
        if isinstance(layer, KINDS.Flatten) and len(inputs[0]):
            return np.tile(inputs[0], math.prod(call.inputs[0].shape[1:-1]))
        passing = isinstance(layer, _PASSING) or (type(layer) is KINDS.Activation and not _mixes_channels(layer))
        same_axis = isinstance(layer, KINDS.Reshape | KINDS.Rescaling) and call.inputs[0].shape[-1] == slot.shape[-1]
        if passing or (same_axis and np.ndim(getattr(layer, "scale", 0)) == np.ndim(getattr(layer, "offset", 0)) == 0):
            return inputs[0]
        if type(layer).__name__ in _JOINING and len(inputs) > 1 and len(set(map(len, inputs))) == 1:
            for others in inputs[1:]:
                self.join(inputs[0], others)
            return inputs[0]
        if isinstance(layer, KINDS.Concatenate) and layer.axis in (-1, len(slot.shape) - 1):
            return np.concatenate(inputs)
        return None

    def _created(self, layer: keras.Layer, slot: programs.Slot, inputs: np.ndarray) -> np.ndarray:
        if id(layer) not in self.calls:
            outputs = self.new(slot, fixed=not layer.trainable or _mixes_channels(layer))
            self.calls[id(layer)] = (inputs, outputs)
        else:  # A layer that is called again has one kernel, so its inputs must lose the same channels.
            self.join(self.calls[id(layer)][0], inputs)
        return self.calls[id(layer)][1]

    def result(self) -> ModelChannels:
        group = np.array([self.root(number) for number in range(len(self.parents))], int)
        fixed = np.zeros(len(group), bool)
        fixed[group[sorted(self.fixed)]] = True
        return ModelChannels(tuple(self.layers), group, np.array(self.spaces, int)[group], fixed[group])


def _mixes_channels(layer: keras.Layer) -> bool:
    return layer.activation in (keras.activations.softmax, keras.activations.log_softmax)


def _multiply_adds(call: programs.Instruction) -> tuple[int, int]:
    """The dense and the depthwise multiply-adds of a call: see `LayerChannels`."""
    layer, shape = call.operation, call.outputs[0].shape[1:]
    if isinstance(layer, KINDS.BatchNormalization | KINDS.Reshape):
        return 0, 0
    if None in shape:
        raise InputError(
            f"`model` must take inputs of one size, or its multiply-adds are unknown. Received: {layer.name!r}, whose "
            f"output has the shape {shape}. Build it with the size that it will be used with."
        )
    positions, window = math.prod(shape[:-1]), math.prod(getattr(layer, "kernel_size", (1,)))
    if isinstance(layer, DEPTHWISE):
        return 0, positions * shape[-1] * window
    input_channels = call.inputs[0].shape[-1] * getattr(layer, "depth_multiplier", 1)
    if isinstance(layer, SEPARABLE):
        return positions * input_channels * shape[-1], positions * input_channels * window
    return positions * input_channels * shape[-1] * window, 0
