"""The loss for a model's task, with one clear error if data and model have different labels.

Takes a model that ends in `Labels`; returns a Keras loss. Must not know of backbones or data.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.layers.labels import task


@keras.saving.register_keras_serializable("kerastrain")
class CategoricalCrossentropy(keras.losses.CategoricalCrossentropy):
    """Keras's CategoricalCrossentropy, with an InputError if the data and the model have different numbers of classes."""

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from one-hot targets and outputs (b, outputs)."""
        _check_output_count(y_true, y_pred)
        return super().call(y_true, y_pred)


@keras.saving.register_keras_serializable("kerastrain")
class BinaryCrossentropy(keras.losses.BinaryCrossentropy):
    """Keras's BinaryCrossentropy, with an InputError if the data and the model have different numbers of labels.

        loss(y, z) = mean over labels of -(weight · y · log σ(z) + (1 - y) · log(1 - σ(z)))

    Args:
        positive_weights: sequence of float >= 0, one for each label, the weight of the examples that have it; None for 1
            each. Requires logits.
        **options: as for `keras.losses.BinaryCrossentropy`.

    Raises:
        InputError: `positive_weights` are given without logits.

    Example:
        >>> loss = BinaryCrossentropy(from_logits=True, positive_weights=[3.0])
        >>> [round(float(loss(np.array([[y]]), np.array([[0.0]]))), 4) for y in (1.0, 0.0)]
        [2.0794, 0.6931]
    """

    def __init__(self, positive_weights: Sequence[float] | None = None, **options: object):
        super().__init__(**options)
        self.positive_weights = None if positive_weights is None else tuple(float(value) for value in positive_weights)
        if positive_weights is not None and not self.from_logits:
            raise InputError("`positive_weights` require logits. Received: from_logits=False. Set from_logits=True.")

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from multi-hot targets and outputs (b, outputs)."""
        _check_output_count(y_true, y_pred)
        if self.positive_weights is None:
            return super().call(y_true, y_pred)
        ops = keras.ops
        targets = ops.cast(y_true, y_pred.dtype) * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        weights = ops.convert_to_tensor(self.positive_weights, y_pred.dtype)
        losses = weights * targets * ops.softplus(-y_pred) + (1 - targets) * ops.softplus(y_pred)
        return ops.mean(losses, axis=-1)

    def get_config(self):
        """The arguments of the constructor."""
        weights = {} if self.positive_weights is None else {"positive_weights": list(self.positive_weights)}
        return {**super().get_config(), **weights}


@keras.saving.register_keras_serializable("kerastrain")
class StandardizedSquaredError(keras.losses.Loss):
    """The squared error relative to the variance of the targets, averaged over the outputs.

        loss(y, p) = mean over outputs of ((y - p) / stddev)²

    So the same learning rate suits targets in years and in millimetres, and outputs in different units have the same
    weight. A model that always predicts the mean has loss 1, and 1 - loss is close to R².

    Args:
        stddev: sequence of float > 0, one for each output, in the unit of the targets.
        reduction: as for `keras.losses.Loss`.
        name: str.
        dtype: dtype of the loss, float32 by default.

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
        self.stddev = tuple(float(value) for value in stddev)

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from targets and predictions (b, outputs)."""
        _check_output_count(y_true, y_pred)
        stddev = keras.ops.convert_to_tensor(self.stddev, y_pred.dtype)
        return keras.ops.mean(keras.ops.square((keras.ops.cast(y_true, y_pred.dtype) - y_pred) / stddev), axis=-1)

    def get_config(self):
        """The arguments of the constructor."""
        return {**super().get_config(), "stddev": list(self.stddev)}

    @classmethod
    def from_config(cls, config):
        """The loss of a config; files of version 0.1 have `deviation` instead of `stddev`."""
        return cls(**{"stddev" if name == "deviation" else name: value for name, value in config.items()})


def loss(
    model: keras.Model, *, label_smoothing: float = 0.0, positive_weights: Sequence[float] | None = None
) -> keras.losses.Loss:
    """Returns the loss for a model's task and float32 targets (b, outputs): one-hot, multi-hot, or numbers.

    Args:
        model: keras.Model that ends in `Labels`.
        label_smoothing: float in [0, 1), the fraction of a label's weight that is spread over all classes.
        positive_weights: for a multi-label model, sequence of float >= 0, the weight of the examples that have each label,
            such as `Examples.positive_weights`; None for 1 each.

    Returns:
        CategoricalCrossentropy on logits; BinaryCrossentropy on logits for a multi-label model; for a regressor
        StandardizedSquaredError. Each raises InputError if the data has more or fewer labels than the model.

    Raises:
        InputError: `label_smoothing` lies outside [0, 1) or is set for a regressor, `positive_weights` are set for another
            model, or the model has no labels.

    Reference: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f"`label_smoothing` must lie in [0, 1). Received: {label_smoothing}.")
    model_task = task(model)
    if positive_weights is not None and model_task != "multi_label":
        raise InputError(f"`positive_weights` are for multi-label models. Received: a model for {model_task!r}.")
    if model_task == "regression":
        if label_smoothing:
            raise InputError(f"`label_smoothing` must be 0 for a regressor. Received: {label_smoothing}.")
        return StandardizedSquaredError(np.ravel(model.get_layer("targets").scale))
    if model_task == "multi_label":
        return BinaryCrossentropy(positive_weights, from_logits=True, label_smoothing=label_smoothing)
    return CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)


def _check_output_count(targets, outputs) -> None:
    data_count, model_count = (tensor.shape[-1] if len(tensor.shape) == 2 else None for tensor in (targets, outputs))
    if None not in (data_count, model_count) and data_count != model_count:
        raise InputError(
            f"the data has {data_count} labels, the model {model_count}. Build the model with the `labels` of this data, or "
            "train it on data with its own."
        )
