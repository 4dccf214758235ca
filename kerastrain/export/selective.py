"""Int8 files in which the most sensitive operations stay in float, found by measurement.

Takes a TFLiteConverter set up for int8; gives the file's bytes. TensorFlow's quantization debugger does both: it runs each
operation in int8 and in float on the same inputs, and leaves those out that it is told to
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger).
"""

import csv
import io
import warnings
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from kerastrain.errors import InputError, is_whole_number
from kerastrain.export import compact

_MEASURED = 32
_CARRYING = frozenset(
    getattr(schema.BuiltinOperator, name)
    for name in (
        "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "LEAKY_RELU", "MAX_POOL_2D", "MEAN", "MUL", "PAD", "PADV2", "PRELU",
        "REDUCE_MAX", "RELU", "RELU6", "RESHAPE", "SQUEEZE", "STRIDED_SLICE", "SUB", "TRANSPOSE",
    )
)  # fmt: skip
"""The operations that give the range of what they read, and so the outliers in it."""


def require(float_layers: int, quantize: str | None, *, learned: bool) -> None:
    """Refuses what cannot be left in float.

    Raises:
        InputError: the number is negative, or the file is none of int8 after training.
    """
    if not is_whole_number(float_layers) or float_layers < 0:
        raise InputError(f"`float_layers` must be a whole number >= 0. Received: {float_layers!r}.")
    if float_layers and (quantize != "int8" or learned):
        raise InputError(
            '`float_layers` goes with quantize="int8" of a model that was not trained for it. Received: '
            f"quantize={quantize!r}. Leave it out."
        )


def convert(converter: tf.lite.TFLiteConverter, calibration: np.ndarray, float_layers: int) -> bytes:
    """The file in which the answers of the `float_layers` most sensitive operations are never rounded.

    An operation is as sensitive as `noise_share` says, on average over the inputs. Outliers are found by it: where one
    channel is far wider than the others, the step of the whole answer is wider than those others are. What reads such
    an answer is float too, past activations, pooling and additions, which hand the outliers on, up to the next kernel.

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

    def debugger(**options):
        return tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: iter(inputs),
            debug_options=tf.lite.experimental.QuantizationDebugOptions(**options),
        )

    with warnings.catch_warnings():
        # The debugger still uses tf.lite.Interpreter, which warns that it is to go.
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf.lite.Interpreter is deprecated")
        measuring = debugger(layer_direct_compare_metrics={"noise_share": noise_share})
        ranked = _ranked(measuring)
        if float_layers >= len(ranked):
            raise InputError(
                f"`float_layers` must leave something to be int8. Received: {float_layers} of {len(ranked)} operations. "
                "Lower it, or export float16."
            )
        kept = with_readers(compact.unpacked(measuring.calibrated_model), ranked[:float_layers])
        return debugger(denylisted_nodes=kept).get_nondebug_quantized_model()


def noise_share(wanted: np.ndarray, integers: np.ndarray, scale: float, zero: int) -> float:
    """How much of what an int8 answer says is noise, in [0, 1], as a mean over channels.

        share = noise / (noise + signal),  noise = sum (int8 answer - float answer)²,  signal = sum (float answer)²

    A channel that is all zeros, and answered so, has none.

    Args:
        wanted: float32 (..., channels), the float answer.
        integers: int8, the int8 answer.
        scale: float > 0, the size of its step.
        zero: int, the integer that means 0.

    Example:
        >>> noise_share(np.array([[0.4, 90.0]], "float32"), np.array([[0, 90]], "int8"), 1.0, 0)
        0.25
    """
    wanted = wanted.astype("float64")
    answered = (integers.astype("float64") - zero) * scale
    places = tuple(range(wanted.ndim - 1))
    noise, signal = (np.square(values).sum(axis=places) for values in (answered - wanted, wanted))
    return float(np.mean(noise / np.maximum(noise + signal, np.finfo("float64").tiny)))


def with_readers(model: schema.ModelT, names: Iterable[str]) -> list[str]:
    """The answers called `names`, and those of the operations that read them, past those that carry outliers on.

    Args:
        model: schema.ModelT, a file in float.
        names: names of tensors in its first graph.

    Returns:
        list of str, names of tensors, each once.
    """
    graph, found, waiting = model.subgraphs[0], {}, list(names)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    while waiting:
        name = waiting.pop()
        found[name] = None
        for operation in graph.operators:
            if name in _names(graph, operation.inputs):
                answers = [answer for answer in _names(graph, operation.outputs) if answer not in found]
                carries = codes[operation.opcodeIndex] in _CARRYING
                waiting += answers if carries else []
                found.update({} if carries else dict.fromkeys(answers))
    return list(found)


def _names(graph: schema.SubGraphT, numbers: Iterable[int]) -> list[str]:
    return [graph.tensors[number].name.decode() for number in numbers if number >= 0]  # -1 stands for no input.


def _ranked(debugger: tf.lite.experimental.QuantizationDebugger) -> list[str]:
    """The names of the operations' answers, the most sensitive first."""
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    rows = csv.DictReader(io.StringIO(table.getvalue()))
    return [row["tensor_name"] for row in sorted(rows, key=lambda row: float(row["noise_share"]), reverse=True)]
