"""One model spread over several devices: each holds a stretch of layers, their variables and their optimizer slots.

Takes a compiled functional `keras.Model` and devices; changes where its variables live and its operations run. Must not
change what a step computes.

The private name is `_apply_weight_decay` of Keras's optimizers, read in Keras 3.12.4 and 3.15.1;
`tests/distribute/test_placement.py` fails when it moves.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals import program as programs
from kerastrain.keras_internals import variables as wrapping
from kerastrain.train_step import blocks, exact_step

_BALANCES = ("parameters",)


@dataclass(frozen=True)
class Stage:
    """What one device holds of a model.

    Args:
        device: str, such as "GPU:1".
        layers: tuple of str, the names of its layers in the order of their calls.
        parameters: int, how many numbers its variables hold.
    """

    device: str
    layers: tuple[str, ...]
    parameters: int


def place(
    model: keras.Model,
    devices: Sequence[str],
    *,
    at: Sequence[str] | None = None,
    balance: str = "parameters",
    micro_batches: int = 1,
    recompute: bool = False,
) -> tuple[Stage, ...]:
    """Splits a model that is too large for one device into stages, one for each of `devices`.

    Every stage's variables, operations, gradients, optimizer slots and updates live on its device; what passes from
    one to the next is copied. Only what looks at all gradients at once, clipping and moving averages, runs on the
    first. `fit`, `evaluate` and `predict` go on as before, with the same results. With one micro-batch the devices
    work in turn; with more, each works on another micro-batch at the same time, as in GPipe: of M micro-batches on D
    devices a device idles (D - 1) / (M + D - 1) of the time.

    Call it after `compile`, before the first step. It belongs to this object and is not saved; a saved model opens on
    one device.

    Args:
        model: keras.Model, functional or Sequential and compiled; models in it are taken apart. A layer that is called
            in several stages keeps its variables in the first.
        devices: at least two str, such as ["GPU:0", "GPU:1"].
        at: names of the layers that begin the second stage and those after it; None to cut by `balance`.
        balance: "parameters", for stages whose largest has as few parameters as can be.
        micro_batches: int > 0, parts of each batch; the gradient is that of the whole batch.
        recompute: bool, whether a stage keeps only what enters it and computes its activations again for the gradient.

    Returns:
        tuple of Stage, in the order of the devices.

    Raises:
        InputError: a device is not there, an unknown layer, more devices than layers, a model that is not compiled or
            has taken a step, a layer that cannot be cut off from the others (see `blocks.check`), or what
            `exact_step.split` refuses.

    Reference: Huang et al. 2019, "GPipe", https://arxiv.org/abs/1811.06965.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, name="a"), keras.layers.Dense(1, name="b")])
        >>> model.compile("adam", "mse")
        >>> [(stage.layers, stage.parameters) for stage in place(model, ["CPU:0", "CPU:0"])]
        [(('a',), 24), (('b',), 9)]
    """
    program = programs.record(model)
    blocks.check(program)
    _check(model, program, devices, balance)
    exact_step.split(model, micro_batches, overlapping=True)
    cuts = _balanced_cuts(program, len(devices)) if at is None else _named_cuts(program, at, len(devices))
    ranges = list(itertools.pairwise([0, *cuts, len(program.instructions)]))
    stages, placed = [], {}
    for device, (begin, end) in zip(devices, ranges, strict=True):
        own = [one for one in blocks.variables(program, begin, end) if id(one) not in placed]
        placed.update((id(variable), device) for variable in own)
        _move(own, device)
        names = dict.fromkeys(instruction.operation.name for instruction in program.instructions[begin:end])
        stages.append(Stage(device, tuple(names), sum(int(np.prod(variable.shape)) for variable in own)))
    _place_optimizer(model.optimizer, model.trainable_variables)

    def forward(x, training=None, mask=None):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, x), strict=True))
        for device, (begin, end) in zip(devices, ranges, strict=True):
            blocks.run(program, begin, end, values, training=bool(training), recompute=recompute, device=device)
        return programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])

    model.call = forward
    model.test_function = model.predict_function = None
    return tuple(stages)


def _balanced_cuts(program: programs.Program, count: int) -> list[int]:
    """Where `count` stages begin, but the first, so that the largest has the fewest parameters."""
    sizes, seen = [], set()
    for place_ in range(len(program.instructions)):
        new = [one for one in blocks.variables(program, place_, place_ + 1) if id(one) not in seen]
        seen.update(map(id, new))
        sizes.append(sum(int(np.prod(variable.shape)) for variable in new))
    passed = [0, *itertools.accumulate(sizes)]
    length = len(sizes)
    # least[stages][end]: the size of the largest of `stages` stages over the first `end` calls, and where the last begins.
    least = [{end: (passed[end], 0) for end in range(1, length + 1)}]
    for stages in range(2, count + 1):
        least.append(
            {
                end: min(
                    (max(least[-1][begin][0], passed[end] - passed[begin]), begin) for begin in range(stages - 1, end)
                )
                for end in range(stages, length + 1)
            }
        )
    cuts, end = [], length
    for table in reversed(least[1:]):
        end = table[end][1]
        cuts.append(end)
    return cuts[::-1]


def _named_cuts(program: programs.Program, names: Sequence[str], count: int) -> list[int]:
    first: dict[str, int] = {}
    for place_, instruction in enumerate(program.instructions):
        first.setdefault(instruction.operation.name, place_)
    if isinstance(names, str) or len(names) != count - 1:
        raise InputError(
            f"`at` must name {count - 1} layers, at which the stages after the first begin. Received: {names!r}."
        )
    for name in names:
        if name not in first:
            raise InputError(unknown("layer", name, first))
    cuts = [first[name] for name in names]
    if sorted({*cuts, 0}) != [0, *cuts]:
        raise InputError(
            f"`at` must name layers in the order of their calls, none of them the first. Received: {', '.join(names)}."
        )
    return cuts


def _move(variables: Sequence[keras.Variable], device: str) -> None:
    for variable in variables:
        with tf.device(device):
            there = tf.Variable(variable.value, trainable=variable.trainable, dtype=variable.dtype, name=variable.name)
        wrapping.redirect(variable, there)


def _place_optimizer(optimizer: keras.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Builds the optimizer with each slot, update and decay on the device of its variable; Keras takes the first."""
    make, update, decay = optimizer.add_variable_from_reference, optimizer.update_step, optimizer._apply_weight_decay

    def make_beside(reference_variable, *arguments, **options):
        with _beside(reference_variable):
            return make(reference_variable, *arguments, **options)

    def update_beside(gradient, variable, learning_rate):
        with _beside(variable):
            return update(gradient, variable, learning_rate)

    def decay_beside(variables):
        for variable in variables:
            with _beside(variable):
                decay([variable])

    optimizer.add_variable_from_reference = make_beside
    try:
        optimizer.build(variables)
    finally:
        del optimizer.add_variable_from_reference
    optimizer.update_step, optimizer._apply_weight_decay = update_beside, decay_beside


def _beside(variable: keras.Variable | tf.Variable):
    return tf.device((variable.value if isinstance(variable, keras.Variable) else variable).device)


def _check(model, program: programs.Program, devices: Sequence[str], balance: str) -> None:
    known = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    for device in devices:
        if device not in known:
            raise InputError(unknown("device", device, known))
    if not 2 <= len(devices) <= len(program.instructions):
        raise InputError(
            f"`devices` must name 2 to {len(program.instructions)} devices, at most one for each call of a layer. "
            f"Received: {len(devices)}."
        )
    if balance not in _BALANCES:
        raise InputError(unknown("balance", balance, _BALANCES))
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or optimizer.built:
        state = "not compiled" if optimizer is None else "one whose optimizer has its slots already"
        raise InputError(
            f"`model` must be compiled and not have taken a step. Received: {state}. Compile it (anew) first."
        )
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError("`place` splits a model over the devices of one replica. Received: a call under a strategy.")
