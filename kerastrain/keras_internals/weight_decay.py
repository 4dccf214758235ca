"""The step in which an optimizer applies its weight decay.

Takes a Keras optimizer; replaces that step. Must not change what is decayed.

The private name is `_apply_weight_decay` of `keras.optimizers.Optimizer`, read in Keras 3.12.4 and 3.15.1: unlike
`update_step`, it has no public name to override. `tests/keras_internals/test_keras_weight_decay.py` fails when it moves.
"""

from collections.abc import Callable, Sequence

import keras


def wrap_weight_decay(
    optimizer: keras.optimizers.Optimizer,
    wrap: Callable[[Callable[[Sequence[keras.Variable]], None]], Callable[[Sequence[keras.Variable]], None]],
) -> None:
    """Replaces the weight decay of an optimizer by a wrapper around it.

    Args:
        optimizer: keras optimizer; changed in place, not saved.
        wrap: callable from the function that decays a sequence of variables to the function to call in its place.
    """
    optimizer._apply_weight_decay = wrap(optimizer._apply_weight_decay)
