"""Layers that compute as an int8 file does: kernels and activations are rounded to the steps of their ranges.

`compress.quantize_aware` builds its models of these layers, and `export.tflite` turns each rounding into integers. This
module does not depend on either, so that `.keras` files load without them. Must not learn ranges.
"""

import keras
import tensorflow as tf

from kerastrain.errors import InputError


@keras.saving.register_keras_serializable("kerastrain")
class QuantizedOutput(keras.layers.Layer):
    """Rounds activations to the 256 steps of a range, and clips values outside.

        step = (high - low) / 255,    output = clip(round(input / step) * step, low, high)

    The range is shifted by less than a step so that 0 is exact. In training the gradient is 1 inside the range and 0
    outside.

    Args:
        low: float <= 0.
        high: float >= 0, greater than `low`.
        **options: `name` of a Keras layer.

    Raises:
        InputError: the range is empty or does not include 0.

    Example:
        >>> [round(x, 3) for x in QuantizedOutput(-1.0, 1.0)(tf.constant([0.0, 0.3, 9.0])).numpy().tolist()]
        [0.0, 0.298, 1.004]

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.
    """

    def __init__(self, low: float, high: float, **options: object):
        super().__init__(**options)
        if not low <= 0 <= high or low == high:
            raise InputError(f"`low` and `high` must be a range that includes 0. Received: {low:g} and {high:g}.")
        self.low, self.high = float(low), float(high)

    def call(self, inputs):
        """`inputs`, float of any shape, rounded."""
        result = tf.quantization.fake_quant_with_min_max_args(tf.cast(inputs, tf.float32), min=self.low, max=self.high)
        return tf.cast(result, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """The input shape."""
        return input_shape

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("kerastrain")
class QuantizedKernel(keras.layers.Wrapper):
    """Calls a layer with its kernel rounded to int8: 255 steps, symmetric around 0.

        step = max |kernel| / 127,    kernel -> round(kernel / step) * step

    The maximum is taken over each output channel, or over the whole kernel. The wrapped layer keeps its kernel unrounded.

    Args:
        layer: keras.Layer with a `kernel`: Conv2D, DepthwiseConv2D, Dense.
        per_channel: bool, whether each output channel has its own step; TFLite does not support this for Dense. With
            False, equal weights become equal integers in the whole kernel.
        **options: `name` of a Keras layer.

    Reference: https://ai.google.dev/edge/litert/models/quantization_spec
    """

    def __init__(self, layer: keras.Layer, *, per_channel: bool, **options: object):
        super().__init__(layer, **{"name": layer.name, **options})
        self.per_channel = per_channel

    def call(self, inputs):
        """The output of the layer for `inputs`, with a rounded kernel."""
        kernel = self.layer.kernel
        with keras.StatelessScope(state_mapping=[(kernel, rounded(kernel, per_channel=self.per_channel))]):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape):
        """The output shape of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        """The arguments of the layer."""
        config = {**super().get_config(), "per_channel": self.per_channel}
        config["layer"].pop("build_config", None)  # The wrapper builds the wrapped layer.
        return config

    @classmethod
    def from_config(cls, config):
        """The layer of a config."""
        return super().from_config(dict(config))  # A copy, because Keras removes the wrapped layer from the dict.


def rounded(kernel: keras.Variable, *, per_channel: bool) -> tf.Tensor:
    """Rounds a kernel to the int8 steps of `QuantizedKernel`.

    Args:
        kernel: float32 (..., channels).
        per_channel: bool, whether the last axis has its own steps.

    Returns:
        float32 of the same shape; zeros stay exact.
    """
    value = tf.cast(tf.convert_to_tensor(kernel), tf.float32)
    magnitude = tf.stop_gradient(tf.abs(value))
    largest = tf.reduce_max(magnitude)
    if len(value.shape) == 2 and not per_channel:
        return tf.quantization.fake_quant_with_min_max_vars(value, -largest, largest, narrow_range=True)
    limits = tf.reduce_max(magnitude, axis=list(range(len(value.shape) - 1)))
    # A channel of zeros has no step. Without `per_channel` every channel gets the same limit, because TFLite folds batch norm
    # only into kernels with steps by channel.
    limits = tf.where(limits > 0, limits, largest) if per_channel else tf.fill(limits.shape, largest)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(value, -limits, limits, narrow_range=True)


def is_quantized(model: keras.Model) -> bool:
    """Whether a model rounds its activations, so that an int8 file can use its ranges.

    Args:
        model: keras.Model.
    """
    return any(isinstance(layer, QuantizedOutput) for layer in model.layers)
