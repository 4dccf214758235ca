"""A stretch of a program as one function: its activations kept or computed anew, on a device of its choice.

Takes a `Program` and the tensors that are there; gives those that leave the stretch, their masks with them. Must not
know why a program is cut.

The private name is `_keras_mask` of a tensor, read in Keras 3.12.4 and 3.15.1; `tests/memory/test_memory.py` fails when it
moves.
"""

import contextlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.keras_internals import program as programs


def check(program: programs.Program) -> None:
    """Refuses a program whose parts cannot stand alone.

    Raises:
        InputError: a layer is opaque, as a SavedModel is.
    """
    for instruction in program.instructions:
        layer = instruction.operation
        if getattr(layer, "opaque", False):
            raise InputError(
                f"a {type(layer).__name__} cannot be taken apart into blocks, nor moved to another device. Received: "
                f"{layer.name}. Take a backbone 'keras:NAME', or split the batch with `kerastrain.memory.accumulate`."
            )


def variables(program: programs.Program, begin: int, end: int) -> list[keras.Variable]:
    """The variables that instructions `begin` to `end` use, each once, trainable ones first."""
    layers = _layers(program.instructions[begin:end])
    trained = [variable for layer in layers for variable in layer.trainable_variables]
    others = [variable for layer in layers for variable in layer.non_trainable_variables]
    return list({id(variable): variable for variable in (*trained, *others)}.values())


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
    """Runs instructions `begin` to `end`, reading and adding tensors in `values`, by the numbers of their slots.

    Args:
        program: Program.
        begin: int, the first instruction.
        end: int, one past the last.
        values: dict from a slot's number to its tensor.
        training: bool, as in a call of the model.
        recompute: bool, whether the gradient computes the block again from the tensors that enter it, instead of
            keeping its activations.
        device: str such as "GPU:1" where the block and its gradient run; None for TensorFlow's choice.
    """
    entering, leaving = programs.boundaries(program, begin, end)
    used = variables(program, begin, end)
    states = [variable for variable in used if not variable.trainable]
    masks = {slot.number: mask for slot in entering if (mask := _mask(values[slot.number])) is not None}
    masked: list[programs.Slot] = []

    def compute(tensors):
        """A pure function: what would change a variable comes out instead."""
        inside = dict(zip((slot.number for slot in entering), tensors, strict=False))
        for number, mask in zip(masks, tensors[len(entering) + len(used) :], strict=True):
            inside[number]._keras_mask = mask
        mapping = list(zip(used, tensors[len(entering) : len(entering) + len(used)], strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            programs.run(program.instructions[begin:end], inside, training=training)
        if scope.losses:
            raise InputError(
                "a layer with a loss on its activations cannot be cut off from the others: the loss would be lost. "
                f"Received: one of {', '.join(layer.name for layer in _layers(program.instructions[begin:end]))}. Name "
                "blocks that leave it out, or drop the loss."
            )
        outputs = [inside[slot.number] for slot in leaving]
        masked[:] = [slot for slot, output in zip(leaving, outputs, strict=True) if _mask(output) is not None]
        new = [scope.get_current_value(state) for state in states]
        return outputs, [*new, *(_mask(inside[slot.number]) for slot in masked)]

    with _on(device):
        given = [values[slot.number] for slot in entering] + [tf.convert_to_tensor(one.value) for one in used]
        results = _differentiable(compute, recompute, device)(*given, *masks.values())
        values.update(zip((slot.number for slot in leaving), results, strict=False))
        results = results[len(leaving) :]
        for state, value in zip(states, results, strict=False):
            state.assign(value)
        for slot, mask in zip(masked, results[len(states) :], strict=True):
            values[slot.number]._keras_mask = mask


def _mask(tensor) -> tf.Tensor | None:
    return getattr(tensor, "_keras_mask", None)


def _differentiable(compute, recompute: bool, device: str | None):
    """`compute` as a function with a gradient of its own, which runs on `device` as well."""

    @tf.custom_gradient
    def function(*tensors):
        with tf.GradientTape(watch_accessed_variables=False) as kept:
            if not recompute:
                kept.watch(_floats(tensors))
            outputs, others = compute(tensors)

        def gradient(*upstream):
            upstream = upstream[: len(outputs)]
            with _on(device):
                if recompute:
                    found = _gradients_anew(compute, tensors, upstream)
                else:
                    found = kept.gradient(outputs, _floats(tensors), output_gradients=upstream)
            found = iter(found)
            return [next(found) if tensor.dtype.is_floating else None for tensor in tensors]

        return [*outputs, *others], gradient

    return function


def _gradients_anew(compute, tensors: Sequence[tf.Tensor], upstream: Sequence) -> list:
    # Not before the gradient from above is there, or the activations would be back too early.
    with tf.control_dependencies([each for each in upstream if each is not None]):
        again = [tf.identity(tensor) for tensor in tensors]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(_floats(again))
        outputs, _ = compute(again)
    return tape.gradient(outputs, _floats(again), output_gradients=upstream)


def _floats(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tensor for tensor in tensors if tensor.dtype.is_floating]


def _layers(instructions: Sequence[programs.Instruction]) -> list[keras.Layer]:
    return [one.operation for one in instructions if isinstance(one.operation, keras.Layer)]


def _on(device: str | None) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if device is None else tf.device(device)
