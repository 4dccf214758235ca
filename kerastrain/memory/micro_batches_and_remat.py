"""Training with less memory and the same weights: micro-batches and rematerialized activations.

Takes a compiled `keras.Model` and changes how its `fit` takes steps; the model itself, its files and its predictions stay
the same. Must not change the result of a step.
"""

import functools
import itertools
import logging
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number, unknown
from kerastrain.keras_internals import program as programs
from kerastrain.keras_internals import training as keras_training
from kerastrain.train_step import blocks as blocks_of_layers
from kerastrain.train_step import exact_step

logger = logging.getLogger("kerastrain")

GUARDED_STEPS = 10  # Successful steps in a row, after which the next ones are expected to fit into memory too.


def accumulate(model: keras.Model, *, micro_batches: int) -> None:
    """Makes each step of `fit` process its batch in parts, with one update of the weights from all of them.

    Use it for a batch whose activations do not fit into memory: their peak falls to about 1 / micro_batches, while loss,
    metrics and weights equal those of the whole batch, with any optimizer and strategy. Only dropout differs: it draws
    its masks for each part. Takes effect on the next `fit`, without XLA; it belongs to this object and is not saved.

    Args:
        model: keras.Model that trains by Keras's own `train_step`.
        micro_batches: int >= 1, the parts of each device's batch; 1 for the whole batch at once.

    Raises:
        TypeError: the model overrides `train_step`.
        InputError: `micro_batches` is not a positive int, or a BatchNormalization would see only its micro-batch.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> accumulate(model, micro_batches=4)
    """
    exact_step.set_micro_batches(model, micro_batches)


def remat(model: keras.Model, *, blocks: int | Sequence[str] | None = None) -> None:
    """Makes `fit` keep only the activations between blocks of layers, and recompute the others for the gradient.

    With n layers of equal size in b blocks, n / b + b activations are kept instead of n, fewest at b = sqrt(n), at the cost
    of one more forward pass. Dropout draws the same masks again, and batch normalization updates its averages once. Takes
    effect on the next `fit`, without XLA; it belongs to this object and is not saved.

    Args:
        model: keras.Model, functional or Sequential, that trains by Keras's own `train_step`; nested models are flattened.
        blocks: int >= 1, the number of blocks, which are cut where few bytes pass from one to the next; or str or sequence
            of str, the names of the layers that end a block; None for the square root of the number of layers.

    Raises:
        TypeError: the model overrides `train_step`.
        InputError: the model is not functional, has no layer of such a name, or has layers whose calls cannot be
            repeated: a HubLayer, or (at the first step) losses on activations.

    Reference: Chen et al. 2016, https://arxiv.org/abs/1604.06174.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(8, "relu") for _ in range(9))])
        >>> model.compile("adam", "mse")
        >>> remat(model, blocks=3)
    """
    program = programs.record(model)
    blocks_of_layers.check(program)
    cuts = _named_cuts(program, blocks) if isinstance(blocks, Sequence) else _even_cuts(program, blocks)
    ranges = list(zip([0, *cuts], [*cuts, len(program.instructions)], strict=True))

    def forward(x, training: bool):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, x), strict=True))
        for begin, end in ranges:
            # The gradient begins with the last block, whose activations would be computed again at once.
            is_last = end == len(program.instructions)
            blocks_of_layers.run(program, begin, end, values, training=training, recompute=not is_last)
        return programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])

    forward.ranges = ranges  # for `report`
    exact_step.install(model).forward = forward


def _even_cuts(program: programs.Program, blocks: int | None) -> list[int]:
    """Cuts into blocks with about equal bytes of activations, each at the narrowest position near the equal one."""
    count = len(program.instructions)
    blocks = round(math.sqrt(count)) if blocks is None else blocks
    if not is_whole_number(blocks) or not 1 <= blocks <= count:
        raise InputError(f"`blocks` must lie in [1, {count}], the calls of layers in the model. Received: {blocks!r}.")
    passed = [0]
    for instruction in program.instructions:
        passed.append(passed[-1] + sum(map(_size, instruction.outputs)))
    widths = [sum(map(_size, _alive(program, position))) for position in range(count + 1)]
    cuts: list[int] = []
    for number in range(1, blocks):
        first, last = (cuts[-1] if cuts else 0) + 1, count - (blocks - number)
        target, tolerance = passed[-1] * number / blocks, passed[-1] / blocks / 4
        distances = {position: abs(passed[position] - target) for position in range(first, last + 1)}
        near = [position for position, distance in distances.items() if distance <= tolerance]
        cuts.append(min(near, key=widths.__getitem__) if near else min(distances, key=distances.__getitem__))
    return cuts


def _named_cuts(program: programs.Program, names: Sequence[str]) -> list[int]:
    last = {instruction.operation.name: position + 1 for position, instruction in enumerate(program.instructions)}
    for name in [names] if isinstance(names, str) else names:
        if name not in last:
            raise InputError(unknown("layer", name, last))
    return sorted({last[name] for name in names} - {len(program.instructions)})


def _alive(program: programs.Program, position: int) -> set[programs.Slot]:
    """The tensors that are computed before `position` and read after it."""
    computed = {slot for instruction in program.instructions[:position] for slot in instruction.outputs}
    read = {slot for instruction in program.instructions[position:] for slot in instruction.inputs}
    return computed & read


def _size(slot: programs.Slot) -> int:
    return math.prod(length or 1 for length in slot.shape[1:])


def split_when_full(model: keras.Model) -> None:
    """Makes `fit` halve the size of its micro-batches for as long as its first steps do not fit into the device's memory.

    When TensorFlow runs out of memory in a step, everything that the step may have changed is restored (weights,
    optimizer, moving averages of batch normalization, seeds, metrics), and the same batch is tried again in twice as many
    micro-batches. The global batch, and so the result, stays the same. After ten successful steps in a row the following
    steps are not guarded: their batches are not larger, and the memory that the allocator keeps has settled by then.
    (After one successful step it has not: the next one may still fail.) Takes effect on the next `fit`; it belongs to
    this object and is not saved.

    Args:
        model: keras.Model, compiled, on one device, that trains by Keras's own `train_step`.

    Raises:
        TypeError: the model overrides `train_step`.
        InputError: the model trains under a strategy of several devices; in `fit`: its batch cannot be split (see
            `accumulate`), or a single example does not fit into memory.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> split_when_full(model)
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise InputError(
            f"splitting a batch when memory is full works on one device only. Received: {replicas} devices. Set the number "
            "of micro-batches with `accumulate(model, micro_batches=…)`."
        )
    step, make = exact_step.install(model), type(model).make_train_function

    def make_train_function(force=False):
        make(model, force=force)
        if force or not isinstance(model.train_function, _FirstSteps):
            model.train_function = _FirstSteps(model, step, model.train_function)
        return model.train_function

    model.make_train_function = make_train_function


class _FirstSteps:
    """A train function that splits batches until they fit into memory, and then puts the plain function in its place."""

    def __init__(self, model: keras.Model, step: exact_step.ExactStep, function):
        self.model, self.step, self.function = model, step, function
        self.successful_steps = 0  # in a row

    def __call__(self, iterator):
        batches = list(itertools.islice(iterator, self.model.steps_per_execution))
        if not batches:
            raise StopIteration
        batch = batches[0]
        keras_training.build(self.model, batch)  # A variable that a failed step creates would remain without a value.
        datasets = map(tf.data.Dataset.from_tensors, batches)
        dataset = functools.reduce(tf.data.Dataset.concatenate, datasets)
        before = [(variable, variable.numpy()) for variable in _state(self.model)]
        while True:
            try:
                logs = self.function(iter(dataset))
                break
            except tf.errors.ResourceExhaustedError as error:
                self._split(batch, error)
                for variable, value in before:
                    variable.assign(value)
        self.successful_steps += len(batches)
        self.model.train_function = self.function if self.successful_steps >= GUARDED_STEPS else self
        return logs

    def _split(self, batch, error: Exception) -> None:
        examples = int(exact_step.batch_size(batch))
        micro_batches = min(2 * self.step.micro_batches, examples)
        if micro_batches <= self.step.micro_batches:
            raise InputError(
                "the step of a single example does not fit into the device's memory. Use a smaller model, smaller images, "
                "`kerastrain.memory.remat`, or a lower precision."
            ) from error
        try:
            exact_step.set_micro_batches(self.model, micro_batches)
        except InputError as reason:
            raise InputError(
                f"a batch of {examples} does not fit into the device's memory and cannot be split: {reason} Or lower "
                "the batch size."
            ) from error
        message = "a batch of %d does not fit into memory; splitting it into %d micro-batches"
        logger.warning(message, examples, micro_batches)
        type(self.model).make_train_function(self.model, force=True)
        self.function, self.successful_steps = self.model.train_function, 0


def _state(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]
