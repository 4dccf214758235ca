"""Array functions for curves, so that one formula serves NumPy before training and TensorFlow during training.

Takes a step or an array of steps; returns floats of the same kind. Must not import TensorFlow for numbers and NumPy
arrays.
"""

import math
from types import ModuleType

import numpy as np

from kerastrain.errors import InputError


def library(value) -> ModuleType:
    """The array library of a value.

    Args:
        value: number, NumPy array or TensorFlow tensor.

    Returns:
        numpy for numbers and NumPy arrays, else tensorflow.
    """
    if isinstance(value, int | float | np.generic | np.ndarray):
        return np
    import tensorflow as tf

    return tf


def floats(value):
    """Converts a value to float32.

    Args:
        value: int or float number, array or tensor of any shape.

    Returns:
        float32 array for numbers and arrays, float32 tensor for tensors, of the same shape.
    """
    module = library(value)
    return np.asarray(value, np.float32) if module is np else module.cast(value, "float32")


def progress(step, steps: int):
    """The fraction of a run that has passed.

    Args:
        step: int, or int array or tensor, 0 <= step.
        steps: int > 0, length of the run in optimizer steps.

    Returns:
        float32 array or tensor of the shape of `step`, in [0, 1]; 1 past the end of the run.

    Raises:
        InputError: `steps` is not positive.
    """
    check_steps(steps)
    return library(step).minimum(floats(step) / steps, 1.0)


def half_cosine(fraction):
    """Half a period of a cosine, which falls from 1 to 0.

        value = (1 + cos(pi * fraction)) / 2

    Args:
        fraction: float, or float array or tensor, in [0, 1].

    Returns:
        float of the kind and shape of `fraction`, in [0, 1].
    """
    return 0.5 * (1.0 + library(fraction).cos(math.pi * fraction))


def check_steps(steps: int) -> None:
    """Checks the length of a run.

    Args:
        steps: int, optimizer steps.

    Raises:
        InputError: `steps` is not positive.
    """
    if not steps > 0:
        raise InputError(f"`steps` must be above 0, in optimizer steps. Received: steps={steps}.")


def check_fraction(name: str, fraction: float) -> None:
    """Checks a fraction.

    Args:
        name: str, the argument's name for the message.
        fraction: float.

    Raises:
        InputError: `fraction` lies outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"`{name}` must lie in [0, 1]. Received: {name}={fraction}.")
