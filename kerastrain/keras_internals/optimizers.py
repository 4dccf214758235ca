"""The variables that an optimizer was built for.

Takes a Keras optimizer; returns its variables or the place of one among them. Must not change the optimizer.

The private names are `_trainable_variables` and `_get_variable_index` of `keras.optimizers.Optimizer`, read in Keras
3.12.4 and 3.15.1: the public `variables` lists the optimizer's own slots only, and subclasses find the slot of a variable
by its index. `tests/keras_internals/test_keras_optimizers.py` fails when one of them moves.
"""

from collections.abc import Sequence

import keras


def trained_variables(optimizer: keras.optimizers.Optimizer) -> Sequence[keras.Variable]:
    """The variables that a built optimizer has slots for.

    Args:
        optimizer: built keras optimizer.

    Returns:
        sequence of keras.Variable, in the order of its slots.
    """
    return optimizer._trainable_variables


def variable_index(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> int:
    """The place of a variable among those that an optimizer was built for.

    Args:
        optimizer: built keras optimizer.
        variable: keras.Variable that it trains.

    Returns:
        int >= 0, the index in each list of slots.
    """
    return optimizer._get_variable_index(variable)
