"""The loss that fits a model's outputs, with one clear error where data and model disagree.

Takes a model that ends in `Labels`; gives a Keras loss. Must not know of backbones or data.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.layers.labels import task


@keras.saving.register_keras_serializable("kerastrain")
class CategoricalCrossentropy(keras.losses.CategoricalCrossentropy):
    """Keras's, which says in one sentence where the data has other classes than the model (InputError)."""

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from one-hot targets and outputs (b, outputs)."""
        _check_one_for_each(y_true, y_pred)
        return super().call(y_true, y_pred)


@keras.saving.register_keras_serializable("kerastrain")
class BinaryCrossentropy(keras.losses.BinaryCrossentropy):
    """Keras's, which says in one sentence where the data has other labels than the model (InputError)."""

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from many-hot targets and outputs (b, outputs)."""
        _check_one_for_each(y_true, y_pred)
        return super().call(y_true, y_pred)


@keras.saving.register_keras_serializable("kerastrain")
class StandardizedSquaredError(keras.losses.Loss):
    """The squared error in units of the targets' own deviation, averaged over the outputs.

        loss(y, p) = mean over outputs of ((y - p) / stddev)²

    So a rate that suits years suits millimetres, and two outputs in other units weigh the same. A model that always says
    the mean has loss 1; 1 - loss is near R².

    Args:
        stddev: sequence of float > 0, one for each output, in the targets' unit.
        reduction: as for Keras losses.
        name: str.
        dtype: the loss's dtype, float32 unless given.

    Example:
        >>> float(StandardizedSquaredError([2.0])(keras.ops.array([[1.0], [3.0]]), keras.ops.array([[1.0], [7.0]])))
        2.0
    """

    def __init__(
        self,
        stddev: Sequence[float],
        reduction: str = "sum_over_batch_size",
        name: str = "standardized_squared_error",
        dtype=None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.stddev = tuple(float(one) for one in stddev)

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from targets and predictions (b, outputs)."""
        _check_one_for_each(y_true, y_pred)
        stddev = keras.ops.convert_to_tensor(self.stddev, y_pred.dtype)
        return keras.ops.mean(keras.ops.square((keras.ops.cast(y_true, y_pred.dtype) - y_pred) / stddev), axis=-1)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "stddev": list(self.stddev)}

    @classmethod
    def from_config(cls, config):
        """The loss of a config; `stddev` was `deviation` in files of 0.1."""
        return cls(**{"stddev" if name == "deviation" else name: value for name, value in config.items()})


def loss(model: keras.Model, *, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """The loss that fits a model's outputs and float32 targets (b, outputs): one-hot, many-hot, or numbers.

    Args:
        model: keras.Model that ends in `Labels`.
        label_smoothing: float in [0, 1), the share of a label's weight that is spread over all classes.

    Returns:
        CategoricalCrossentropy on logits; BinaryCrossentropy on logits for a multi-label model; for a regressor
        StandardizedSquaredError. Each raises InputError where the data has more or fewer labels than the model.

    Raises:
        InputError: the share lies outside [0, 1) or goes with no classes, or the model has no labels.

    Reference: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f"`label_smoothing` must lie in [0, 1). Received: {label_smoothing}.")
    said = task(model)
    if said == "regression":
        if label_smoothing:
            raise InputError(f"`label_smoothing` goes with classes. Received: {label_smoothing}, and a regressor.")
        return StandardizedSquaredError(np.ravel(model.get_layer("targets").scale))
    kind = BinaryCrossentropy if said == "multi_label" else CategoricalCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)


def _check_one_for_each(targets, outputs) -> None:
    found, known = (one.shape[-1] if len(one.shape) == 2 else None for one in (targets, outputs))
    if None not in (found, known) and found != known:
        raise InputError(
            f"the data has {found} labels, the model {known}. Build the model with the `labels` of this data, or train it "
            "on data with its own."
        )
