import pytest
import tensorflow as tf

from kerastrain.keras_internals.tflite_converter import ConverterError


def test_the_converter_raises_this_error_for_an_operation_that_it_does_not_know():
    function = tf.function(tf.math.bessel_i0).get_concrete_function(tf.TensorSpec((2,), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    with pytest.raises(ConverterError, match="BesselI0"):
        converter.convert()


def test_the_error_has_no_public_name():
    """If this fails, import the public name and delete `keras_internals/tflite_converter.py`."""
    public = [value for module in (tf.lite, tf.lite.experimental, tf.errors) for value in vars(module).values()]
    assert ConverterError not in public
    assert ConverterError.__bases__ == (Exception,)
