"""keras-tuner's Trial of a training: what workers get, also over gRPC.

Takes keras-tuner's module and the state of trainings; returns and changes Trials. Must not decide anything.
"""

import math
from collections.abc import Mapping, Sequence

from kerastrain.tuning import assignments
from kerastrain.tuning.hyperparameters import encode
from kerastrain.tuning.search_state import Point, Training
from kerastrain.tuning.settings import Objective
from kerastrain.tuning.space import Space


def empty(keras_tuner, status: str):
    """A Trial that asks for nothing.

    Args:
        keras_tuner: the module keras_tuner.
        status: "IDLE" or "STOPPED".

    Returns:
        keras_tuner Trial.
    """
    return keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters(), status=status)


def of_training(keras_tuner, space: Space, point: Point, training: Training):
    """The Trial of a training that runs.

    Its hyperparameters have values only: with the space, keras-tuner's gRPC would print conditions and set keys that are not
    active.

    Args:
        keras_tuner: the module keras_tuner.
        space: Space.
        point: Point.
        training: Training of the point.

    Returns:
        keras_tuner Trial with the status RUNNING.
    """
    hyperparameters = keras_tuner.HyperParameters()
    carried = assignments.carried(training.point, training.seed, point.values, training.epochs)
    hyperparameters.values = {**encode(space, point.values), **carried}
    return keras_tuner.engine.trial.Trial(hyperparameters, trial_id=training.trial_id, status="RUNNING")


def show_report(trial, objectives: Sequence[Objective], values: Mapping[str, float], epoch: int) -> None:
    """Shows a report in the metrics of a Trial.

    keras-tuner would average two reports of the same epoch, and computes with what it gets; so only the first one of an epoch is
    shown, and no NaN.

    Args:
        trial: keras_tuner Trial.
        objectives: sequence of Objective.
        values: mapping from objectives to values.
        epoch: int.
    """
    for objective in objectives:
        if not math.isfinite(values.get(objective.name, math.nan)):
            continue
        if not trial.metrics.exists(objective.name):
            trial.metrics.register(objective.name, objective.direction)
        if all(observation.step != epoch for observation in trial.metrics.get_history(objective.name)):
            trial.metrics.update(objective.name, values[objective.name], step=epoch)


def settle(trial, training: Training, objective: Objective) -> None:
    """Gives a Trial the outcome of its training.

    Args:
        trial: keras_tuner Trial.
        training: Training that has ended.
        objective: Objective, the first.
    """
    if training.status == "failed":
        trial.status, trial.message = "FAILED", training.reason
    else:
        trial.status, trial.message = "COMPLETED", None
        trial.score, trial.best_step = training.result[objective.name], training.last_epoch
