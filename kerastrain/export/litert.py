"""TFLite files for LiteRT, float or quantized after training, each checked by running it in ai-edge-litert.

Takes a keras.Model and real inputs; writes a file and returns a `Parity`. Must not train: `compress` does.
"""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from kerastrain.errors import InputError, unknown
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import calibrated, compact, endpoints, int4, metadata, parity, selective, serving, verified
from kerastrain.export import samples as sampling
from kerastrain.export.full_precision import full_precision
from kerastrain.export.targets import require_target
from kerastrain.keras_internals.layers import every_layer
from kerastrain.keras_internals.tflite_converter import ConverterError
from kerastrain.layers import numbers as number_layers
from kerastrain.layers import quantized

QUANTIZATIONS = (None, "float16", "dynamic", "int8", "int16x8", *int4.KINDS)
INTEGERS = {"uint8": tf.uint8, "int8": tf.int8, "float32": tf.float32}


def tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    quantize: str | None = None,
    representative=None,
    representative_count: int = 200,
    float_layers: int = 0,
    io: str = "uint8",
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    operating_point: OperatingPoint | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as a TFLite file, and checks it with ai-edge-litert.

    The file has a batch size of 1, as accelerators need, the signature `serving_default`, and metadata for MediaPipe: the
    input's normalization and the labels. `digits.labels.txt` and `digits.parity.json` are written beside `digits.tflite`.

    TFLite has no strings, so a model of texts is cut after its `TextVectorization`: the file takes int32 token ids
    (1, length). A model that reads numbers too takes them as a second input `numbers`, in the order of `numbers.txt` beside
    the file and NaN where one is missing. `tokens.json` and `vocabulary.txt`, in the file and beside it, describe how to make
    token ids from a text; `export.tokenize` follows them.

    | quantize       | weights | activations | size against float32 | use it for                                    |
    |----------------|---------|-------------|----------------------|-----------------------------------------------|
    | None           | float32 | float32     | 1                    | reference                                     |
    | "float16"      | float16 | float32     | 1/2                  | GPUs; nearly lossless                         |
    | "dynamic"      | int8    | float32     | 1/4                  | models without representative inputs          |
    | "int16x8"      | int8    | int16       | 1/4                  | models that lose too much accuracy under int8 |
    | "int8"         | int8    | int8        | 1/4                  | fastest on CPUs, NPUs, EdgeTPU                |
    | "int4"         | int4    | float32     | 1/8 to 1/6           | the smallest file                             |
    | "dynamic_int4" | int4    | float32     | 1/8 to 1/6           | the same, with integer multiplication         |

    The last two need ai-edge-quantizer: `pip install 'kerastrain[int4]'`; see `export.int4`.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        path: the file to write, ending in .tflite.
        samples: real inputs to compare on, see `samples.draw`; preferably other ones than `representative`.
        quantize: None or a name from the table.
        representative: real training inputs to calibrate "int8" and "int16x8" with, drawn like `samples`; not needed for
            a model of `compress.quantize_aware`, which has learned its ranges.
        representative_count: int > 0, the most inputs to calibrate with.
        float_layers: int >= 0, the number of operations in an "int8" file whose outputs stay float32: those with the most
            quantization noise on `representative`, such as those with an outlier channel. These operations and those that
            read their outputs compute in float32 (see `selective.convert`), and the file's input and output are float32.
        io: "uint8", "int8" or "float32", dtype of the input and output of an "int8" file. Other files, and files of models
            of texts, have float32 outputs.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax" or "sigmoid" to return probabilities, None to return the model's outputs.
        operating_point: OperatingPoint whose temperature is in the file if there is an `activation`, and that is stored with
            the file as `operating_point.json`; None for none.
        tolerance: Tolerance, or None for `TOLERANCES[quantize]`.
        sample_count: int > 0, the most samples to compare; None for all.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the model cannot be converted, or the samples or an option cannot be used.
        ParityError: the file's outputs differ from `model.predict`; nothing is written and an existing `path` is kept.

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877; https://ai.google.dev/edge/litert/models/metadata
    """
    path = require_target(model, path, activation=activation, replace=replace, suffix=".tflite")
    learned = quantized.is_quantized(model)
    reads_texts = model.inputs[0].dtype == "string"
    _require_options(quantize, representative, io, learned=learned, reads_texts=reads_texts)
    if (numbers := number_layers.of(model)) is not None and quantize not in (None, "float16", "dynamic"):
        raise InputError(
            f"`quantize` must be None, 'float16' or 'dynamic' for a model that reads numbers ({', '.join(numbers.names)}), "
            f"which one scale for all of them would round away. Received: {quantize!r}."
        )
    selective.require(float_layers, quantize, learned=learned)
    prepared = calibrated.calibrated(model, activation, operating_point)

    def convert(source: verified.Source, target: Path) -> None:
        calibration = None
        if quantize in ("int8", "int16x8") and not learned:
            calibration = sampling.draw(representative, model, count=representative_count, name="representative")
            calibration = source.texts.ids(calibration) if source.texts else calibration
        dtype = INTEGERS["float32" if reads_texts else io]
        content = _convert(source, activation, quantize, calibration, dtype, float_layers)
        content = compact.compact(content, {layer.name for layer in every_layer(model)}, unique=quantize is None)
        content = metadata.with_metadata(
            content,
            name=model.name,
            labels=source.labels,
            pixels=endpoints.accepts_image_bytes(model),
            input_files=source.texts.files if source.texts else None,
            numbers=numbers.names if numbers else (),
            other_files=prepared.files,
        )
        target.write_bytes(content)

    with full_precision(model):
        return verified.write(
            prepared,
            path,
            verified.Exporter(convert, lambda target, source: run(target, source.arguments)),
            samples=samples,
            labels=labels,
            activation=activation,
            tolerance=tolerance,
            sample_count=sample_count,
            kind=quantize or "float32",
            takes_strings=False,
        )


def run(path: str | os.PathLike, inputs: np.ndarray | Mapping[str, np.ndarray], *, threads: int = 1) -> np.ndarray:
    """Runs a TFLite file with one output on one example at a time.

    Args:
        path: the .tflite file.
        inputs: array (n, ...), n >= 1, in the units of the float model; quantized first if the file takes integers. For a
            file with several inputs a mapping from the name of each to its array.
        threads: int > 0, the interpreter's threads.

    Returns:
        float32 (n, ...), dequantized if the file returns integers.
    """
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    sources, (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    if isinstance(inputs, Mapping) and len(inputs) > 1:
        by_name = {_argument(source["name"]): source for source in sources}
        columns = [(by_name[name], values) for name, values in inputs.items()]
    else:
        columns = [(sources[0], next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)]
    outputs = []
    for index in range(len(columns[0][1])):
        for source, values in columns:
            interpreter.set_tensor(source["index"], _quantized(values[index][None], source))
        interpreter.invoke()
        outputs.append(_dequantized(interpreter.get_tensor(target["index"]), target)[0])
    return np.stack(outputs)


def _argument(tensor: str) -> str:
    """The argument of the signature that an input tensor such as "serving_default_text:0" belongs to."""
    return tensor.removeprefix(f"{verified.DEFAULT_SIGNATURE}_").partition(":")[0]


def _require_options(quantize: str | None, representative, io: str, *, learned: bool, reads_texts: bool) -> None:
    if quantize not in QUANTIZATIONS:
        raise InputError(unknown("quantization", quantize, [name for name in QUANTIZATIONS if name]))
    if io not in INTEGERS:
        raise InputError(unknown("io", io, INTEGERS))
    if quantize in int4.KINDS:
        int4.require()
    if learned and quantize != "int8":
        raise InputError(
            f'`quantize` must be "int8" for a model that was trained for it. Received: {quantize!r}. Export the model that '
            "was passed to `quantize_aware` instead."
        )
    if quantize in ("int8", "int16x8") and representative is None and not learned:
        raise InputError(
            f'`representative` must be given for quantize="{quantize}": activations are calibrated on it. '
            "Received: None. Pass training inputs."
        )
    if reads_texts and quantize == "int16x8":
        raise InputError(
            "`quantize` must not be 'int16x8' for a model of texts: TFLite finds no range for token ids then. "
            "Received: 'int16x8'. Use 'int8'."
        )


def _convert(source: verified.Source, activation, quantize, calibration, io, float_layers) -> bytes:
    model, shape = source.model, endpoints.shape_of(source.inputs[verified.DEFAULT_SIGNATURE])
    names = endpoints.input_names(model)
    if float_layers and len(names) > 1:
        raise InputError(
            f"`float_layers` needs a model with one input. Received: {model.name!r}, with {' and '.join(names)}. Leave it out."
        )
    with tempfile.TemporaryDirectory() as scratch:
        serving.write(model, f"{scratch}/model", activation, batch_size=1, input_shape=shape)
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{scratch}/model", signature_keys=["serving_default"])
        if quantize and quantize not in int4.KINDS:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            converter.inference_input_type = converter.inference_output_type = io
        if calibration is not None:
            columns = endpoints.arguments(model, calibration)
            rows = range(len(calibration))
            converter.representative_dataset = lambda: (
                {name: values[[row]] for name, values in columns.items()} if len(names) > 1 else [calibration[[row]]]
                for row in rows
            )
            ops = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            if quantize == "int16x8":
                ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [ops]
        try:
            content = selective.convert(converter, calibration, float_layers) if float_layers else converter.convert()
        except ConverterError as error:
            raise InputError(_reason(model, quantize, str(error))) from error
    return int4.quantized(content, quantize) if quantize in int4.KINDS else content


def _reason(model: keras.Model, quantize: str | None, message: str) -> str:
    operations = sorted(set(re.findall(r"tf\.[A-Z]\w+", message)))
    reason = f"TFLite has no {', '.join(operations)}" if operations else message.strip().splitlines()[-1]
    return (
        f"model {model.name!r} cannot be converted to TFLite ({quantize or 'float32'}): {reason}. Export a SavedModel, "
        "or remove the operation from the model."
    )


def _quantized(value: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale:
        return value.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(value / scale + zero), limits.min, limits.max).astype(detail["dtype"])


def _dequantized(value: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    return ((value.astype(np.float32) - zero) * scale if scale else value).astype(np.float32)
