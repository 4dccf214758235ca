"""Which channels of a network belong together, so that they can only be removed together.

Takes a functional model; gives for each layer the channels that it reads and makes, and its multiply-adds. Channels have
numbers: a convolution makes new ones, batch norm and activations pass them on, `Add` unites those that it adds,
`Flatten` repeats them for each place. What a layer of another kind reads or makes cannot be removed. Must not train.
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
"""Layers that make each channel from all channels."""

DEPTHWISE = (KINDS.DepthwiseConv1D, KINDS.DepthwiseConv2D)
SEPARABLE = (KINDS.SeparableConv1D, KINDS.SeparableConv2D)
_PASSING = (
    KINDS.ActivityRegularization, KINDS.AveragePooling1D, KINDS.AveragePooling2D, KINDS.BatchNormalization,
    KINDS.Cropping1D, KINDS.Cropping2D, KINDS.Dropout, KINDS.ELU, KINDS.GaussianDropout, KINDS.GaussianNoise,
    KINDS.GlobalAveragePooling1D, KINDS.GlobalAveragePooling2D, KINDS.GlobalMaxPooling1D, KINDS.GlobalMaxPooling2D,
    KINDS.Identity, KINDS.LeakyReLU, KINDS.MaxPooling1D, KINDS.MaxPooling2D, KINDS.ReLU, KINDS.SpatialDropout1D,
    KINDS.SpatialDropout2D, KINDS.UpSampling1D, KINDS.UpSampling2D, KINDS.ZeroPadding1D, KINDS.ZeroPadding2D,
)  # fmt: skip
_UNITING = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")


@dataclasses.dataclass(frozen=True)
class Flow:
    """The channels that one layer reads and makes.

    Attributes:
        layer: keras.Layer of `FULL`, `DEPTHWISE`, `SEPARABLE`, batch norm, or Reshape.
        read: int array (channels,), the number of each channel along the last axis of what it reads.
        made: int array (channels,), of what it makes.
        crossing: int, multiply-adds for one example from each channel read to each made.
        own: int, multiply-adds for one example that each channel read has alone.
        normalized: bool, whether batch norm alone reads what it makes.
    """

    layer: keras.Layer
    read: np.ndarray
    made: np.ndarray
    crossing: int
    own: int
    normalized: bool

    def multiply_adds(self, kept: np.ndarray) -> float:
        """What is left of them with the channels that `kept`, bool (channels of the model,), says."""
        read, made = kept[self.read].mean(), kept[self.made].mean()
        return read * (self.own + made * self.crossing)


@dataclasses.dataclass(frozen=True)
class Channels:
    """All channels of a model.

    Attributes:
        flows: tuple of Flow, in the order of the program.
        group: int array (channels,), the lowest number of the channels that each must be removed with.
        space: int array (channels,), which layer makes the lowest of the group.
        fixed: bool array (channels,), whether it must stay.
    """

    flows: tuple[Flow, ...]
    group: np.ndarray
    space: np.ndarray
    fixed: np.ndarray


def multiply_adds(model: keras.Model) -> int:
    """The products that convolutions and dense layers of `model` add up for one example.

    Raises:
        InputError: the model is not functional, or takes inputs of any size.

    Example:
        >>> multiply_adds(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]))
        3888
    """
    return sum(flow.crossing + flow.own for flow in trace(programs.record(model)).flows)


def trace(program: programs.Program) -> Channels:
    """Follows the channels of a program from its inputs to its outputs."""
    tracer = _Tracer()
    numbers = {slot.number: tracer.new(slot, fixed=True) for slot in program.inputs}
    readers = collections.defaultdict(list)
    for call in program.instructions:
        for slot in call.inputs:
            readers[slot.number].append(call.operation)
    for call in program.instructions:
        read = [numbers[slot.number] for slot in call.inputs]
        made = tracer.passed(call, read)
        if made is None:
            tracer.fix(*read)
            numbers.update((slot.number, tracer.new(slot, fixed=True)) for slot in call.outputs)
            continue
        numbers[call.outputs[0].number] = made
        if isinstance(call.operation, (*FULL, *DEPTHWISE, *SEPARABLE, KINDS.BatchNormalization, KINDS.Reshape)):
            after = readers[call.outputs[0].number]
            normalized = len(after) == 1 and isinstance(after[0], KINDS.BatchNormalization)
            tracer.flows.append(Flow(call.operation, read[0], made, *_multiply_adds(call), normalized))
    tracer.fix(*(numbers[slot.number] for slot in program.outputs))
    return tracer.channels()


class _Tracer:
    def __init__(self):
        self.flows, self.parents, self.spaces, self.fixed, self.calls = [], [], [], set(), {}
        self.counter = itertools.count()

    def new(self, slot: programs.Slot, *, fixed: bool = False) -> np.ndarray:
        """New channels for the last axis of a tensor."""
        count = (slot.shape[-1] or 0) if len(slot.shape) > 1 else 0
        first = len(self.parents)
        self.parents += range(first, first + count)
        self.spaces += [next(self.counter)] * count
        made = np.arange(first, first + count)
        if fixed:
            self.fix(made)
        return made

    def fix(self, *numbers: np.ndarray) -> None:
        self.fixed.update(int(number) for each in numbers for number in each)

    def root(self, number: int) -> int:
        while self.parents[number] != number:
            number = self.parents[number]
        return number

    def unite(self, one: np.ndarray, other: np.ndarray) -> None:
        for first, second in zip(one, other, strict=True):
            low, high = sorted((self.root(first), self.root(second)))
            self.parents[high] = low

    def passed(self, call: programs.Instruction, read: list[np.ndarray]) -> np.ndarray | None:
        """The channels that a call makes of those that it reads, or None where that is not known."""
        layer, slot = call.operation, call.outputs[0]
        axis = getattr(layer, "axis", -1) if isinstance(layer, KINDS.BatchNormalization) else -1
        if getattr(layer, "data_format", None) == "channels_first" or axis not in (-1, len(slot.shape) - 1):
            return None
        if isinstance(layer, (*FULL, *SEPARABLE)) and getattr(layer, "groups", 1) == 1:
            return self._made_by(layer, slot, read[0])
        if isinstance(layer, DEPTHWISE):
            return np.repeat(read[0], layer.depth_multiplier)
        if isinstance(layer, KINDS.Flatten) and len(read[0]):
            return np.tile(read[0], math.prod(call.inputs[0].shape[1:-1]))
        passing = isinstance(layer, _PASSING) or (type(layer) is KINDS.Activation and not _over_channels(layer))
        alike = isinstance(layer, KINDS.Reshape | KINDS.Rescaling) and call.inputs[0].shape[-1] == slot.shape[-1]
        if passing or (alike and np.ndim(getattr(layer, "scale", 0)) == np.ndim(getattr(layer, "offset", 0)) == 0):
            return read[0]
        if type(layer).__name__ in _UNITING and len(read) > 1 and len(set(map(len, read))) == 1:
            for other in read[1:]:
                self.unite(read[0], other)
            return read[0]
        if isinstance(layer, KINDS.Concatenate) and layer.axis in (-1, len(slot.shape) - 1):
            return np.concatenate(read)
        return None

    def _made_by(self, layer: keras.Layer, slot: programs.Slot, read: np.ndarray) -> np.ndarray:
        if id(layer) not in self.calls:
            made = self.new(slot, fixed=not layer.trainable or _over_channels(layer))
            self.calls[id(layer)] = (read, made)
        else:  # called again: one kernel, so one choice of channels
            self.unite(self.calls[id(layer)][0], read)
        return self.calls[id(layer)][1]

    def channels(self) -> Channels:
        group = np.array([self.root(number) for number in range(len(self.parents))], int)
        fixed = np.zeros(len(group), bool)
        fixed[group[sorted(self.fixed)]] = True
        return Channels(tuple(self.flows), group, np.array(self.spaces, int)[group], fixed[group])


def _over_channels(layer: keras.Layer) -> bool:
    return layer.activation in (keras.activations.softmax, keras.activations.log_softmax)


def _multiply_adds(call: programs.Instruction) -> tuple[int, int]:
    """The products from each channel to each, and those of each channel alone."""
    layer, made = call.operation, call.outputs[0].shape[1:]
    if isinstance(layer, KINDS.BatchNormalization | KINDS.Reshape):
        return 0, 0
    if None in made:
        raise InputError(
            f"`model` must take inputs of one size, or its multiply-adds are not known. Received: {layer.name!r}, which "
            f"gives {made}. Build it with the size that it will be used with."
        )
    places, window = math.prod(made[:-1]), math.prod(getattr(layer, "kernel_size", (1,)))
    if isinstance(layer, DEPTHWISE):
        return 0, places * made[-1] * window
    deep = call.inputs[0].shape[-1] * getattr(layer, "depth_multiplier", 1)
    if isinstance(layer, SEPARABLE):
        return places * deep * made[-1], places * deep * window
    return places * deep * made[-1] * window, 0
