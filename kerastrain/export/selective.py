"""Int8 files in which the most sensitive operations stay in float, found by measurement.

Takes a TFLiteConverter set up for int8; gives the file's bytes. TensorFlow's quantization debugger does both: it runs each
operation in int8 and in float on the same inputs, and leaves those out that it is told to
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger).
"""

import csv
import io
import warnings

import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError

_MEASURED = 32


def require(float_layers: int, quantize: str | None, *, learned: bool) -> None:
    """Refuses what cannot be left in float.

    Raises:
        InputError: the number is negative, or the file is none of int8 after training.
    """
    if isinstance(float_layers, bool) or not isinstance(float_layers, int) or float_layers < 0:
        raise InputError(f"`float_layers` must be a whole number >= 0. Received: {float_layers!r}.")
    if float_layers and (quantize != "int8" or learned):
        raise InputError(
            '`float_layers` goes with quantize="int8" of a model that was not trained for it. Received: '
            f"quantize={quantize!r}. Leave it out."
        )


def convert(converter: tf.lite.TFLiteConverter, calibration: np.ndarray, float_layers: int) -> bytes:
    """The file with the `float_layers` most sensitive operations in float32.

    An operation's error is the mean square of (int8 answer - float answer), as a share of the square of its step:
    rounding alone gives 1/12.

    Args:
        converter: tf.lite.TFLiteConverter with int8 operations and a representative data set.
        calibration: float32 (n, ...), what that data set holds; the first 32 are measured on.
        float_layers: int > 0.

    Returns:
        bytes, with float32 input and output.

    Raises:
        InputError: there are not more operations than that.
    """
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    inputs = [[sample[None]] for sample in calibration[:_MEASURED]]
    with warnings.catch_warnings():
        # The debugger still uses tf.lite.Interpreter, which warns that it is to go.
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf.lite.Interpreter is deprecated")
        ranked = _ranked(
            tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=lambda: iter(inputs))
        )
        if float_layers >= len(ranked):
            raise InputError(
                f"`float_layers` must leave something to be int8. Received: {float_layers} of {len(ranked)} operations. "
                "Lower it, or export float16."
            )
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=ranked[:float_layers])
        chosen = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: iter(inputs), debug_options=options
        )
        return chosen.get_nondebug_quantized_model()


def _ranked(debugger: tf.lite.experimental.QuantizationDebugger) -> list[str]:
    """The names of the operations' answers, the most sensitive first."""
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))

    def error(row: dict[str, str]) -> float:
        return float(row["mean_squared_error"]) / max(float(row["scale"]) ** 2, np.finfo("float64").tiny)

    return [row["tensor_name"] for row in sorted(rows, key=error, reverse=True)]
