"""Int8 files in which the operations with the most quantization noise stay in float32.

Takes a TFLiteConverter set up for int8; returns the file's bytes. TensorFlow's quantization debugger measures the noise, by
running each operation in int8 and in float32 on the same inputs, and excludes the operations of a denylist
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger). Must not write files.
"""

import contextlib
import csv
import io
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from kerastrain.errors import InputError, is_whole_number
from kerastrain.export import compact

_MEASURED_INPUTS = 32
_OPTIONS = tf.lite.experimental.QuantizationDebugOptions
_RANGE_PRESERVING = frozenset(
    getattr(schema.BuiltinOperator, name)
    for name in (
        "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "LEAKY_RELU", "MAX_POOL_2D", "MEAN", "MUL", "PAD", "PADV2", "PRELU",
        "REDUCE_MAX", "RELU", "RELU6", "RESHAPE", "SQUEEZE", "STRIDED_SLICE", "SUB", "TRANSPOSE",
    )
)  # fmt: skip
"""The operations whose output keeps the range of their input, and so its outliers."""


def require(float_layers: int, quantize: str | None, *, learned: bool) -> None:
    """Checks `float_layers`.

    Args:
        float_layers: int, the number of operations to keep in float32.
        quantize: str or None, the quantization of the file.
        learned: bool, whether the model was trained for int8.

    Raises:
        InputError: `float_layers` is not an int >= 0, or is positive for a file that is not quantized to int8 after
            training.
    """
    if not is_whole_number(float_layers) or float_layers < 0:
        raise InputError(f"`float_layers` must be a whole number >= 0. Received: {float_layers!r}.")
    if float_layers and (quantize != "int8" or learned):
        raise InputError(
            '`float_layers` needs quantize="int8" and a model that was not trained for it. Received: '
            f"quantize={quantize!r}. Leave it out."
        )


class Sensitivity:
    """The sensitivity of a model's operations to int8, from which int8 files with different numbers of float layers are made.

    The sensitivity of an operation is its mean `noise_share` over the inputs. It finds outliers: if the range of one
    channel is far wider than the others, the scale of the whole output is wider than those others are. The operations that
    read such an output stay in float32 too, through activations, pooling and additions, which keep the outliers, up to the
    next kernel.

    Args:
        converter: tf.lite.TFLiteConverter with int8 operations and a representative dataset.
        calibration: float32 (n, ...), the contents of that dataset; noise is measured on the first 32.
    """

    def __init__(self, converter: tf.lite.TFLiteConverter, calibration: np.ndarray):
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        inputs = [[sample[None]] for sample in calibration[:_MEASURED_INPUTS]]
        with _deprecated_interpreter():
            self._debugger = tf.lite.experimental.QuantizationDebugger(
                converter=converter,
                debug_dataset=lambda: iter(inputs),
                debug_options=_OPTIONS(layer_direct_compare_metrics={"noise_share": noise_share}),
            )
            self._ranked = _ranked(self._debugger)
        self._graph = compact.unpacked(self._debugger.calibrated_model)

    def convert(self, float_layers: int) -> bytes:
        """An int8 file in which the outputs of the `float_layers` most sensitive operations stay float32.

        Args:
            float_layers: int > 0, the number of operations.

        Returns:
            bytes of a TFLite file with float32 input and output.

        Raises:
            InputError: the file has no more than `float_layers` operations.
        """
        count = len(self._ranked)
        if float_layers >= count:
            raise InputError(
                f"`float_layers` must leave an operation in int8. Received: {float_layers} of {count} operations. "
                "Lower it, or export float16."
            )
        with _deprecated_interpreter():  # The options keep the calibrated graph.
            self._debugger.options = _OPTIONS(denylisted_nodes=with_readers(self._graph, self._ranked[:float_layers]))
            return self._debugger.get_nondebug_quantized_model()


@contextlib.contextmanager
def _deprecated_interpreter() -> Iterator[None]:
    """Within the block, the debugger does not warn that tf.lite.Interpreter, which it still uses, is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf.lite.Interpreter is deprecated")
        yield


def noise_share(reference: np.ndarray, integers: np.ndarray, scale: float, zero: int) -> float:
    """The share of noise in an int8 output, as a mean over channels.

        share = noise / (noise + signal),  noise = sum (int8 output - float output)²,  signal = sum (float output)²

    The share is 0 for a channel that is 0 in both.

    Args:
        reference: float32 (..., channels), the float output.
        integers: int8 (..., channels), the int8 output.
        scale: float > 0, the quantization step.
        zero: int, the zero point.

    Returns:
        float in [0, 1].

    Example:
        >>> noise_share(np.array([[0.4, 90.0]], "float32"), np.array([[0, 90]], "int8"), 1.0, 0)
        0.25
    """
    reference = reference.astype("float64")
    outputs = (integers.astype("float64") - zero) * scale
    axes = tuple(range(reference.ndim - 1))
    noise, signal = (np.square(values).sum(axis=axes) for values in (outputs - reference, reference))
    return float(np.mean(noise / np.maximum(noise + signal, np.finfo("float64").tiny)))


def with_readers(model: schema.ModelT, names: Iterable[str]) -> list[str]:
    """The tensors `names` and the outputs of the operations that read them, through operations that keep outliers.

    Args:
        model: schema.ModelT, a float32 file.
        names: names of tensors in its first graph.

    Returns:
        list of str, names of tensors without duplicates.
    """
    graph, tensors, pending = model.subgraphs[0], {}, list(names)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    while pending:
        name = pending.pop()
        tensors[name] = None
        for operation in graph.operators:
            if name in _names(graph, operation.inputs):
                outputs = [output for output in _names(graph, operation.outputs) if output not in tensors]
                keeps_range = codes[operation.opcodeIndex] in _RANGE_PRESERVING
                pending += outputs if keeps_range else []
                tensors.update({} if keeps_range else dict.fromkeys(outputs))
    return list(tensors)


def _names(graph: schema.SubGraphT, numbers: Iterable[int]) -> list[str]:
    return [graph.tensors[number].name.decode() for number in numbers if number >= 0]  # -1 is an absent input.


def _ranked(debugger: tf.lite.experimental.QuantizationDebugger) -> list[str]:
    """The names of the operations' outputs, the most sensitive first."""
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    rows = csv.DictReader(io.StringIO(table.getvalue()))
    return [row["tensor_name"] for row in sorted(rows, key=lambda row: float(row["noise_share"]), reverse=True)]
