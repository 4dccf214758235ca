"""An optimizer that updates one variable after the other, so that the temporary tensors of only one exist at a time.

Takes a Keras optimizer; changes when its operations run. Must not change what they compute.
"""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from kerastrain.keras_internals.weight_decay import wrap_weight_decay


def update_one_by_one(optimizer: keras.Optimizer) -> None:
    """Makes an optimizer start the update of a variable when that of the previous one has ended.

    TensorFlow runs whatever is ready. When the gradients are, every variable is, and AdamW's intermediate results of all
    variables exist at the same time: about three times the memory of what trains. One by one, they take that of the largest
    variable. The weights stay the same. It belongs to this object and is not saved.

    Args:
        optimizer: keras.Optimizer of a model on one device.

    Example:
        >>> optimizer = keras.optimizers.AdamW()
        >>> update_one_by_one(optimizer)
    """
    inner, chain = getattr(optimizer, "inner_optimizer", optimizer), _Chain()
    update = inner.update_step

    def update_in_turn(gradient, variable, learning_rate):
        with chain.link(variable):
            update(gradient, variable, learning_rate)

    def in_turn(decay):
        def decay_in_turn(variables):
            for variable in variables:
                with chain.link(variable):
                    decay([variable])

        return decay_in_turn

    inner.update_step = update_in_turn
    wrap_weight_decay(inner, in_turn)


class _Chain:
    """Operations of which each link waits for the one before, in the graph that is being traced."""

    def __init__(self):
        self._last = None

    @contextlib.contextmanager
    def link(self, variable) -> Iterator[None]:
        if tf.executing_eagerly():
            yield
            return
        graph = tf.compat.v1.get_default_graph()
        with tf.control_dependencies([self._last] if self._last is not None and self._last.graph is graph else []):
            yield
        # Reading a variable after its update waits for the update.
        self._last = (variable.value if isinstance(variable, keras.Variable) else variable).read_value()
