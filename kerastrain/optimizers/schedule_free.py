"""Schedule-Free AdamW, which averages its steps instead of lowering the learning rate, and so needs no schedule.

Takes the arguments of a Keras optimizer. Must not clip gradients or decay weights: the mixins do. Keras has this
optimizer since 3.14, but its implementation (https://github.com/keras-team/keras/pull/22113, read in 3.15.1) differs from
the paper in five ways:

1. It copies the weights to `momentum` when it is built. `fit` on one device builds it while tracing the step, and the
   copy is lost: momentum starts at 0, and the first step discards the model's weights. Under a strategy the copy
   succeeds, so the results differ.
2. It keeps `momentum.value` to recover the average. On TensorFlow this is the variable and not a copy of its value, so it
   is read after it has changed: from the second step on, the error is as large as the steps.
3. The average weights all steps equally, also those of a warm-up; the paper weights each by its squared rate.
4. Weight decay shrinks the point of the gradient, from which the average is recovered, instead of the fast sequence.
5. The average, which the paper evaluates, is never put into the model.

None of these can be patched from outside, so the update is implemented on Keras's `Optimizer`.
`tests/conformance/test_conformance_optimizers.py` fails once Keras recovers the average correctly (2), and
`tests/optimizers/test_optimizers.py` once it keeps the weights in `fit` (1): then check whether this file is still needed.
"""

import keras
import tensorflow as tf
from keras import ops

from kerastrain.keras_internals.optimizers import variable_index


class ScheduleFree(keras.optimizers.Optimizer):
    """Schedule-Free AdamW without its weight decay, Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.

        y(t) = (1 - beta_1) * z(t) + beta_1 * x(t)                      the model's weights during training
        v(t) = beta_2 * v(t-1) + (1 - beta_2) * g(y(t)) ** 2
        z(t+1) = z(t) - rate(t) * g(y(t)) / (sqrt(v(t) / (1 - beta_2 ** t)) + epsilon)
        x(t+1) = x(t) + (z(t+1) - x(t)) * rate(t) ** 2 / (sum of rate ** 2 up to t)

    Use a constant rate, one to ten times that of AdamW, with a warm-up. The trained model is x: `fit` ends with it, and
    `callbacks.AverageWeights` validates and saves it in every epoch, while Keras's own validation in `fit` evaluates y.
    Batch normalization holds the statistics of y, so keep it frozen. The sequences start at the weights that the model
    has when the optimizer is built, at the latest in `fit`: load other weights before that.

    Args:
        learning_rate: float > 0 or a LearningRateSchedule.
        beta_1: float in [0, 1], the fraction of the average in the point of the gradient.
        beta_2: float in [0, 1), decay of the moving average of squared gradients.
        epsilon: float > 0, added to the root of that average.
        **options: further arguments of Keras's Optimizer.
    """

    keeps_average = True
    """Tells `callbacks.AverageWeights` that `finalize_variable_values` puts an average into the model."""

    def __init__(
        self,
        learning_rate=0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **options: object,
    ):
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        """Creates the sequences z and x, both at the weights, and the moving average of squared gradients."""
        if self.built:
            return
        super().build(variables)
        self._fast = [self.add_variable_from_reference(variable, name="fast") for variable in variables]
        self._averages = [self.add_variable_from_reference(variable, name="average") for variable in variables]
        self._velocities = [self.add_variable_from_reference(variable, name="velocity") for variable in variables]
        self._weight_sums = [self.add_variable((), dtype="float32", name="weight_sum") for _ in variables]
        with tf.init_scope():  # copies now; as a part of the step that `fit` is tracing, the copies would be lost
            for variable, fast, average in zip(variables, self._fast, self._averages, strict=True):
                self.assign(fast, ops.copy(variable))
                self.assign(average, ops.copy(variable))

    def fast(self, variable) -> keras.Variable:
        """The sequence z of a variable of the model.

        Args:
            variable: keras.Variable that the optimizer was built for.

        Returns:
            keras.Variable of the same shape and dtype.
        """
        return self._fast[variable_index(self, variable)]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its sequences at the rate of its layer."""
        index, dtype = variable_index(self, variable), variable.dtype
        average, velocity, weight_sum = self._averages[index], self._velocities[index], self._weight_sums[index]
        gradient, rate = ops.cast(gradient, dtype), ops.cast(learning_rate, dtype)
        correction = 1 - ops.power(ops.cast(self.beta_2, dtype), ops.cast(self.iterations + 1, dtype))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        self.assign_sub(self._fast[index], rate * gradient / (ops.sqrt(velocity / correction) + self.epsilon))
        weight = ops.square(ops.cast(learning_rate, "float32"))
        self.assign_add(weight_sum, weight)
        fraction = ops.cast(ops.divide_no_nan(weight, ops.convert_to_tensor(weight_sum)), dtype)
        self.assign_add(average, (self._fast[index] - average) * fraction)
        self.assign(variable, (1 - self.beta_1) * self._fast[index] + self.beta_1 * average)

    def finalize_variable_values(self, variables):
        """Puts the average x into the model; `fit` calls it at its end.

        Args:
            variables: list of keras.Variable that the optimizer was built for.
        """
        if self.use_ema:
            super().finalize_variable_values(variables)
            return
        for variable in variables:
            average = ops.convert_to_tensor(self._averages[variable_index(self, variable)])
            variable.assign(average if variable.constraint is None else variable.constraint(average))

    def get_config(self) -> dict:
        """The constructor's arguments as JSON values."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
