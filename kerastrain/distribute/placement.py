"""Pipeline placement of one model over several devices: each has a range of layers, their variables and optimizer slots.

Takes a compiled functional `keras.Model` and devices; changes where its variables are stored and its operations run. Must
not change the result of a step.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.keras_internals import program as programs
from kerastrain.keras_internals import variables as keras_variables
from kerastrain.keras_internals.weight_decay import wrap_weight_decay
from kerastrain.train_step import blocks, exact_step

_BALANCES = ("parameters",)


@dataclass(frozen=True)
class Stage:
    """The part of a model on one device.

    Args:
        device: str, such as "GPU:1".
        layers: tuple of str, the names of its layers in the order of their calls.
        parameters: int >= 0, the number of elements in its variables.
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
    """Splits a model that is too large for one device into stages, one per device.

    The variables, operations, gradients, optimizer slots and updates of a stage are on its device; tensors that pass from
    one stage to the next are copied. Only operations that need all gradients at once, clipping and moving averages, run on
    the first device. `fit`, `evaluate` and `predict` work as before, with the same results. With one micro-batch the
    devices work in turn; with several, the devices work on different micro-batches at the same time, as in GPipe: with M
    micro-batches on D devices, a device is idle for (D - 1) / (M + D - 1) of the time.

    Call it after `compile`, before the first step. It belongs to this object and is not saved; a saved model opens on one
    device.

    Args:
        model: keras.Model, functional or Sequential and compiled; nested models are flattened. A layer that is called in
            several stages keeps its variables in the first.
        devices: sequence of at least two str, such as ["GPU:0", "GPU:1"].
        at: sequence of str, the names of the layers that begin the second and later stages; None to cut by `balance`.
        balance: "parameters", to minimize the parameters of the largest stage.
        micro_batches: int >= 1, the parts of each batch; the gradient equals that of the whole batch.
        recompute: bool, whether a stage keeps only its input tensors and recomputes its activations for the gradient.

    Returns:
        tuple of Stage, in the order of the devices.

    Raises:
        TypeError: the model overrides `train_step`.
        InputError: a device does not exist, a layer is unknown, there are more devices than calls of layers, the model is
            not compiled or has taken a step, a layer cannot be part of a block (see `blocks.check`), or the batch cannot
            be split (see `exact_step.set_micro_batches`).

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
    exact_step.set_micro_batches(model, micro_batches, overlapping=True)
    cuts = _balanced_cuts(program, len(devices)) if at is None else _named_cuts(program, at, len(devices))
    ranges = list(itertools.pairwise([0, *cuts, len(program.instructions)]))
    stages, placed = [], set()
    for device, (begin, end) in zip(devices, ranges, strict=True):
        new = [variable for variable in blocks.variables(program, begin, end) if id(variable) not in placed]
        placed.update(id(variable) for variable in new)
        _move(new, device)
        names = dict.fromkeys(instruction.operation.name for instruction in program.instructions[begin:end])
        stages.append(Stage(device, tuple(names), sum(int(np.prod(variable.shape)) for variable in new)))
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
    """Starts of the second and later of `count` stages that minimize the parameters of the largest stage."""
    sizes, seen = [], set()
    for position in range(len(program.instructions)):
        used = blocks.variables(program, position, position + 1)
        new = [variable for variable in used if id(variable) not in seen]
        seen.update(map(id, new))
        sizes.append(sum(int(np.prod(variable.shape)) for variable in new))
    passed = [0, *itertools.accumulate(sizes)]
    length = len(sizes)
    # tables[stages - 1][end]: the size of the largest of `stages` stages over the first `end` calls, and the start of the
    # last stage.
    tables = [{end: (passed[end], 0) for end in range(1, length + 1)}]
    for stages in range(2, count + 1):
        tables.append(
            {
                end: min(
                    (max(tables[-1][begin][0], passed[end] - passed[begin]), begin) for begin in range(stages - 1, end)
                )
                for end in range(stages, length + 1)
            }
        )
    cuts, end = [], length
    for table in reversed(tables[1:]):
        end = table[end][1]
        cuts.append(end)
    return cuts[::-1]


def _named_cuts(program: programs.Program, names: Sequence[str], count: int) -> list[int]:
    first: dict[str, int] = {}
    for position, instruction in enumerate(program.instructions):
        first.setdefault(instruction.operation.name, position)
    if isinstance(names, str) or len(names) != count - 1:
        raise InputError(
            f"`at` must name {count - 1} layers, with which the stages after the first begin. Received: {names!r}."
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
            moved = tf.Variable(variable.value, trainable=variable.trainable, dtype=variable.dtype, name=variable.name)
        keras_variables.redirect(variable, moved)


def _place_optimizer(optimizer: keras.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Builds the optimizer with each slot, update and decay on its variable's device; Keras uses the first device."""
    add_variable, update = optimizer.add_variable_from_reference, optimizer.update_step

    def add_variable_on_device(reference_variable, *arguments, **options):
        with _device_of(reference_variable):
            return add_variable(reference_variable, *arguments, **options)

    def update_on_device(gradient, variable, learning_rate):
        with _device_of(variable):
            return update(gradient, variable, learning_rate)

    def on_devices(decay):
        def decay_on_devices(variables):
            for variable in variables:
                with _device_of(variable):
                    decay([variable])

        return decay_on_devices

    optimizer.add_variable_from_reference = add_variable_on_device
    try:
        optimizer.build(variables)
    finally:
        del optimizer.add_variable_from_reference
    optimizer.update_step = update_on_device
    wrap_weight_decay(optimizer, on_devices)


def _device_of(variable: keras.Variable | tf.Variable):
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
        state = "is not compiled" if optimizer is None else "has an optimizer whose slots already exist"
        raise InputError(
            f"`model` must be compiled and must not have taken a step. Received: a model that {state}. Call `compile`."
        )
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError("`place` splits a model over the devices of one replica. Received: a call under a strategy.")
