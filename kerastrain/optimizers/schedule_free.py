"""Schedule-Free AdamW, which needs no schedule and no end: it averages its steps instead of shrinking them.

Takes what a Keras optimizer takes; gives one. Keras has this optimizer since 3.14, and its one leaves the paper
(https://github.com/keras-team/keras/pull/22113, read in 3.15.1) in five ways:

1. It copies the weights to `momentum` where it is built. `fit` on one device builds it while it traces the step, and
   the copy is lost: momentum begins at 0, and the first step throws the model's weights away. Under a strategy the
   copy is made, which is why the two did not agree.
2. It keeps `momentum.value` to recover the average from. On TensorFlow that is the variable and no copy of its value,
   so it is read after it was changed: wrong from the second step on, by as much as the steps themselves.
3. The average weighs all steps alike, also those of a warm-up, where the paper weighs each by its squared rate.
4. Weight decay shrinks the point of the gradient, from which the average is recovered, and not the fast sequence.
5. Nothing ever puts the average into the model, which is what the paper evaluates.

None of these can be patched from outside, so the update is written anew on Keras's `Optimizer`; the private name is its
`_get_variable_index`, as in `layer_rates`. `tests/conformance/test_conformance_optimizers.py` fails once Keras's own
follows the paper and this file is needless. Must not clip gradients or decay weights: the classes beside it do.
"""

import keras
import tensorflow as tf
from keras import ops


class ScheduleFree(keras.optimizers.Optimizer):
    """Schedule-Free AdamW but for its weight decay, Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.

        y(t) = (1 - beta_1) * z(t) + beta_1 * x(t)                      the model's weights in training
        v(t) = beta_2 * v(t-1) + (1 - beta_2) * g(y(t)) ** 2
        z(t+1) = z(t) - rate(t) * g(y(t)) / (sqrt(v(t) / (1 - beta_2 ** t)) + epsilon)
        x(t+1) = x(t) + (z(t+1) - x(t)) * rate(t) ** 2 / (sum of rate ** 2 up to t)

    Give it a constant rate, one to ten times that of AdamW, with a warm-up. The model that one wants is x: `fit` ends
    with it, and `callbacks.AverageWeights` validates and saves it in every epoch; Keras's own validation in `fit` sees
    y. Batch normalization keeps the statistics of y, so it had better stay frozen. The sequences begin at the weights
    that the model has when the optimizer is built, at the latest in `fit`: load others before.

    Args:
        learning_rate: float > 0 or a LearningRateSchedule.
        beta_1: float in [0, 1], the share of the average in the point of the gradient.
        beta_2: float in [0, 1), how much of the mean of squared gradients remains in a step.
        epsilon: float > 0, added to the root of that mean.
        **options: further arguments of Keras's Optimizer.
    """

    keeps_average = True
    """Whether `finalize_variable_values` puts an average in, for `callbacks.AverageWeights`."""

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
        """Makes the sequences z and x, both at the weights, and the mean of squared gradients."""
        if self.built:
            return
        super().build(variables)
        self._fast = [self.add_variable_from_reference(variable, name="fast") for variable in variables]
        self._averages = [self.add_variable_from_reference(variable, name="average") for variable in variables]
        self._velocities = [self.add_variable_from_reference(variable, name="velocity") for variable in variables]
        self._weight_sums = [self.add_variable((), dtype="float32", name="weight_sum") for _ in variables]
        with tf.init_scope():  # now, and not as a part of the step that `fit` is just tracing, which would lose it
            for variable, fast, average in zip(variables, self._fast, self._averages, strict=True):
                self.assign(fast, ops.copy(variable))
                self.assign(average, ops.copy(variable))

    def fast(self, variable) -> keras.Variable:
        """The sequence z of a variable of the model."""
        return self._fast[self._get_variable_index(variable)]

    def update_step(self, gradient, variable, learning_rate):
        """One step on one variable, at the rate of its layer."""
        index, dtype = self._get_variable_index(variable), variable.dtype
        average, velocity, weight_sum = self._averages[index], self._velocities[index], self._weight_sums[index]
        gradient, rate = ops.cast(gradient, dtype), ops.cast(learning_rate, dtype)
        correction = 1 - ops.power(ops.cast(self.beta_2, dtype), ops.cast(self.iterations + 1, dtype))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        self.assign_sub(self._fast[index], rate * gradient / (ops.sqrt(velocity / correction) + self.epsilon))
        weight = ops.square(ops.cast(learning_rate, "float32"))
        self.assign_add(weight_sum, weight)
        share = ops.cast(ops.divide_no_nan(weight, ops.convert_to_tensor(weight_sum)), dtype)
        self.assign_add(average, (self._fast[index] - average) * share)
        self.assign(variable, (1 - self.beta_1) * self._fast[index] + self.beta_1 * average)

    def finalize_variable_values(self, variables):
        """Puts the average x into the model, which `fit` does at its end."""
        if self.use_ema:
            super().finalize_variable_values(variables)
            return
        for variable in variables:
            average = ops.convert_to_tensor(self._averages[self._get_variable_index(variable)])
            variable.assign(average if variable.constraint is None else variable.constraint(average))

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
