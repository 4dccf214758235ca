"""Training that needs less memory and ends with the same weights: micro-batches and recomputed activations.

Takes a compiled `keras.Model` and changes how its `fit` steps; the model itself, its files and its predictions stay
what they are. Must not change what a step computes.
"""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastrain.distribute import program as programs
from kerastrain.distribute.exact_step import ExactStep
from kerastrain.errors import InputError, unknown
from kerastrain.hub_layer import HubLayer


def accumulate(model: keras.Model, *, micro_batches: int) -> None:
    """Makes each step of `fit` go through its batch in parts, with one update of the weights from all of them.

    Use it for a batch whose activations do not fit into memory: their peak falls to about 1 / micro_batches, while
    loss, metrics and weights stay those of the whole batch, with any optimizer and strategy. Takes effect on the next
    `fit`; it belongs to this object and is not saved.

    Args:
        model: keras.Model, without a `train_step` of its own.
        micro_batches: int > 0, parts of each device's batch; 1 for the whole batch at once.

    Raises:
        TypeError: the model brings a `train_step` of its own.
        InputError: `micro_batches` is no positive int, or a BatchNormalization would see only its micro-batch.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> accumulate(model, micro_batches=4)
    """
    if isinstance(micro_batches, bool) or not isinstance(micro_batches, int) or micro_batches < 1:
        raise InputError(f"`micro_batches` must be an int of at least 1. Received: {micro_batches!r}.")
    seeing = [layer.name for layer in _batch_normalizations(model) if layer.trainable]
    if micro_batches > 1 and seeing:
        raise InputError(
            f"a BatchNormalization would see only its micro-batch, and the weights would differ. Received: "
            f"{', '.join(seeing)}. Freeze them with `layer.trainable = False`, or take GroupNormalization."
        )
    _step(model).micro_batches = micro_batches


def checkpoint(model: keras.Model, *, blocks: int | Sequence[str] | None = None) -> None:
    """Makes `fit` keep only the activations between blocks of layers, and compute the others anew for the gradient.

    With n layers of like size in b blocks, n / b + b activations are kept instead of n, least at b = sqrt(n), for one
    more forward pass. Dropout draws the same masks again, and batch normalization updates its averages once. Takes
    effect on the next `fit`; it belongs to this object and is not saved.

    Args:
        model: keras.Model, functional or Sequential, without a `train_step` of its own; models in it are taken apart.
        blocks: int > 0, the number of blocks, cut where little passes from one to the next; or the names of the layers
            that end a block; None for the square root of the number of layers.

    Raises:
        TypeError: the model brings a `train_step` of its own.
        InputError: the model is not functional, has no layer of such a name, or has layers whose calls cannot be
            repeated: a HubLayer, masks, losses on activations (the last at the first step).

    Reference: Chen et al. 2016, https://arxiv.org/abs/1604.06174.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(8, "relu") for _ in range(9))])
        >>> model.compile("adam", "mse")
        >>> checkpoint(model, blocks=3)
    """
    program = programs.record(model)
    _check_repeatable(program)
    cuts = _named_cuts(program, blocks) if isinstance(blocks, Sequence) else _even_cuts(program, blocks)
    ranges = list(zip([0, *cuts], [*cuts, len(program.instructions)], strict=True))

    def forward(x, training: bool):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, x), strict=True))
        for begin, end in ranges:
            _run_block(program, begin, end, values, training)
        return programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])

    _step(model).forward = forward


def _run_block(program: programs.Program, begin: int, end: int, values: dict, training: bool) -> None:
    """Runs instructions `begin` to `end`; their gradient computes them again from the tensors that enter the block."""
    block = program.instructions[begin:end]
    entering, leaving = programs.boundaries(program, begin, end)
    layers = [instruction.operation for instruction in block if isinstance(instruction.operation, keras.Layer)]
    weights = _unique(variable for layer in layers for variable in layer.trainable_variables)
    states = _unique(variable for layer in layers for variable in layer.non_trainable_variables)

    def compute(tensors):
        """A pure function: what would change a variable comes out instead."""
        inside = dict(zip((slot.number for slot in entering), tensors, strict=False))
        mapping = list(zip([*weights, *states], tensors[len(entering) :], strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            programs.run(block, inside, training=training)
        if scope.losses:
            raise InputError(
                "a layer with a loss on its activations cannot be checkpointed: the loss would be lost. Received: one "
                f"of {', '.join(layer.name for layer in layers)}. Name blocks that leave it out, or drop the loss."
            )
        return [inside[slot.number] for slot in leaving], [scope.get_current_value(state) for state in states]

    @tf.custom_gradient
    def recomputed(*tensors):
        outputs, new_states = compute(tensors)

        def gradient(*upstream):
            upstream = upstream[: len(outputs)]
            with tf.control_dependencies([each for each in upstream if each is not None]):
                again = [tf.identity(tensor) for tensor in tensors]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                floats = [tensor for tensor in again if tensor.dtype.is_floating]
                tape.watch(floats)
                results, _ = compute(again)
            found = iter(tape.gradient(results, floats, output_gradients=upstream))
            return [next(found) if tensor.dtype.is_floating else None for tensor in again]

        return [*outputs, *new_states], gradient

    variables = [variable.value for variable in [*weights, *states]]
    results = recomputed(*(values[slot.number] for slot in entering), *map(tf.convert_to_tensor, variables))
    values.update(zip((slot.number for slot in leaving), results, strict=False))
    for state, value in zip(states, results[len(leaving) :], strict=True):
        state.assign(value)


def _even_cuts(program: programs.Program, blocks: int | None) -> list[int]:
    """Where to cut so that the blocks hold about the same bytes of activations, at the narrowest place nearby."""
    count = len(program.instructions)
    blocks = round(math.sqrt(count)) if blocks is None else blocks
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 1 <= blocks <= count:
        raise InputError(f"`blocks` must lie in [1, {count}], the calls of layers in the model. Received: {blocks!r}.")
    passed = [0]
    for instruction in program.instructions:
        passed.append(passed[-1] + sum(map(_size, instruction.outputs)))
    widths = [sum(map(_size, _alive(program, place))) for place in range(count + 1)]
    cuts: list[int] = []
    for number in range(1, blocks):
        first, last = (cuts[-1] if cuts else 0) + 1, count - (blocks - number)
        wanted, tolerance = passed[-1] * number / blocks, passed[-1] / blocks / 4
        apart = {place: abs(passed[place] - wanted) for place in range(first, last + 1)}
        near = [place for place, distance in apart.items() if distance <= tolerance]
        cuts.append(min(near, key=widths.__getitem__) if near else min(apart, key=apart.__getitem__))
    return cuts


def _named_cuts(program: programs.Program, names: Sequence[str]) -> list[int]:
    last = {instruction.operation.name: place + 1 for place, instruction in enumerate(program.instructions)}
    for name in [names] if isinstance(names, str) else names:
        if name not in last:
            raise InputError(unknown("layer", name, last))
    return sorted({last[name] for name in names} - {len(program.instructions)})


def _alive(program: programs.Program, place: int) -> set[programs.Slot]:
    made = {slot for instruction in program.instructions[:place] for slot in instruction.outputs}
    read = {slot for instruction in program.instructions[place:] for slot in instruction.inputs}
    return made & read


def _size(slot: programs.Slot) -> int:
    return math.prod(length or 1 for length in slot.shape[1:])


def _check_repeatable(program: programs.Program) -> None:
    for instruction in program.instructions:
        layer = instruction.operation
        if isinstance(layer, HubLayer):
            raise InputError(
                f"a HubLayer's SavedModel cannot be taken apart into blocks. Received: {layer.name}. Take "
                f"`accumulate` instead, or a backbone 'keras:NAME'."
            )
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
            raise InputError(
                f"a mask does not pass from one block to the next. Received: {layer.name}. Take `accumulate` instead."
            )


def _step(model: keras.Model) -> ExactStep:
    """The step that `model` takes in `fit`, put in place of Keras's own on the first call."""
    if "train_step" in {name for cls in type(model).__mro__ if not _is_keras(cls) for name in vars(cls)}:
        raise TypeError(
            f"`model` must train by Keras's own `train_step`. Received: {type(model).__module__}."
            f"{type(model).__qualname__}, which has one of its own. Split the batch there."
        )
    if not isinstance(model.train_step, ExactStep):
        model.train_step = ExactStep(model)
    model.train_function = None
    return model.train_step


def _batch_normalizations(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def _unique(variables) -> list[keras.Variable]:
    return list({id(variable): variable for variable in variables}.values())


def _is_keras(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("keras", "builtins", "tensorflow")
