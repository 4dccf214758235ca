"""The variables of a Hub module as Keras variables, and Keras's safe mode.

Takes a module's `tf.Variable`s; returns `keras.Variable`s with these as their values. Keras wraps a `tf.Variable` that is
passed as `initializer`, so optimizers, checkpoints and the module's own functions share one state. Must not load modules.

The private names are `keras.Variable._value`, `keras.Layer._track_variable` and `_trainable_variables`, TensorFlow's
`_unique_id` and `serialization_lib.in_safe_mode`. A wrapper that is created before its module is loaded must be pointed
at the module's variable afterwards, a layer has no public way to adopt a variable, and the public `trainable_variables`
of a frozen layer is empty. Read in Keras 3.13 to 3.15; `tests/hub/test_hub_layer.py` and
`tests/keras_internals/test_keras_variables.py` fail when one of them moves.
"""

import weakref
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras.src.saving import serialization_lib

_wrappers: "weakref.WeakValueDictionary[int, keras.Variable]" = weakref.WeakValueDictionary()


def wrapper(variable: tf.Variable, *, name: str, trainable: bool) -> keras.Variable:
    """The `keras.Variable` whose value is `variable`, the same one at every call.

    Two layers on one module must share their wrappers: an optimizer distinguishes variables by the wrapper, and would
    update a variable with two wrappers twice.

    Args:
        variable: tf.Variable, of any numeric dtype.
        name: str, a name for it without "/".
        trainable: bool, whether an optimizer may change it, for every layer that has it.

    Returns:
        keras.Variable of the same dtype and shape; assigning to it assigns to `variable`.
    """
    known = _wrappers.get(id(variable))
    if known is not None and known.value is variable:
        known.trainable = trainable
        return known
    wrapped = keras.Variable(
        initializer=variable, shape=variable.shape, dtype=variable.dtype.name, trainable=trainable, name=name
    )
    _wrappers[id(variable)] = wrapped
    return wrapped


def redirect(wrapped: keras.Variable, variable: tf.Variable) -> None:
    """Points an existing wrapper at another `tf.Variable` and copies the wrapper's present value into it.

    Args:
        wrapped: keras.Variable.
        variable: tf.Variable of the same shape and dtype.
    """
    variable.assign(wrapped.value)
    # A built optimizer knows the weight by this id.
    getattr(variable, "_primary", variable)._unique_id = wrapped.value._unique_id
    wrapped._value = variable
    _wrappers[id(variable)] = wrapped


def track(layer: keras.Layer, variable: keras.Variable) -> None:
    """Makes a variable one of the layer's weights.

    Args:
        layer: keras.Layer that is not built yet.
        variable: keras.Variable, trainable or not.
    """
    layer._track_variable(variable)


def trainable_when_unfrozen(layer: keras.Layer) -> Sequence[keras.Variable]:
    """The layer's own variables that train while the layer is trainable, whether or not it is now.

    Args:
        layer: keras.Layer.

    Returns:
        sequence of keras.Variable, without those of inner layers.
    """
    return layer._trainable_variables


def in_safe_mode() -> bool:
    """Whether Keras is opening a file under `safe_mode=True`, its default."""
    return bool(serialization_lib.in_safe_mode())
