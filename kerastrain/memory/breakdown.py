"""Where the memory of a training step goes: weights, gradients, slots of the optimizer, activations by layer.

Takes a compiled functional `keras.Model`; gives numbers counted in the graph of its step, none of it run. Must not
change the model.
"""

import bisect
import math
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number
from kerastrain.keras_internals import program as programs
from kerastrain.train_step import exact_step

_SAME_BUFFER = ("Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient")
_NO_ACTIVATION = ("ReadVariableOp", "Const", "Placeholder")


@dataclass(frozen=True)
class LayerMemory:
    """What one layer of a model holds in a step.

    Args:
        name: str, the layer's; a layer that is called several times has one entry.
        kind: str, its class.
        parameters_bytes: int, its variables; those of a shared one count in the first.
        activations_bytes: int, what it computes on the way forward and its gradient, or that of the next, reads.
    """

    name: str
    kind: str
    parameters_bytes: int
    activations_bytes: int


@dataclass(frozen=True)
class Report:
    """What a training step holds in memory, in bytes of one device.

    Args:
        batch_size: int, examples of the device in one step.
        micro_batches: int, parts that they are taken in.
        blocks: int, blocks between which alone activations are kept; 0 where all are.
        parameters_bytes: int, all variables of the model.
        gradients_bytes: int, one number for each that trains.
        optimizer_bytes: int, the optimizer's variables.
        layers: tuple of LayerMemory, with the activations of one micro-batch, none recomputed.
        activations_bytes: int, the activations that are there at once: of one micro-batch; with blocks, what enters each
            and the largest block.
    """

    batch_size: int
    micro_batches: int
    blocks: int
    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    layers: tuple[LayerMemory, ...]
    activations_bytes: int

    @property
    def step_bytes(self) -> int:
        """What a step adds to weights and slots: gradients and activations."""
        return self.gradients_bytes + self.activations_bytes

    @property
    def total_bytes(self) -> int:
        """All of it together; what TensorFlow needs to work, and the scratch space of single operations, comes on top."""
        return self.parameters_bytes + self.optimizer_bytes + self.step_bytes


def report(model: keras.Model, *, batch_size: int) -> Report:
    """Counts where the memory of a step of `fit` goes, with the micro-batches and blocks that are set.

    The step's graph is made for a batch of that size, forwards and backwards, but not run. The activations of a layer
    are the tensors that it computes and that the way back reads; those that share a buffer count once. What a loop (a
    recurrent layer) keeps from round to round is not seen; of a HubLayer the weights that it reads count too.

    Args:
        model: keras.Model, functional or Sequential and compiled; models in it are taken apart.
        batch_size: int > 0, examples of one device in a step.

    Returns:
        Report.

    Raises:
        InputError: the model is not functional or not compiled, an input has an unknown size besides the batch, or
            `batch_size` is no positive int.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> found = report(model, batch_size=32)
        >>> found.parameters_bytes, found.gradients_bytes, found.activations_bytes == 32 * 16 * 4
        (848, 848, True)
    """
    program, optimizer = programs.record(model), getattr(model, "optimizer", None)
    if not is_whole_number(batch_size) or batch_size < 1:
        raise InputError(f"`batch_size` must be an int of at least 1. Received: {batch_size!r}.")
    if optimizer is None:
        raise InputError("`model` must be compiled with an optimizer. Received: a model without. Call `compile`.")
    for slot in program.inputs:
        if None in slot.shape[1:]:
            raise InputError(
                f"the inputs must have a known size. Received: {slot.shape}. Build the model for one size to count it."
            )
    step = model.train_step if isinstance(model.train_step, exact_step.ExactStep) else exact_step.ExactStep(model)
    ranges = getattr(step.forward, "ranges", [])
    part = math.ceil(batch_size / step.micro_batches)
    kept = _kept_bytes(model, program, part)
    at_once = sum(kept)
    if ranges:
        edges = sum(_bytes(slot, part) for span in ranges for slot in programs.boundaries(program, *span)[0])
        at_once = min(at_once, edges + max(sum(kept[begin:end]) for begin, end in ranges))
    return Report(
        batch_size=batch_size,
        micro_batches=step.micro_batches,
        blocks=len(ranges),
        parameters_bytes=_variables_bytes(model.variables),
        gradients_bytes=_variables_bytes(model.trainable_variables),
        optimizer_bytes=_variables_bytes(_built(optimizer, model).variables),
        layers=_by_layer(program, kept),
        activations_bytes=at_once,
    )


def _by_layer(program: programs.Program, kept: list[int]) -> tuple[LayerMemory, ...]:
    activations: dict[int, int] = {}
    operations: dict[int, keras.Operation] = {}
    for instruction, size in zip(program.instructions, kept, strict=True):
        key = id(instruction.operation)
        operations[key] = instruction.operation
        activations[key] = activations.get(key, 0) + size
    seen: set[int] = set()
    layers = []
    for key, operation in operations.items():
        own = [one for one in getattr(operation, "variables", ()) if id(one) not in seen]
        seen.update(map(id, own))
        layers.append(LayerMemory(operation.name, type(operation).__name__, _variables_bytes(own), activations[key]))
    return tuple(layers)


def _kept_bytes(model: keras.Model, program: programs.Program, batch_size: int) -> list[int]:
    """For each instruction the bytes that it computes and the way back reads."""
    kept = [0] * len(program.instructions)
    weights = [weight.value for weight in model.trainable_variables]
    specs = [tf.TensorSpec((batch_size, *slot.shape[1:]), slot.dtype) for slot in program.inputs]

    def count(*inputs):
        graph = tf.compat.v1.get_default_graph()
        values = dict(zip((slot.number for slot in program.inputs), inputs, strict=True))
        starts = []
        with keras.StatelessScope(collect_losses=True), tf.GradientTape() as tape:
            for instruction in program.instructions:
                starts.append(len(graph.get_operations()))
                programs.run([instruction], values, training=True)
        forward = graph.get_operations()
        outputs = [values[slot.number] for slot in program.outputs if tf.as_dtype(slot.dtype).is_floating]
        # The gradient of the loss comes from outside the layers.
        upstream = [tf.compat.v1.placeholder(output.dtype, output.shape) for output in outputs]
        tape.gradient(outputs, weights, output_gradients=upstream)
        place = {operation: number for number, operation in enumerate(forward)}
        found = set()
        for operation in graph.get_operations()[len(forward) :]:
            found.update(_owner(tensor) for tensor in operation.inputs if tensor.op in place)
        for tensor_operation, index in found:
            number = place.get(tensor_operation, -1)
            if number >= starts[0] and tensor_operation.type not in _NO_ACTIVATION:
                size = _tensor_bytes(tensor_operation.outputs[index], batch_size)
                kept[bisect.bisect_right(starts, number) - 1] += size

    if weights:
        tf.function(count).get_concrete_function(*specs)
    return kept


def _owner(tensor: tf.Tensor) -> tuple[tf.Operation, int]:
    """The operation, and which of its outputs, whose buffer `tensor` is."""
    while tensor.op.type in _SAME_BUFFER:
        tensor = tensor.op.inputs[0]
    return tensor.op, tensor.value_index


def _tensor_bytes(tensor: tf.Tensor, batch_size: int) -> int:
    shape = tensor.shape
    if shape.rank and shape[0] is None:  # inside a SavedModel, whose functions are for any batch
        shape = shape[1:].as_list() if shape[1:].is_fully_defined() else [0]
        return batch_size * math.prod(shape) * (tensor.dtype.size or 0)
    return (shape.num_elements() or 0) * (tensor.dtype.size or 0)


def _bytes(slot: programs.Slot, batch_size: int) -> int:
    return batch_size * math.prod(length or 1 for length in slot.shape[1:]) * tf.as_dtype(slot.dtype).size


def _variables_bytes(variables) -> int:
    return sum(math.prod(one.shape) * tf.as_dtype(one.dtype).size for one in variables)


def _built(optimizer: keras.Optimizer, model: keras.Model) -> keras.Optimizer:
    if optimizer.built:
        return optimizer
    twin = type(optimizer).from_config(optimizer.get_config())
    twin.build(model.trainable_variables)
    return twin
