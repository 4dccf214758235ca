import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import models
from kerastrain.errors import InputError
from kerastrain.layers import quantized
from kerastrain.layers.quantized import QuantizedKernel, QuantizedOutput


def on_the_grid(values, low, high):
    """The rounding of TFLite in NumPy: 256 steps, with an integer zero point."""
    step = (high - low) / 255
    zero = np.round(-low / step)
    return (np.clip(np.round(values / step + zero), 0, 255) - zero) * step


@pytest.mark.parametrize(("low", "high"), [(-1.1, 1.0), (0.0, 6.0), (-0.3, 7.1), (-2.0, 0.0)])
def test_an_output_is_rounded_as_tflite_rounds(low, high):
    values = np.random.default_rng(0).uniform(-9, 9, 1000).astype("float32")
    result = QuantizedOutput(low, high)(values).numpy()
    step = (high - low) / 255
    expected = on_the_grid(values, low, high)
    assert (
        np.mean(np.abs(result - expected) < 1e-5) > 0.99
    )  # a value halfway between two steps may be rounded up or down
    assert np.abs(result - expected).max() < 1.001 * step
    assert QuantizedOutput(low, high)(np.zeros(1)).numpy() == 0


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_kernel_is_rounded_to_255_steps_by_channel_or_as_a_whole(per_channel):
    layer = QuantizedKernel(keras.layers.Conv2D(5, 3, use_bias=False), per_channel=per_channel)
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")
    layer(images)
    kernel = layer.layer.kernel.numpy()
    kernel[..., 2] = 0
    layer.set_weights([kernel])
    step = np.abs(kernel).max(axis=(0, 1, 2) if per_channel else None) / 127
    expected = np.round(kernel / np.where(step > 0, step, 1)) * step
    np.testing.assert_allclose(
        layer(images), tf.nn.conv2d(images, expected, 1, "VALID"), atol=1e-4 if per_channel else 1e-3
    )
    np.testing.assert_array_equal(layer.layer.kernel.numpy(), kernel)


def test_equal_weights_become_equal_integers_where_the_kernel_has_one_step():
    kernel = np.random.default_rng(0).choice([-0.31, 0.0, 0.17, 1.3], size=(3, 3, 4, 6)).astype("float32")
    kernel[..., 0] = np.clip(kernel[..., 0], -0.31, 0.17)
    assert len(np.unique(quantized.rounded(keras.Variable(kernel), per_channel=False))) == 4
    assert len(np.unique(quantized.rounded(keras.Variable(kernel), per_channel=True))) > 4


def test_gradients_pass_the_rounding_inside_the_range_and_stop_outside():
    values = tf.Variable([-3.0, -0.5, 0.5, 3.0])
    with tf.GradientTape() as tape:
        result = tf.reduce_sum(QuantizedOutput(-1.0, 1.0)(values))
    assert tape.gradient(result, values).numpy().tolist() == [0, 1, 1, 0]


def test_a_model_with_rounding_is_saved_and_opened_again(tmp_path):
    inputs = keras.Input((6, 6, 3))
    x = QuantizedOutput(0.0, 255.0)(inputs)
    x = QuantizedKernel(keras.layers.Conv2D(4, 3, name="conv"), per_channel=True)(x)
    model = keras.Model(inputs, QuantizedOutput(-20.0, 30.0)(x))
    images = np.random.default_rng(0).uniform(0, 255, (2, 6, 6, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    assert quantized.is_quantized(loaded)
    assert not quantized.is_quantized(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (1.0, 2.0), (-2.0, -1.0)])
def test_a_range_must_hold_zero(low, high):
    with pytest.raises(InputError, match="must be a range that includes 0"):
        QuantizedOutput(low, high)
