"""How many steps of a phase Keras takes per call into TensorFlow: several where steps are short, with the same results.

Takes the config and the phase, or a compiled model; returns a number, or changes that of the model. Must not train.
"""

import math

import keras

from kerastrain import durations
from kerastrain.config import Config
from kerastrain.recipe import plan

_MOST = 64
"""Steps per execution. A signal, which is met between executions, waits for as many steps; more of them save nothing."""
_LEAST_STEPS = 400
"""Steps of a phase from which the longer trace pays: tracing takes 0.15 s more, and a step saves 1 ms (one core)."""


def steps_per_execution(config: Config, phase: plan.Phase, *, replicas: int = 1) -> int:
    """Returns the steps per execution of a phase.

    Where `fit.steps_per_execution` is auto, a phase that trains only the head on features takes the largest divisor of the
    steps of an epoch up to 64, since its steps are as short as the Python code around them; it also divides the steps after
    which checkpoints are due. All other phases take one, and so do short ones, and steps that several devices share.

    Args:
        config: Config.
        phase: plan.Phase.
        replicas: int > 0, the devices that share a step.

    Returns:
        int > 0, a divisor of `phase.steps_per_epoch`.
    """
    if config.fit.steps_per_execution != "auto":
        return config.fit.steps_per_execution
    if phase.name != "head" or replicas > 1 or phase.trained_epochs * phase.steps_per_epoch < _LEAST_STEPS:
        return 1
    interval = durations.parse_interval(config.fit.checkpoint_every).steps(phase.steps_per_epoch)
    steps = math.gcd(phase.steps_per_epoch, interval or 0)
    return max(number for number in range(1, _MOST + 1) if steps % number == 0)


def resume_at(model: keras.Model, epoch_step: int) -> None:
    """Lowers the steps per execution until they divide the rest of an epoch, in which a training resumes.

    Args:
        model: keras.Model, compiled with steps per execution that divide an epoch.
        epoch_step: int >= 0, the steps of the epoch that are done.
    """
    _set(model, math.gcd(model.steps_per_execution, epoch_step))


def take_steps_one_by_one(model: keras.Model) -> bool:
    """Lets a model take one step per execution, so that each can be looked at.

    Args:
        model: keras.Model, compiled.

    Returns:
        bool, whether it took several before.
    """
    took_several = model.steps_per_execution > 1
    _set(model, 1)
    return took_several


def _set(model: keras.Model, number: int) -> None:
    if number != model.steps_per_execution:
        model.steps_per_execution = number
        model.train_function = None  # which was traced for another number
