"""The places where a Hub module meets a private name of Keras 3: its variables, and safe mode.

Takes a module's `tf.Variable`s; gives `keras.Variable`s that *are* them. Keras wraps a `tf.Variable` that it gets as
`initializer`, so optimizers, checkpoints and the module's own functions see one and the same state. Private here:
`keras.Variable._value` and TensorFlow's `_unique_id` (a wrapper made before its module is there is pointed at the
module's variable afterwards), and `serialization_lib.in_safe_mode`. Checked with Keras 3.13 to 3.15;
`tests/hub/test_hub_layer.py` fails when one of them moves. Must not load modules.
"""

import weakref

import keras
import tensorflow as tf
from keras.src.saving import serialization_lib

_wrappers: "weakref.WeakValueDictionary[int, keras.Variable]" = weakref.WeakValueDictionary()


def wrapper(variable: tf.Variable, *, name: str, trainable: bool) -> keras.Variable:
    """The `keras.Variable` whose value is `variable` itself, the same one at every call.

    Two layers on one module must share their wrappers: an optimizer tells variables apart by the wrapper, and would
    move a variable with two of them twice.

    Args:
        variable: tf.Variable, of any numeric dtype.
        name: str, a name for it without "/".
        trainable: bool, whether an optimizer may move it, for every layer that has it.

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
    """Points an existing wrapper at another `tf.Variable`, which takes over the wrapper's present value."""
    variable.assign(wrapped.value)
    # An optimizer that is built already knows the weight by this id.
    getattr(variable, "_primary", variable)._unique_id = wrapped.value._unique_id
    wrapped._value = variable
    _wrappers[id(variable)] = wrapped


def in_safe_mode() -> bool:
    """Whether Keras is opening a file under `safe_mode=True`, its default."""
    return bool(serialization_lib.in_safe_mode())
