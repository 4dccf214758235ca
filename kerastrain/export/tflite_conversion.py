"""Converts a SavedModel to the content of a TFLite file.

Takes a folder and arrays; returns TensorFlow's converter. Must import nothing but TensorFlow and NumPy: a process without Keras
and kerastrain opens this file as well, see `saved_model_program`.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

SIGNATURE = "serving_default"


def converter(
    folder: str, quantize: str | None, io: str, calibration: Mapping[str, np.ndarray] | None
) -> tf.lite.TFLiteConverter:
    """Prepares the conversion of a SavedModel, which `convert` of what is returned carries out.

    Args:
        folder: str, the SavedModel, with the signature `serving_default` for one example.
        quantize: "float16", "dynamic", "int8" or "int16x8", or None for float32.
        io: "uint8", "int8" or "float32", the dtype of the input and output of an "int8" file.
        calibration: mapping from each argument of the signature to an array (n, ...), on which the ranges of "int8" and "int16x8"
            are measured; None for a model that knows its ranges, and for other files.

    Returns:
        tf.lite.TFLiteConverter.
    """
    made = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    if quantize:
        made.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        made.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        made.inference_input_type = made.inference_output_type = getattr(tf, io)
    if calibration is not None:
        rows = range(len(next(iter(calibration.values()))))
        made.representative_dataset = lambda: (
            {name: values[[row]] for name, values in calibration.items()}
            if len(calibration) > 1
            else [values[[row]] for values in calibration.values()]
            for row in rows
        )
        ops = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        if quantize == "int16x8":
            ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        made.target_spec.supported_ops = [ops]
    return made
