"""Adam's step with what all variables have in common computed once.

Keras computes the powers of the betas and the corrected rate again for each variable, through its backend-independent
operations. Here they are computed once for each step, which makes the graph of an optimizer step half as large and the
time until the first step of a model with many variables shorter. Must not change a bit of what Keras computes.
"""

import keras
import tensorflow as tf

from kerastrain.keras_internals.optimizers import variable_index


class SharedAdamRate:
    """Mixin before `keras.optimizers.Adam` or a subclass that shares its `update_step`.

        m ← m + (g - m) (1 - beta_1),   v ← v + (g² - v) (1 - beta_2),   w ← w - m · a / (√v + epsilon)
        with a = rate √(1 - beta_2ᵗ) / (1 - beta_1ᵗ)

    Keras's own step remains for what is no plain case: AMSGrad, sparse gradients, and variables that are replaced by
    tensors, as in a `keras.StatelessScope`.
    """

    _shared: dict | None = None

    def apply(self, grads, trainable_variables=None):
        """Applies the gradients."""
        self._shared = {}
        try:
            return super().apply(grads, trainable_variables)
        finally:
            self._shared = None

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its slots."""
        index = variable_index(self, variable)
        variables = list(map(_tensorflow_variable, (variable, self._momentums[index], self._velocities[index])))
        is_dense = not isinstance(gradient, tf.IndexedSlices)
        if self.amsgrad or not (is_dense and all(isinstance(each, tf.Variable) for each in variables)):
            super().update_step(gradient, variable, learning_rate)
            return
        weight, momentum, velocity = variables
        rate = self._corrected_rate(learning_rate, weight.dtype)
        gradient = tf.cast(gradient, weight.dtype)
        momentum.assign_add((gradient - momentum) * (1 - self.beta_1))
        velocity.assign_add((tf.square(gradient) - velocity) * (1 - self.beta_2))
        weight.assign_sub((momentum * rate) / (tf.sqrt(velocity) + self.epsilon))

    def _corrected_rate(self, learning_rate: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The rate a, once for each rate, graph and device of an `apply`."""
        # Several devices take their steps in one graph, and a loss scale or an accumulation takes it in a branch of its own.
        place = "eager" if tf.executing_eagerly() else id(tf.compat.v1.get_default_graph())
        key = (place, tf.constant(0).device, dtype.name, id(learning_rate))
        known = None if self._shared is None else self._shared.get(key)
        if known is not None:
            return known[0]
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        powers = [tf.pow(tf.constant(beta, dtype), step) for beta in (self.beta_1, self.beta_2)]
        rate = tf.cast(learning_rate, dtype) * tf.sqrt(1 - powers[1]) / (1 - powers[0])
        if self._shared is not None:
            self._shared[key] = rate, learning_rate  # held, so that no other tensor gets its id
        return rate


def _tensorflow_variable(variable: keras.Variable | tf.Variable):
    """What a Keras variable wraps; Keras's optimizers pass TensorFlow's own variables to `update_step`."""
    return variable.value if isinstance(variable, keras.Variable) else variable
