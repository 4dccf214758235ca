"""What the next step of a training depends on inside a compiled model: its variables, as nested tensors and back.

Takes a `keras.Model`, gives a dict for `store.write`. The state is that of

    weights and averages · seeds of dropout and its like · optimizer with its step, slots, moving averages and rate factor
    · masks and other variables of constraints · metrics in the middle of an epoch · Keras's global seed.

Where replicas differ, each one's value is kept, those of other workers too. Not kept, because TensorFlow gives no
access to it, is the state inside stateful random operations (`tf.random.uniform` in a layer of your own or in a Hub
module): use `keras.random` with a `keras.random.SeedGenerator`. Must not write files.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.keras_internals import global_seed

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Position:
    """Where a training stands, before a step that is still to be done.

    Args:
        phase: str, the name of the stretch of training.
        epoch: int >= 0, epochs that are over.
        epoch_step: int >= 0, steps of this epoch that are over.
        steps_per_epoch: int >= 0; 0 where nothing has been trained.
    """

    phase: str = "fit"
    epoch: int = 0
    epoch_step: int = 0
    steps_per_epoch: int = 0

    @property
    def step(self) -> int:
        """Steps of all epochs that are over: where the data goes on."""
        return self.epoch * self.steps_per_epoch + self.epoch_step

    def __str__(self) -> str:
        return f"step {self.step:,} (epoch {self.epoch + 1}, phase {self.phase})"


def capture(model: keras.Model) -> dict:
    """The state of `model`, between two steps. Where several workers train, all must call it after the same step.

    Args:
        model: keras.Model, built and compiled.

    Returns:
        dict of lists, each variable a dict of `path`, `count`, its replicas, and `replicas`, a tensor for each of them,
        or one for all where they are equal.

    Raises:
        InputError: the model is not built or not compiled.
    """
    _require_state(model)
    # Gradients are summed over the replicas before they move a weight or a slot: these are equal everywhere.
    equal = {id(variable) for variable in [*model.trainable_variables, *model.optimizer.variables]}
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    groups = {**_groups(model), "metrics": model.metrics_variables, "global_seed": global_seed.existing()}
    strategy = model.distribute_strategy
    every = [variable for variables in groups.values() for variable in variables]
    unequal = [] if alone else [variable for variable in every if id(variable) not in equal]
    values = {id(variable): [np.asarray(one.numpy()) for one in _replicas(variable)] for variable in unequal}
    workers = collectives.all_gather(strategy, [value for found in values.values() for value in found])
    gathered = [iter(arrays) for arrays in workers]
    for found in values.values():
        # Each worker's replicas, one worker after the other.
        found[:] = [next(arrays) for arrays in gathered for _ in range(len(found))]
    count = collectives.worker_count(strategy)
    return {
        group: [_captured(variable, values.get(id(variable)), count) for variable in variables]
        for group, variables in groups.items()
    }


def restore(model: keras.Model, state: dict) -> None:
    """Gives `model` the state that `capture` took, but for its metrics.

    Args:
        model: keras.Model of the same layers and optimizer, built and compiled; it may be on another number of
            replicas, where the training goes on from the same weights but not bit for bit.
        state: dict of `capture`, as the store gave it back.

    Raises:
        InputError: the model differs from the one that the state was taken of.
    """
    _require_state(model)
    before, now = state["optimizer"][0]["count"], model.distribute_strategy.num_replicas_in_sync
    if before != now:
        logger.warning(
            "a training on %d replicas goes on with %d: from the same weights, but not bit for bit", before, now
        )
    for group, variables in _groups(model).items():
        _assign(group, variables, state[group], model.distribute_strategy)
    if state["global_seed"]:
        _assign("global_seed", global_seed.made(), state["global_seed"], model.distribute_strategy)


def restore_metrics(model: keras.Model, state: dict) -> None:
    """Gives the metrics of `model` the values that they had; call it right before a step of `fit`.

    Keras makes most metrics only when it traces the first step. Then they are made right before it, by tracing their
    part of it.

    Args:
        model: keras.Model whose `fit` is about to call its `train_function`.
        state: dict of `capture`.

    Raises:
        InputError: the metrics differ from those that the state was taken of.
    """
    if len(model.metrics_variables) == len(state["metrics"]):
        _assign("metrics", model.metrics_variables, state["metrics"], model.distribute_strategy)
        return
    function = model.train_function

    @tf.function
    def trace(iterator):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(next(iterator))
        model.compute_metrics(x, y, model(x, training=False), sample_weight=sample_weight)

    def first_step(iterator):
        model.train_function = function
        trace.get_concrete_function(iterator)
        _assign("metrics", model.metrics_variables, state["metrics"], model.distribute_strategy)
        return function(iterator)

    model.train_function = first_step


def _groups(model: keras.Model) -> dict[str, Sequence[keras.Variable]]:
    constraints = [variable.constraint for variable in model.variables if variable.constraint is not None]
    return {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "constraints": [one for held in constraints for one in vars(held).values() if isinstance(one, keras.Variable)],
    }


def _captured(variable: keras.Variable, values: Sequence[np.ndarray] | None, workers: int) -> dict:
    """What is stored of one variable: the values of all replicas, or one where they are equal; None where it is known."""
    own = _replicas(variable)
    if values is None or all(np.array_equal(one, values[0]) for one in values[1:]):
        values = [tf.convert_to_tensor(own[0])]
    return {"path": variable.path, "count": workers * len(own), "replicas": [*values]}


def _assign(
    group: str, variables: Sequence[keras.Variable], stored: Sequence[dict], strategy: tf.distribute.Strategy
) -> None:
    _check_equal(group, variables, stored)
    for variable, one in zip(variables, stored, strict=True):
        values = one["replicas"] * one["count"] if len(one["replicas"]) == 1 else one["replicas"]
        replicas = _replicas(variable)
        count = collectives.worker_count(strategy) * len(replicas)
        if len(values) != count:
            values = _divided(values, count, is_sum=variable.aggregation == "sum")
        first = collectives.worker_index(strategy) * len(replicas)
        for replica, value in zip(replicas, values[first : first + len(replicas)], strict=True):
            replica.assign(value)


def _divided(values: Sequence[np.ndarray], count: int, *, is_sum: bool) -> Sequence[np.ndarray]:
    """The values for `count` replicas, made of the values that another number of replicas had."""
    if is_sum:
        return [np.sum(values, axis=0, dtype=values[0].dtype), *[np.zeros_like(values[0])] * (count - 1)]
    return [values[0]] * count


def _replicas(variable: keras.Variable) -> Sequence[tf.Variable]:
    """The `tf.Variable`s on the devices of this process that make up one Keras variable."""
    return getattr(variable.value, "values", (variable.value,))


def _check_equal(group: str, variables: Sequence[keras.Variable], stored: Sequence[dict]) -> None:
    here = [(_name(one.path), tuple(one.shape)) for one in variables]
    there = [(_name(one["path"]), tuple(one["replicas"][0].shape)) for one in stored]
    if here == there:
        return
    first = next((index for index, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), None)
    if first is None:
        difference = f"{len(there)} variables, and {len(here)} here"
    else:
        difference = f"{there[first][0]} of shape {there[first][1]}, and {here[first][0]} of {here[first][1]} here"
    raise InputError(
        f"a training goes on with the model, the optimizer and the metrics that it was begun with. The checkpoint has "
        f"in its {group} {difference}. Make the model as it was, or choose another folder of checkpoints."
    )


def _name(path: str) -> str:
    # Keras counts names up over a process: dense_3 here may be dense_1 there.
    return re.sub(r"_\d+(?=[_/]|$)", "", path)


def _require_state(model: keras.Model) -> None:
    """Makes the optimizer's variables, if Keras has not made them yet; refuses a model that has none of its own."""
    if not model.built or not model.compiled:
        raise InputError(
            f"a training whose state is kept needs a model that is built and compiled. Received: {model.name!r}, which "
            "is not. Give it a keras.Input, or call it on a batch, and call `compile`."
        )
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)  # as Keras does in the first step
