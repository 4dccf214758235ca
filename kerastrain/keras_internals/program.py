"""A functional model as a flat list of instructions, which can be cut anywhere and run in parts.

Takes a functional or Sequential `keras.Model` with any models nested in it; returns records. The model gets no new nodes,
weights or configuration. Must not know why a program is cut.

The private names are `_nodes_by_depth`, `_inputs`, `_outputs_struct`, `_standardize_inputs` and `_functional` of
Keras's models, and `_call_context_args` of a layer, read in Keras 3.12.4 and 3.15.1: no public name tells how the
layers of a model are connected. `tests/memory/test_memory.py` fails when one of them moves.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras.src.models.functional import Functional

from kerastrain.errors import InputError


@dataclass(frozen=True)
class Slot:
    """One tensor of a program.

    Args:
        number: int >= 0, unique in the program.
        shape: tuple of int or None, batch included, as the model was built.
        dtype: str, such as "float32".
    """

    number: int
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Instruction:
    """One call of a layer or operation.

    Args:
        operation: keras.Operation.
        args: tuple, the positional arguments, each tensor replaced by its `Slot`.
        kwargs: dict, the keyword arguments, each tensor replaced by its `Slot`.
        outputs: tuple of Slot, in the order of the flattened result.
    """

    operation: keras.Operation
    args: tuple
    kwargs: dict
    outputs: tuple[Slot, ...]

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """The tensors that the operation reads."""
        return tuple(leaf for leaf in keras.tree.flatten((self.args, self.kwargs)) if isinstance(leaf, Slot))


@dataclass(frozen=True)
class Program:
    """A model's whole computation.

    Args:
        inputs: tuple of Slot, in the order of the flattened inputs of the model.
        instructions: tuple of Instruction, in an order in which each follows those whose results it reads.
        outputs: tuple of Slot, in the order of the flattened outputs.
    """

    inputs: tuple[Slot, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[Slot, ...]


def functional(model: keras.Model) -> Functional:
    """`model` itself if it is functional, or the functional model inside a Sequential one.

    Args:
        model: keras.Model.

    Returns:
        Functional, which shares the layers of `model`.

    Raises:
        InputError: `model` is a subclass that overrides `call`, or a Sequential model that is not built.
    """
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call and model.built:
        model = model._functional
    if not isinstance(model, Functional) or type(model).call is not Functional.call:
        raise InputError(
            f"`model` must be a functional model, or a Sequential one with a keras.Input. Received: "
            f"{type(model).__module__}.{type(model).__qualname__}."
        )
    return model


def record(model: keras.Model) -> Program:
    """The program of `model`, with the instructions of nested functional and Sequential models in place of the models.

    Args:
        model: functional keras.Model, or a built Sequential one.

    Returns:
        Program, whose operations are those of `model`.

    Raises:
        InputError: `model` is not functional.
    """
    graph, counter = functional(model), itertools.count()
    inputs = tuple(_slot(tensor, counter) for tensor in graph._inputs)
    instructions, outputs = _record(graph, inputs, counter)
    return Program(inputs, tuple(instructions), outputs)


def run(instructions: Sequence[Instruction], values: dict[int, object], *, training: bool) -> None:
    """Executes `instructions` on the tensors in `values`, and adds their results to `values`.

    Args:
        instructions: sequence of Instruction, in the order of a program.
        values: dict from the number of a slot to its tensor; changed in place.
        training: bool, passed to every operation that takes `training`.
    """
    for instruction in instructions:
        args, kwargs = keras.tree.map_structure(
            lambda leaf: values[leaf.number] if isinstance(leaf, Slot) else leaf,
            (instruction.args, instruction.kwargs),
        )
        if "training" in getattr(instruction.operation, "_call_context_args", ()):
            kwargs = {**kwargs, "training": training}
        results = keras.tree.flatten(instruction.operation(*args, **kwargs))
        values.update(zip((slot.number for slot in instruction.outputs), results, strict=True))


def flat_inputs(model: keras.Model, x) -> list:
    """The inputs of a call of `model`, converted as the model would convert them.

    Args:
        model: functional keras.Model, or a built Sequential one.
        x: tensor, or nest of tensors, as the model is called with.

    Returns:
        list of tensors, in the order of its `Program.inputs`.
    """
    return functional(model)._standardize_inputs(x)


def packed_outputs(model: keras.Model, outputs: Sequence) -> object:
    """Tensors in the structure that a call of `model` returns.

    Args:
        model: functional keras.Model, or a built Sequential one.
        outputs: sequence of tensors, in the order of its `Program.outputs`.

    Returns:
        tensor, or nest of tensors.
    """
    packed = keras.tree.pack_sequence_as(functional(model)._outputs_struct, list(outputs))
    return packed[0] if isinstance(packed, list | tuple) and len(packed) == 1 else packed


def boundaries(program: Program, begin: int, end: int) -> tuple[tuple[Slot, ...], tuple[Slot, ...]]:
    """The tensors that go into a part of a program, and those that come out of it.

    Args:
        program: Program.
        begin: int >= 0, index of the first instruction of the part.
        end: int > `begin`, index after the last instruction of the part.

    Returns:
        (tuple of Slot, tuple of Slot): what the part reads and does not compute, and what it computes and later
        instructions or the outputs of the program read.
    """
    own = program.instructions[begin:end]
    made = {slot for instruction in own for slot in instruction.outputs}
    read = dict.fromkeys(slot for instruction in own for slot in instruction.inputs if slot not in made)
    later = {slot for instruction in program.instructions[end:] for slot in instruction.inputs}
    later.update(program.outputs)
    return tuple(read), tuple(slot for instruction in own for slot in instruction.outputs if slot in later)


def _record(graph: Functional, inputs: Sequence[Slot], counter) -> tuple[list[Instruction], tuple[Slot, ...]]:
    slots = {id(tensor): slot for tensor, slot in zip(graph._inputs, inputs, strict=True)}
    instructions = []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input or any(id(tensor) not in slots for tensor in node.input_tensors):
                continue
            args, kwargs = node.arguments.fill_in(slots)
            if _is_transparent(node.operation):
                inner = functional(node.operation)
                inner_instructions, results = _record(inner, _inner_inputs(args, kwargs), counter)
                instructions += inner_instructions
            else:
                results = tuple(_slot(tensor, counter) for tensor in node.outputs)
                instructions.append(Instruction(node.operation, args, kwargs, results))
            slots.update(zip(map(id, node.outputs), results, strict=True))
    return instructions, tuple(slots[id(tensor)] for tensor in graph._outputs)


def _inner_inputs(args, kwargs) -> list[Slot]:
    return [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, Slot)]


def _is_transparent(operation: keras.Operation) -> bool:
    try:
        functional(operation)
    except InputError:
        return False
    return True


def _slot(tensor: keras.KerasTensor, counter) -> Slot:
    return Slot(next(counter), tuple(tensor.shape), tensor.dtype)
