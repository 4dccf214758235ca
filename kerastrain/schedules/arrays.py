"""What a curve needs of an array library, so that one formula serves NumPy before a training and TensorFlow in it.

Takes a step or steps; gives floats of the same kind. Must not import TensorFlow on behalf of a number.
"""

import math
from types import ModuleType

import numpy as np

from kerastrain.errors import InputError


def library(value) -> ModuleType:
    """NumPy for its own arrays and for Python's numbers, else TensorFlow, to whose tensors `value` belongs."""
    if isinstance(value, int | float | np.generic | np.ndarray):
        return np
    import tensorflow as tf

    return tf


def floats(value):
    """`value`, ints or floats of any shape, as float32 of the same kind."""
    found = library(value)
    return np.asarray(value, np.float32) if found is np else found.cast(value, "float32")


def progress(step, steps: int):
    """The share of a run of `steps` steps that has passed at `step`, float32 in [0, 1]; raises if `steps` < 1."""
    check_steps(steps)
    return library(step).minimum(floats(step) / steps, 1.0)


def half_cosine(share):
    """Half a cosine: 1 where `share` is 0, 0 where it is 1."""
    return 0.5 * (1.0 + library(share).cos(math.pi * share))


def check_steps(steps: int) -> None:
    """Raises InputError unless `steps` is above 0."""
    if not steps > 0:
        raise InputError(f"`steps` must be above 0, in optimizer steps. Received: steps={steps}.")


def check_fraction(name: str, fraction: float) -> None:
    """Raises InputError unless `fraction` lies in [0, 1]."""
    if not 0 <= fraction <= 1:
        raise InputError(f"`{name}` must lie in [0, 1]. Received: {name}={fraction}.")
