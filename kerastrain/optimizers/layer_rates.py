"""Learning rates by layer, weight decay that leaves out norms and biases, and one factor over all rates.

Takes a Keras optimizer class as the one beside it in a class statement. What Keras's own
`exclude_from_weight_decay` leaves out is forgotten in `.keras` files; here it is part of the optimizer's config, and
the factor is one of its variables, so both come back. Must not clip gradients or know any optimizer by name.

The private names are `_apply_weight_decay`, `_use_weight_decay` and `_get_variable_index` of
`keras.optimizers.Optimizer`, read in Keras 3.13.2 to 3.15.1: Keras has no public place for a decay that follows a
layer's own rate. `tests/optimizers/test_optimizers.py` holds them against formulas.
"""

import re
import warnings
from collections.abc import Mapping

import keras

from kerastrain.errors import InputError


class LayerRates:
    """Mixin before a Keras optimizer class.

        rate(v, t) = learning_rate(t) * rate_factor * layer_rates[first pattern found in v's path, else 1]
        v = v - rate(v, t) * weight_decay * v          if v decays, before the optimizer's own step
        v = step of the optimizer with rate(v, t)

    Args:
        learning_rate: float > 0 or a LearningRateSchedule.
        layer_rates: dict from a regular expression, searched in the path of a variable ("backbone/conv_1/kernel"), to
            a factor >= 0 on its learning rate; the first that is found counts. 0 keeps the variable as it is.
        decay_norms_and_biases: bool, whether weight decay also shrinks biases and the scales and offsets of
            normalizations; it should not, for they do not overfit (Loshchilov's AdamW decays all).
        **arguments: arguments of the Keras optimizer.

    Raises:
        InputError: a factor is negative or a pattern is no regular expression.
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
        """float32 scalar tensor, the rate of the next step, without the factors of single layers."""
        return keras.ops.multiply(super().learning_rate, self.rate_factor)

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        keras.optimizers.Optimizer.learning_rate.fset(self, learning_rate)

    def build(self, variables):
        """Makes the optimizer's slots and settles the rate and the decay of each variable."""
        if self.built:
            return
        self._layer_rate_of = [self._layer_rate(variable.path) for variable in variables]
        self._decays = [self.decay_norms_and_biases or not _is_norm_or_bias(variable) for variable in variables]
        for pattern, _ in self.layer_rates:
            if not any(re.search(pattern, variable.path) for variable in variables):
                warnings.warn(
                    f"`layer_rates` has a factor for {pattern!r}, which is in the path of no trainable variable. "
                    f"Received: {', '.join(variable.path for variable in variables[:4])}, ….",
                    stacklevel=2,
                )
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """One step of the optimizer on one variable, at the rate of its layer, after its decay."""
        index = self._get_variable_index(variable)
        rate = keras.ops.multiply(learning_rate, self._layer_rate_of[index])
        decay = self._weight_decay_of(variable)
        if decay and self._decays[index] and self._use_weight_decay(variable):
            decayed = variable * keras.ops.cast(decay, variable.dtype)
            self.assign_sub(self._decaying(variable), decayed * keras.ops.cast(rate, variable.dtype))
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict:
        """The constructor's arguments, as JSON can hold them."""
        return {
            **super().get_config(),
            "layer_rates": dict(self.layer_rates),
            "decay_norms_and_biases": self.decay_norms_and_biases,
        }

    def _layer_rate(self, path: str) -> float:
        return next((factor for pattern, factor in self.layer_rates if re.search(pattern, path)), 1.0)

    def _weight_decay_of(self, variable) -> float | None:
        return self.weight_decay

    def _decaying(self, variable):
        """What the decay is taken off."""
        return variable

    def _apply_weight_decay(self, variables):
        """Nothing: `update_step` decays, because only there the rate of the layer is known."""


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
