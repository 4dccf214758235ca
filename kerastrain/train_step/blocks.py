"""A range of a program's instructions as one function: its activations kept or recomputed, on a chosen device.

Takes a `Program` and the tensors computed so far; adds the tensors that leave the range, with their masks. Must not know
why a program is cut.
"""

import contextlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.keras_internals import program as programs
from kerastrain.keras_internals.tensor_masks import get_mask, set_mask


def check(program: programs.Program) -> None:
    """Rejects a program with a layer that cannot run inside a block.

    Args:
        program: Program.

    Raises:
        InputError: a layer is opaque, such as a SavedModel.
    """
    for instruction in program.instructions:
        layer = instruction.operation
        if getattr(layer, "opaque", False):
            raise InputError(
                f"a {type(layer).__name__} cannot be split into blocks, nor moved to another device. Received: "
                f"{layer.name}. Use a backbone 'keras:NAME', or split the batch with `kerastrain.memory.accumulate`."
            )


def variables(program: programs.Program, begin: int, end: int) -> list[keras.Variable]:
    """The variables that a range of instructions uses, each once, trainable ones first.

    Args:
        program: Program.
        begin: int >= 0, the first instruction.
        end: int, one past the last instruction.

    Returns:
        list of keras.Variable.
    """
    layers = _layers(program.instructions[begin:end])
    trainable = [variable for layer in layers for variable in layer.trainable_variables]
    others = [variable for layer in layers for variable in layer.non_trainable_variables]
    return list({id(variable): variable for variable in (*trainable, *others)}.values())


def run(
    program: programs.Program,
    begin: int,
    end: int,
    values: dict,
    *,
    training: bool,
    recompute: bool = True,
    device: str | None = None,
) -> None:
    """Runs instructions `begin` to `end`, reading tensors from `values` and adding the results.

    Args:
        program: Program.
        begin: int >= 0, the first instruction.
        end: int, one past the last instruction.
        values: dict from the number of a slot to its tensor; changed in place.
        training: bool, as in a call of the model.
        recompute: bool, whether the gradient recomputes the block from its input tensors instead of keeping its
            activations.
        device: str such as "GPU:1", where the block and its gradient run; None for TensorFlow's choice.

    Raises:
        InputError: a layer of the block has a loss on its activations.
    """
    entering, leaving = programs.boundaries(program, begin, end)
    used = variables(program, begin, end)
    states = [variable for variable in used if not variable.trainable]
    masks = {slot.number: mask for slot in entering if (mask := get_mask(values[slot.number])) is not None}
    masked: list[programs.Slot] = []

    def compute(tensors):
        """A pure function: it returns the new values of variables instead of assigning them."""
        inside = dict(zip((slot.number for slot in entering), tensors, strict=False))
        for number, mask in zip(masks, tensors[len(entering) + len(used) :], strict=True):
            set_mask(inside[number], mask)
        mapping = list(zip(used, tensors[len(entering) : len(entering) + len(used)], strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            programs.run(program.instructions[begin:end], inside, training=training)
        if scope.losses:
            raise InputError(
                "a layer with a loss on its activations cannot be part of a block: the loss would be dropped. "
                f"Received: one of {', '.join(layer.name for layer in _layers(program.instructions[begin:end]))}. Name "
                "blocks that do not contain it, or remove the loss."
            )
        outputs = [inside[slot.number] for slot in leaving]
        masked[:] = [slot for slot, output in zip(leaving, outputs, strict=True) if get_mask(output) is not None]
        new_states = [scope.get_current_value(state) for state in states]
        return outputs, [*new_states, *(get_mask(inside[slot.number]) for slot in masked)]

    with _on(device):
        inputs = [values[slot.number] for slot in entering]
        weights = [tf.convert_to_tensor(variable.value) for variable in used]
        results = _differentiable(compute, recompute, device)(*inputs, *weights, *masks.values())
        values.update(zip((slot.number for slot in leaving), results, strict=False))
        results = results[len(leaving) :]
        for state, value in zip(states, results, strict=False):
            state.assign(value)
        for slot, mask in zip(masked, results[len(states) :], strict=True):
            set_mask(values[slot.number], mask)


def _differentiable(compute, recompute: bool, device: str | None):
    """`compute` as a function with a custom gradient, which runs on `device` as well."""

    @tf.custom_gradient
    def function(*tensors):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            if not recompute:
                tape.watch(_floats(tensors))
            outputs, others = compute(tensors)

        def gradient(*upstream):
            upstream = upstream[: len(outputs)]
            with _on(device):
                if recompute:
                    gradients = _recomputed_gradients(compute, tensors, upstream)
                else:
                    gradients = tape.gradient(outputs, _floats(tensors), output_gradients=upstream)
            gradients = iter(gradients)
            return [next(gradients) if tensor.dtype.is_floating else None for tensor in tensors]

        return [*outputs, *others], gradient

    return function


def _recomputed_gradients(compute, tensors: Sequence[tf.Tensor], upstream: Sequence) -> list:
    # The recomputation waits for the upstream gradient; started earlier, it would occupy memory too soon.
    with tf.control_dependencies([gradient for gradient in upstream if gradient is not None]):
        copies = [tf.identity(tensor) for tensor in tensors]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(_floats(copies))
        outputs, _ = compute(copies)
    return tape.gradient(outputs, _floats(copies), output_gradients=upstream)


def _floats(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tensor for tensor in tensors if tensor.dtype.is_floating]


def _layers(instructions: Sequence[programs.Instruction]) -> list[keras.Layer]:
    operations = [instruction.operation for instruction in instructions]
    return [operation for operation in operations if isinstance(operation, keras.Layer)]


def _on(device: str | None) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if device is None else tf.device(device)
