"""Everything inside a compiled model that the next step depends on: its variables, as nested tensors and back.

Takes a `keras.Model`; returns a dict for `store.write`. The state consists of

    weights and averages · seeds of dropout and similar layers · optimizer with its step, slots, moving averages and rate
    factor · masks and other variables of constraints · metrics in the middle of an epoch · Keras's global seed.

Where replicas differ, the value of each is kept, including those of other workers. The state inside stateful random
operations (`tf.random.uniform` in a custom layer or in a Hub module) is not kept, because TensorFlow gives no access to
it: use `keras.random` with a `keras.random.SeedGenerator`. Must not write files.
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
    """Position of a training, before a step that is still to be taken.

    Args:
        phase: str, the name of the stretch of training.
        epoch: int >= 0, the number of epochs that are done.
        epoch_step: int >= 0, the number of steps of this epoch that are done.
        steps_per_epoch: int >= 0; 0 before any training.
    """

    phase: str = "fit"
    epoch: int = 0
    epoch_step: int = 0
    steps_per_epoch: int = 0

    @property
    def step(self) -> int:
        """Number of steps that are done over all epochs; the data resume from this step."""
        return self.epoch * self.steps_per_epoch + self.epoch_step

    def __str__(self) -> str:
        return f"step {self.step:,} (epoch {self.epoch + 1}, phase {self.phase})"


def capture(model: keras.Model) -> dict:
    """State of `model` between two steps. Where several workers train, all must call it after the same step.

    Args:
        model: keras.Model, built and compiled.

    Returns:
        dict from the names of groups ("model", "optimizer", …) to lists with a dict for each variable: `path` is a str,
        `count` the number of replicas, and `replicas` a list with the value of each, or with one value if all are equal.

    Raises:
        InputError: the model is not built or not compiled.
    """
    _require_state(model)
    # Gradients are summed over the replicas before they change a weight or a slot, so these are equal everywhere.
    equal = {id(variable) for variable in [*model.trainable_variables, *model.optimizer.variables]}
    has_one_replica = model.distribute_strategy.num_replicas_in_sync == 1
    groups = {**_groups(model), "metrics": model.metrics_variables, "global_seed": global_seed.existing()}
    strategy = model.distribute_strategy
    every = [variable for variables in groups.values() for variable in variables]
    unequal = [] if has_one_replica else [variable for variable in every if id(variable) not in equal]
    values = {id(variable): [np.asarray(replica.numpy()) for replica in _replicas(variable)] for variable in unequal}
    workers = collectives.all_gather(strategy, [array for arrays in values.values() for array in arrays])
    gathered = [iter(arrays) for arrays in workers]
    for arrays in values.values():
        # The replicas of the first worker, then those of the second, …
        arrays[:] = [next(of_worker) for of_worker in gathered for _ in range(len(arrays))]
    count = collectives.worker_count(strategy)
    return {
        group: [_captured(variable, values.get(id(variable)), count) for variable in variables]
        for group, variables in groups.items()
    }


def restore(model: keras.Model, state: dict) -> None:
    """Restores the state that `capture` returned, except for the metrics.

    Args:
        model: keras.Model with the same layers and optimizer, built and compiled; it may have another number of
            replicas, in which case training resumes from the same weights but not bit for bit.
        state: dict of `capture`, as the store returns it.

    Raises:
        InputError: the model differs from the one whose state was captured.
    """
    _require_state(model)
    before, now = state["optimizer"][0]["count"], model.distribute_strategy.num_replicas_in_sync
    if before != now:
        logger.warning(
            "a training on %d replicas resumes on %d: from the same weights, but not bit for bit", before, now
        )
    for group, variables in _groups(model).items():
        _assign(group, variables, state[group], model.distribute_strategy)
    if state["global_seed"]:
        _assign("global_seed", global_seed.get_or_create(), state["global_seed"], model.distribute_strategy)


def restore_metrics(model: keras.Model, state: dict) -> None:
    """Restores the metrics that `capture` returned; call it right before a step of `fit`.

    Keras creates most metrics only when it traces the first step. In that case they are created right before the step,
    by tracing the part of it that computes them.

    Args:
        model: keras.Model whose `fit` is about to call its `train_function`.
        state: dict of `capture`.

    Raises:
        InputError: the metrics differ from those whose state was captured.
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
    attributes = [value for constraint in constraints for value in vars(constraint).values()]
    return {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "constraints": [value for value in attributes if isinstance(value, keras.Variable)],
    }


def _captured(variable: keras.Variable, values: Sequence[np.ndarray] | None, workers: int) -> dict:
    """The entry of one variable: the values of all replicas, or one value if they are equal.

    `values` is None for a variable whose replicas are known to be equal.
    """
    replicas = _replicas(variable)
    if values is None or all(np.array_equal(value, values[0]) for value in values[1:]):
        values = [tf.convert_to_tensor(replicas[0])]
    return {"path": variable.path, "count": workers * len(replicas), "replicas": [*values]}


def _assign(
    group: str, variables: Sequence[keras.Variable], stored: Sequence[dict], strategy: tf.distribute.Strategy
) -> None:
    _check_equal(group, variables, stored)
    for variable, entry in zip(variables, stored, strict=True):
        values = entry["replicas"] * entry["count"] if len(entry["replicas"]) == 1 else entry["replicas"]
        replicas = _replicas(variable)
        count = collectives.worker_count(strategy) * len(replicas)
        if len(values) != count:
            values = _redistributed(values, count, is_sum=variable.aggregation == "sum")
        first = collectives.worker_index(strategy) * len(replicas)
        for replica, value in zip(replicas, values[first : first + len(replicas)], strict=True):
            replica.assign(value)


def _redistributed(values: Sequence[np.ndarray], count: int, *, is_sum: bool) -> Sequence[np.ndarray]:
    """Values for `count` replicas, made from the values of another number of replicas."""
    if is_sum:
        return [np.sum(values, axis=0, dtype=values[0].dtype), *[np.zeros_like(values[0])] * (count - 1)]
    return [values[0]] * count


def _replicas(variable: keras.Variable) -> Sequence[tf.Variable]:
    """The `tf.Variable`s on the devices of this process that make up one Keras variable."""
    return getattr(variable.value, "values", (variable.value,))


def _check_equal(group: str, variables: Sequence[keras.Variable], stored: Sequence[dict]) -> None:
    here = [(_name(variable.path), tuple(variable.shape)) for variable in variables]
    there = [(_name(entry["path"]), tuple(entry["replicas"][0].shape)) for entry in stored]
    if here == there:
        return
    first = next((index for index, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), None)
    if first is None:
        difference = f"{len(there)} variables, the model {len(here)}"
    else:
        difference = f"{there[first][0]} of shape {there[first][1]}, the model {here[first][0]} of {here[first][1]}"
    raise InputError(
        f"a training must resume with the model, optimizer and metrics it started with. In the group {group!r} the "
        f"checkpoint has {difference}. Build the model as before, or choose another folder of checkpoints."
    )


def _name(path: str) -> str:
    # Keras numbers names within a process: dense_3 here may be dense_1 there.
    return re.sub(r"_\d+(?=[_/]|$)", "", path)


def _require_state(model: keras.Model) -> None:
    """Builds the optimizer if Keras has not done so yet; raises for a model that is not built or not compiled."""
    if not model.built or not model.compiled:
        raise InputError(
            f"saving the state of a training needs a model that is built and compiled. Received: {model.name!r}, which "
            "is not. Give it a keras.Input, or call it on a batch, and call `compile`."
        )
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)  # as Keras does in the first step
