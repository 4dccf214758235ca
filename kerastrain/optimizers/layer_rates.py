"""Learning rates by layer, weight decay without norms and biases, and one factor on all rates.

A mixin for Keras optimizer classes. `.keras` files lose the variables that Keras's `exclude_from_weight_decay` excludes;
here the choice is part of the optimizer's config, and the factor is one of its variables, so files keep both. Must not
clip gradients or know any optimizer by name.

The private names are `_apply_weight_decay` and `_use_weight_decay` of `keras.optimizers.Optimizer`, read in Keras 3.13.2
to 3.15.1: Keras has no public way to let the decay follow a layer's own rate. `tests/optimizers/test_optimizers.py`
compares the results with formulas, and fails when one of them moves.
"""

import re
import warnings
from collections.abc import Mapping

import keras

from kerastrain.errors import InputError
from kerastrain.keras_internals.optimizers import variable_index


class LayerRates:
    """Mixin that precedes a Keras optimizer class.

        rate(v, t) = learning_rate(t) * rate_factor * layer_rates[first pattern found in v's path, else 1]
        v = v - rate(v, t) * weight_decay * v          if v decays, before the optimizer's own step
        v = step of the optimizer with rate(v, t)

    Args:
        learning_rate: float > 0 or a LearningRateSchedule.
        layer_rates: dict from a regular expression, searched in the path of a variable ("backbone/conv_1/kernel"), to
            a factor >= 0 on its learning rate; the first match counts. 0 keeps the variable as it is.
        decay_norms_and_biases: bool, whether weight decay also shrinks biases and the scales and offsets of
            normalizations. False by default, since they do not overfit (Loshchilov's AdamW decays all variables).
        **arguments: arguments of the Keras optimizer.

    Raises:
        InputError: a factor is negative or a pattern is not a regular expression.
    """

    def __init__(
        self,
        learning_rate,
        *,
        layer_rates: Mapping[str, float] | None = None,
        decay_norms_and_biases: bool = False,
        **arguments,
    ):
        _check_layer_rates(layer_rates or {})
        super().__init__(learning_rate, **arguments)
        self.layer_rates = tuple((layer_rates or {}).items())
        self.decay_norms_and_biases = decay_norms_and_biases
        self.rate_factor = self.add_variable(shape=(), initializer="ones", dtype="float32", name="rate_factor")

    @property
    def learning_rate(self):
        """float32 scalar tensor, the rate of the next step without the factors of layers."""
        return keras.ops.multiply(super().learning_rate, self.rate_factor)

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        """Sets the rate.

        Args:
            learning_rate: float > 0 or a LearningRateSchedule; Keras refuses to replace a schedule by a number.
        """
        keras.optimizers.Optimizer.learning_rate.fset(self, learning_rate)

    def build(self, variables):
        """Creates the optimizer's slots and determines the rate and the decay of each variable."""
        if self.built:
            return
        self._layer_rate_of = [self._layer_rate(variable.path) for variable in variables]
        self._decays = [self.decay_norms_and_biases or not _is_norm_or_bias(variable) for variable in variables]
        for pattern, _ in self.layer_rates:
            if not any(re.search(pattern, variable.path) for variable in variables):
                warnings.warn(
                    f"`layer_rates` has a factor for {pattern!r}, which matches the path of no trainable variable. "
                    f"Received: {', '.join(variable.path for variable in variables[:4])}, ….",
                    stacklevel=2,
                )
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """Decays one variable and updates it, both at the rate of its layer."""
        index = variable_index(self, variable)
        factor = self._layer_rate_of[index]
        rate = learning_rate if factor == 1 else keras.ops.multiply(learning_rate, factor)
        decay = self._weight_decay_of(variable)
        if decay and self._decays[index] and self._use_weight_decay(variable):
            decayed = variable * keras.ops.cast(decay, variable.dtype)
            self.assign_sub(self._decayed_variable(variable), decayed * keras.ops.cast(rate, variable.dtype))
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict:
        """The constructor's arguments as JSON values."""
        return {
            **super().get_config(),
            "layer_rates": dict(self.layer_rates),
            "decay_norms_and_biases": self.decay_norms_and_biases,
        }

    def _layer_rate(self, path: str) -> float:
        return next((factor for pattern, factor in self.layer_rates if re.search(pattern, path)), 1.0)

    def _weight_decay_of(self, variable) -> float | None:
        return self.weight_decay

    def _decayed_variable(self, variable):
        """The variable that the decay is subtracted from."""
        return variable

    def _apply_weight_decay(self, variables):
        """Does nothing: `update_step` decays, because it knows the rate of the layer."""


def _is_norm_or_bias(variable) -> bool:
    return len(variable.shape) <= 1 or variable.name in ("bias", "gamma", "beta", "scale")


def _check_layer_rates(layer_rates: Mapping[str, float]) -> None:
    for pattern, factor in layer_rates.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"`layer_rates` must have regular expressions as keys. Received: {pattern!r} ({error})."
            ) from error
        if not factor >= 0:
            raise InputError(f"a factor in `layer_rates` must be at least 0. Received: {pattern!r}: {factor}.")
