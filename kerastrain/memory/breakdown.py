"""Memory breakdown of a training step: weights, gradients, optimizer slots, and activations by layer.

Takes a compiled functional `keras.Model`; returns bytes counted in the graph of its step, which is traced but not run. Must
not change the model.
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
    """Memory of one layer in a step.

    Args:
        name: str, the name of the layer; a layer that is called several times has one entry.
        kind: str, the name of its class.
        parameters_bytes: int >= 0, its variables; shared variables count in the first layer that has them.
        activations_bytes: int >= 0, the tensors that it computes in the forward pass and the backward pass reads.
    """

    name: str
    kind: str
    parameters_bytes: int
    activations_bytes: int


@dataclass(frozen=True)
class Report:
    """Memory of a training step on one device, in bytes.

    Args:
        batch_size: int >= 1, examples of the device in one step.
        micro_batches: int >= 1, the parts of the batch.
        blocks: int >= 0, the number of rematerialized blocks; 0 if all activations are kept.
        parameters_bytes: int >= 0, all variables of the model.
        gradients_bytes: int >= 0, the gradients of all trainable variables.
        optimizer_bytes: int >= 0, the optimizer's variables.
        layers: tuple of LayerMemory, with the activations of one micro-batch without rematerialization.
        activations_bytes: int >= 0, the activations in memory at the same time: those of one micro-batch, or with blocks
            the inputs of each block and the activations of the largest.
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
        """Memory that a step adds to weights and slots, in bytes: gradients and activations."""
        return self.gradients_bytes + self.activations_bytes

    @property
    def total_bytes(self) -> int:
        """Sum of all parts, in bytes, without TensorFlow's own memory and the scratch space of single operations."""
        return self.parameters_bytes + self.optimizer_bytes + self.step_bytes


def report(model: keras.Model, *, batch_size: int) -> Report:
    """Breaks down the memory of a step of `fit`, with the model's current micro-batches and blocks.

    Traces the forward and backward pass for a batch of `batch_size`, without running them. The activations of a layer are
    the tensors that it computes and that the backward pass reads; tensors that share a buffer count once. Two limits:
    tensors that a loop (a recurrent layer) keeps from one iteration to the next do not count, and the weights that a
    HubLayer reads count as activations too.

    Args:
        model: keras.Model, functional or Sequential and compiled; nested models are flattened.
        batch_size: int >= 1, examples of one device in a step.

    Returns:
        Report.

    Raises:
        InputError: the model is not functional or not compiled, an input has another unknown dimension besides the batch,
            or `batch_size` is not a positive int.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> memory = report(model, batch_size=32)
        >>> memory.parameters_bytes, memory.gradients_bytes, memory.activations_bytes == 32 * 16 * 4
        (848, 848, True)
    """
    program, optimizer = programs.record(model), getattr(model, "optimizer", None)
    if not is_whole_number(batch_size) or batch_size < 1:
        raise InputError(f"`batch_size` must be an int of at least 1. Received: {batch_size!r}.")
    if optimizer is None:
        raise InputError("`model` must be compiled with an optimizer. Received: a model that is not. Call `compile`.")
    for slot in program.inputs:
        if None in slot.shape[1:]:
            raise InputError(
                f"the inputs must have a known size. Received: {slot.shape}. Build the model with fixed input sizes."
            )
    step = model.train_step if isinstance(model.train_step, exact_step.ExactStep) else exact_step.ExactStep(model)
    ranges = getattr(step.forward, "ranges", [])
    part = math.ceil(batch_size / step.micro_batches)
    activations = _activation_bytes(model, program, part)
    peak = sum(activations)
    if ranges:
        inputs = sum(_bytes(slot, part) for block in ranges for slot in programs.boundaries(program, *block)[0])
        peak = min(peak, inputs + max(sum(activations[begin:end]) for begin, end in ranges))
    return Report(
        batch_size=batch_size,
        micro_batches=step.micro_batches,
        blocks=len(ranges),
        parameters_bytes=_variables_bytes(model.variables),
        gradients_bytes=_variables_bytes(model.trainable_variables),
        optimizer_bytes=_variables_bytes(_built(optimizer, model).variables),
        layers=_by_layer(program, activations),
        activations_bytes=peak,
    )


def _by_layer(program: programs.Program, sizes: list[int]) -> tuple[LayerMemory, ...]:
    activations: dict[int, int] = {}
    operations: dict[int, keras.Operation] = {}
    for instruction, size in zip(program.instructions, sizes, strict=True):
        key = id(instruction.operation)
        operations[key] = instruction.operation
        activations[key] = activations.get(key, 0) + size
    seen: set[int] = set()
    layers = []
    for key, operation in operations.items():
        new = [variable for variable in getattr(operation, "variables", ()) if id(variable) not in seen]
        seen.update(map(id, new))
        layers.append(LayerMemory(operation.name, type(operation).__name__, _variables_bytes(new), activations[key]))
    return tuple(layers)


def _activation_bytes(model: keras.Model, program: programs.Program, batch_size: int) -> list[int]:
    """For each instruction, the bytes of the tensors that it computes and the backward pass reads."""
    sizes = [0] * len(program.instructions)
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
        # Placeholders stand for the gradient of the loss with respect to the outputs.
        upstream = [tf.compat.v1.placeholder(output.dtype, output.shape) for output in outputs]
        tape.gradient(outputs, weights, output_gradients=upstream)
        positions = {operation: position for position, operation in enumerate(forward)}
        read = set()
        for operation in graph.get_operations()[len(forward) :]:
            read.update(_buffer(tensor) for tensor in operation.inputs if tensor.op in positions)
        for operation, index in read:
            position = positions.get(operation, -1)
            if position >= starts[0] and operation.type not in _NO_ACTIVATION:
                size = _tensor_bytes(operation.outputs[index], batch_size)
                sizes[bisect.bisect_right(starts, position) - 1] += size

    if weights:
        tf.function(count).get_concrete_function(*specs)
    return sizes


def _buffer(tensor: tf.Tensor) -> tuple[tf.Operation, int]:
    """The operation whose buffer `tensor` shares, and the index of the output."""
    while tensor.op.type in _SAME_BUFFER:
        tensor = tensor.op.inputs[0]
    return tensor.op, tensor.value_index


def _tensor_bytes(tensor: tf.Tensor, batch_size: int) -> int:
    shape = tensor.shape
    if shape.rank and shape[0] is None:  # Inside a SavedModel, whose functions accept any batch size.
        shape = shape[1:].as_list() if shape[1:].is_fully_defined() else [0]
        return batch_size * math.prod(shape) * (tensor.dtype.size or 0)
    return (shape.num_elements() or 0) * (tensor.dtype.size or 0)


def _bytes(slot: programs.Slot, batch_size: int) -> int:
    return batch_size * math.prod(length or 1 for length in slot.shape[1:]) * tf.as_dtype(slot.dtype).size


def _variables_bytes(variables) -> int:
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


def _built(optimizer: keras.Optimizer, model: keras.Model) -> keras.Optimizer:
    if optimizer.built:
        return optimizer
    copy = type(optimizer).from_config(optimizer.get_config())
    copy.build(model.trainable_variables)
    return copy
