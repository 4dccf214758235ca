"""The layer for models that read numbers beside an image or a text: it standardizes them and appends them to the features.

Takes features (b, d) and numbers (b, k), NaN where one is missing; returns features. Must not know where the numbers come from.
"""

from collections.abc import Sequence

import keras

from kerastrain.errors import InputError

INPUT_NAME = "numbers"
"""The name of the input of the numbers, in a model and in exported signatures."""


@keras.saving.register_keras_serializable("kerastrain")
class AppendNumbers(keras.layers.Layer):
    """Appends numbers to features: f (b, d) and x (b, k) to [f, relu(W · [(x - mean) / stddev, is missing] + b)].

    A missing number (NaN) counts as the mean, that is, as 0. A column of 0 and 1 says where a number is missing, for each
    column in `has_missing`; without one, a model could not learn what a missing number means. A column whose stddev is 0 is
    constant, and becomes 0. The numbers are standardized in float32 under any dtype policy: bfloat16 would round a year.

    Args:
        names: sequence of k str, the names of the numbers.
        mean: sequence of k float.
        stddev: sequence of k float >= 0.
        has_missing: sequence of k bool, whether the numbers of a column may be missing.
        units: int >= 0, the width of W; 0 appends the standardized numbers themselves.
        **options: `name` and `dtype` of a Keras layer.

    Raises:
        InputError: the lengths differ.
    """

    def __init__(
        self,
        names: Sequence[str],
        mean: Sequence[float],
        stddev: Sequence[float],
        has_missing: Sequence[bool],
        units: int = 64,
        **options: object,
    ):
        super().__init__(**{**options, "autocast": False})
        self.names, self.mean, self.stddev = tuple(names), tuple(mean), tuple(stddev)
        self.has_missing, self.units = tuple(map(bool, has_missing)), units
        self.dense = keras.layers.Dense(units, "relu", dtype=self.dtype_policy, name="dense") if units else None
        lengths = [len(values) for values in (self.names, self.mean, self.stddev, self.has_missing)]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise InputError(f"the arguments of AppendNumbers must have one length, at least 1. Received: {lengths}.")

    def build(self, input_shape):
        """Creates the weights of the dense layer."""
        if self.dense:
            self.dense.build((None, len(self.names) + sum(self.has_missing)))
        self.built = True

    def call(self, inputs):
        """The features, followed by the numbers; from a list of features (b, d) and numbers (b, k)."""
        features, numbers = inputs
        numbers = keras.ops.cast(numbers, "float32")
        mean = keras.ops.convert_to_tensor(self.mean, "float32")
        factor = keras.ops.convert_to_tensor([1 / stddev if stddev else 0.0 for stddev in self.stddev], "float32")
        is_missing = keras.ops.isnan(numbers)
        parts = [keras.ops.where(is_missing, 0.0, (numbers - mean) * factor)]
        if columns := [column for column, missing in enumerate(self.has_missing) if missing]:
            parts.append(keras.ops.cast(keras.ops.take(is_missing, columns, axis=1), "float32"))
        standardized = keras.ops.cast(keras.ops.concatenate(parts, axis=-1), features.dtype)
        return keras.ops.concatenate([features, self.dense(standardized) if self.dense else standardized], axis=-1)

    def compute_output_spec(self, inputs):
        """(b, d + units), in the dtype of the features."""
        features, numbers = inputs
        if numbers.shape[-1] != len(self.names):
            raise InputError(
                f"AppendNumbers needs {len(self.names)} numbers: {', '.join(self.names)}. Received: {numbers.shape[-1]}."
            )
        width = self.units or len(self.names) + sum(self.has_missing)
        return keras.KerasTensor((features.shape[0], features.shape[-1] + width), features.dtype)

    def get_config(self):
        """The arguments of the layer."""
        return {
            **super().get_config(),
            "names": list(self.names),
            "mean": list(self.mean),
            "stddev": list(self.stddev),
            "has_missing": list(self.has_missing),
            "units": self.units,
        }


def of(model: keras.Model) -> AppendNumbers | None:
    """The layer of a model that appends numbers.

    Args:
        model: keras.Model, of which the layer is one itself.

    Returns:
        AppendNumbers, or None if the model reads no numbers beside its images or texts.
    """
    return next((layer for layer in model.layers if isinstance(layer, AppendNumbers)), None)
