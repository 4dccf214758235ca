"""The exception that TensorFlow's TFLite converter raises for a model that it cannot convert.

Private here: `ConverterError` of `tensorflow.lite.python.convert_phase`. It derives from `Exception`, and `tf.lite` has no
public name for it, so the alternative would be to catch `Exception`. Read in TensorFlow 2.21.0;
`tests/keras_internals/test_tflite_converter.py` fails when the name moves or becomes public. Must hold nothing else.
"""

import tensorflow as tf

try:
    from tensorflow.lite.python.convert_phase import ConverterError
except ImportError as error:
    raise ImportError(
        "kerastrain catches tensorflow.lite.python.convert_phase.ConverterError to explain failed conversions to TFLite. "
        f"TensorFlow {tf.__version__} does not have it. Install tensorflow>=2.20,<2.22."
    ) from error

__all__ = ["ConverterError"]
