"""Training that needs less memory and ends with the same weights: micro-batches and recomputed activations.

Takes a compiled `keras.Model` and changes how its `fit` steps; the model itself, its files and its predictions stay
what they are. Must not change what a step computes.
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
from kerastrain.train_step import blocks as blocks_of_layers
from kerastrain.train_step import exact_step

logger = logging.getLogger("kerastrain")

SETTLED = 10  # steps in a row that fit into memory, after which no step is expected not to


def accumulate(model: keras.Model, *, micro_batches: int) -> None:
    """Makes each step of `fit` go through its batch in parts, with one update of the weights from all of them.

    Use it for a batch whose activations do not fit into memory: their peak falls to about 1 / micro_batches, while
    loss, metrics and weights stay those of the whole batch, with any optimizer and strategy; only dropout draws its masks
    part by part. Takes effect on the next `fit`, without XLA; it belongs to this object and is not saved.

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
    exact_step.split(model, micro_batches)


def remat(model: keras.Model, *, blocks: int | Sequence[str] | None = None) -> None:
    """Makes `fit` keep only the activations between blocks of layers, and compute the others anew for the gradient.

    With n layers of like size in b blocks, n / b + b activations are kept instead of n, least at b = sqrt(n), for one
    more forward pass. Dropout draws the same masks again, and batch normalization updates its averages once. Takes
    effect on the next `fit`, without XLA; it belongs to this object and is not saved.

    Args:
        model: keras.Model, functional or Sequential, without a `train_step` of its own; models in it are taken apart.
        blocks: int > 0, the number of blocks, cut where little passes from one to the next; or the names of the layers
            that end a block; None for the square root of the number of layers.

    Raises:
        TypeError: the model brings a `train_step` of its own.
        InputError: the model is not functional, has no layer of such a name, or has layers whose calls cannot be
            repeated: a HubLayer, losses on activations (these at the first step).

    Reference: Chen et al. 2016, https://arxiv.org/abs/1604.06174.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(8, "relu") for _ in range(9))])
        >>> model.compile("adam", "mse")
        >>> checkpoint(model, blocks=3)
    """
    program = programs.record(model)
    blocks_of_layers.check(program)
    cuts = _named_cuts(program, blocks) if isinstance(blocks, Sequence) else _even_cuts(program, blocks)
    ranges = list(zip([0, *cuts], [*cuts, len(program.instructions)], strict=True))

    def forward(x, training: bool):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, x), strict=True))
        for begin, end in ranges:
            blocks_of_layers.run(program, begin, end, values, training=training)
        return programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])

    forward.ranges = ranges  # for `report`
    exact_step.install(model).forward = forward


def _even_cuts(program: programs.Program, blocks: int | None) -> list[int]:
    """Where to cut so that the blocks hold about the same bytes of activations, at the narrowest place nearby."""
    count = len(program.instructions)
    blocks = round(math.sqrt(count)) if blocks is None else blocks
    if not is_whole_number(blocks) or not 1 <= blocks <= count:
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


def split_when_full(model: keras.Model) -> None:
    """Makes `fit` halve its micro-batches as long as its first steps do not fit into the device's memory.

    A step is tried; when TensorFlow runs out of memory, everything that the step may have touched is put back
    (weights, optimizer, batch norm's averages, seeds, metrics), and the same batch is tried again in twice as many
    micro-batches. The global batch, and so the result, stay what they were. Once ten steps in a row have fitted, the
    others are not guarded: their batches are no larger, and what the allocator keeps has settled, where a step that
    has just fitted once may fail the next time. Takes effect on the next `fit`; it belongs to this object and is not
    saved.

    Args:
        model: keras.Model, compiled, without a `train_step` of its own, on one device or the replica of one process.

    Raises:
        TypeError: the model brings a `train_step` of its own.
        InputError: the model trains under a strategy of several devices; or in `fit`: its batch cannot be split
            (see `accumulate`), or a single example does not fit.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> split_when_full(model)
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise InputError(
            f"a full device is answered by smaller micro-batches on one device alone. Received: {replicas} devices. "
            "Give the number with `accumulate(model, micro_batches=…)`."
        )
    step, make = exact_step.install(model), type(model).make_train_function

    def make_train_function(force=False):
        make(model, force=force)
        if force or not isinstance(model.train_function, _FirstSteps):
            model.train_function = _FirstSteps(model, step, model.train_function)
        return model.train_function

    model.make_train_function = make_train_function


class _FirstSteps:
    """A model's train function that splits its batches until they fit, and then gives way to the plain one."""

    def __init__(self, model: keras.Model, step: exact_step.ExactStep, function):
        self.model, self.step, self.function = model, step, function
        self.fitted = 0  # steps in a row

    def __call__(self, iterator):
        batches = list(itertools.islice(iterator, self.model.steps_per_execution))
        if not batches:
            raise StopIteration
        batch = batches[0]
        exact_step.build(self.model, batch)  # a variable that a failed step makes would stay without a value
        again = map(tf.data.Dataset.from_tensors, batches)
        again = functools.reduce(tf.data.Dataset.concatenate, again)
        before = [(variable, variable.numpy()) for variable in _state(self.model)]
        while True:
            try:
                logs = self.function(iter(again))
                break
            except tf.errors.ResourceExhaustedError as error:
                self._split(batch, error)
                for variable, value in before:
                    variable.assign(value)
        self.fitted += len(batches)
        self.model.train_function = self.function if self.fitted >= SETTLED else self
        return logs

    def _split(self, batch, error: Exception) -> None:
        examples = int(exact_step.batch_size(batch))
        wanted = min(2 * self.step.micro_batches, examples)
        if wanted <= self.step.micro_batches:
            raise InputError(
                "the step of a single example does not fit into the device's memory. Take a smaller model or smaller "
                "images, `checkpoint`, or a lower precision."
            ) from error
        try:
            exact_step.split(self.model, wanted)
        except InputError as reason:
            raise InputError(
                f"a batch of {examples} does not fit into the device's memory and cannot be split: {reason} Or lower "
                "the batch size."
            ) from error
        logger.warning("a batch of %d does not fit into memory: it is taken in %d micro-batches", examples, wanted)
        type(self.model).make_train_function(self.model, force=True)
        self.function, self.fitted = self.model.train_function, 0


def _state(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]
