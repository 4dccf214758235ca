"""TFLite files for LiteRT, float or quantized after training, believed only after ai-edge-litert has run them.

Takes a keras.Model and real inputs, gives a file and a `Parity`. Must not train: that is `compress`'s.
"""

import os
import re
import tempfile
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python.convert_phase import ConverterError

from kerastrain.errors import InputError, unknown
from kerastrain.export import compact, endpoints, int4, metadata, parity, selective, serving, tokens
from kerastrain.export import samples as sampling
from kerastrain.export.targets import labels_of, require_free, sizes, task_of, write_beside
from kerastrain.layers import quantized
from kerastrain.system import files
from kerastrain.transfer import freezing

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
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as a TFLite file, and proves it with ai-edge-litert.

    The file has a batch size of 1, as accelerators want it, the signature `serving_default`, and metadata that
    MediaPipe reads: the input's normalization and the labels. Beside `digits.tflite` lie `digits.labels.txt` and
    `digits.parity.json`.

    A model of texts is cut behind its `TextVectorization`, as TFLite holds no strings: the file takes int32 token ids
    (1, length). `tokens.json` and `vocabulary.txt`, inside of the file and beside it, say how a text becomes its ids;
    `export.tokenize` does it.

    | quantize       | weights | activations | size against float32 | use it for                        |
    |----------------|---------|-------------|----------------------|-----------------------------------|
    | None           | float32 | float32     | 1                    | reference                         |
    | "float16"      | float16 | float32     | 1/2                  | GPUs; nearly lossless             |
    | "dynamic"      | int8    | float32     | 1/4                  | no representative set at hand     |
    | "int16x8"      | int8    | int16       | 1/4                  | where int8 loses too much         |
    | "int8"         | int8    | int8        | 1/4                  | fastest on CPUs, NPUs, EdgeTPU    |
    | "int4"         | int4    | float32     | 1/8 to 1/6           | the smallest file                 |
    | "dynamic_int4" | int4    | float32     | 1/8 to 1/6           | the same, multiplied in integers  |

    The last two need ai-edge-quantizer: `pip install 'kerastrain[int4]'`; see `four_bits`.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        path: the file to write, ending in .tflite.
        samples: real inputs to compare on, see `samples.draw`; best not those of `representative`.
        quantize: None or a name of the table.
        representative: real training inputs to calibrate "int8" and "int16x8" with, drawn like `samples`; not needed for
            a model of `compress.quantize_aware`, which has learned its ranges.
        representative_count: int > 0, the most inputs to calibrate with.
        float_layers: int >= 0, how many operations' answers are never rounded in an "int8" file: those of which int8 keeps
            least on `representative`, such as those with an outlier channel. They and what reads them compute in float32
            (see `selective.convert`), and so are the file's input and output.
        io: "uint8", "int8" or "float32", type of the input and output of an "int8" file; others are always float32, and
            so are the answers to texts.
        labels: class names in the order of the outputs, or None for those that travel with the model.
        activation: "softmax" or "sigmoid" to answer probabilities, None to answer the model's outputs.
        tolerance: Tolerance, or None for the `TOLERANCES` of `quantize`.
        sample_count: int > 0, the most samples to compare; None for all.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the model cannot be converted, or the samples or an option cannot be used.
        ParityError: the file answers otherwise than `model.predict`; nothing is left at `path`, or what stood there.

    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877; https://ai.google.dev/edge/litert/models/metadata
    """
    endpoints.require_exportable(model, activation)
    path = require_free(path, replace=replace, suffix=".tflite")
    learned = quantized.is_quantized(model)
    _require_options(quantize, representative, io, learned=learned)
    labels = labels_of(model, labels)
    selective.require(float_layers, quantize, learned=learned)
    texts = tokens.behind(model) if model.inputs[0].dtype == "string" else None
    if texts is not None and quantize == "int16x8":
        raise InputError(
            "`quantize` must not be 'int16x8' for a model of texts: TFLite finds no range for token ids then. "
            "Received: 'int16x8'. Use 'int8'."
        )
    inputs, targets = sampling.draw_with_targets(samples, model, count=sample_count)
    calibration = None
    if quantize in ("int8", "int16x8") and not learned:
        calibration = sampling.draw(representative, model, count=representative_count, name="representative")
    reference = endpoints.answers(model, inputs, activation)
    exported, packed = model, {}
    if texts is not None:
        exported, packed, io = texts.model, texts.files, "float32"
        inputs, calibration = texts.ids(inputs), None if calibration is None else texts.ids(calibration)
    content = _convert(exported, inputs.shape[1:], activation, quantize, calibration, INTEGERS[io], float_layers)
    layers = {layer.name for layer in freezing.every_layer(model)}
    content = compact.compact(content, layers, unique=quantize is None)
    pixels = endpoints.takes_encoded_images(model)
    content = metadata.describe(content, name=model.name, labels=labels, pixels=pixels, input_files=packed)
    with files.atomic(path) as temporary:
        temporary.write_bytes(content)
        measured = parity.check(
            reference,
            run(temporary, inputs),
            file=path.name,
            kind=quantize or "float32",
            **sizes(temporary),
            targets=targets,
            tolerance=tolerance,
            threshold=endpoints.threshold(activation),
            task=task_of(model),
        )
    write_beside(path, labels, measured, packed)
    return measured


def run(path: str | os.PathLike, inputs: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """What a TFLite file with one input and one output answers, one input at a time, in real numbers.

    Args:
        path: the .tflite file.
        inputs: array (n, ...), in the units of the float model; quantized on the way in where the file wants integers.
        threads: int > 0, the interpreter's threads.

    Returns:
        float32 (n, ...), dequantized where the file answers integers.
    """
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(source["index"], _quantized(sample[None], source))
        interpreter.invoke()
        outputs.append(_dequantized(interpreter.get_tensor(target["index"]), target)[0])
    return np.stack(outputs)


def _require_options(quantize: str | None, representative, io: str, *, learned: bool) -> None:
    if quantize not in QUANTIZATIONS:
        raise InputError(unknown("quantization", quantize, [name for name in QUANTIZATIONS if name]))
    if io not in INTEGERS:
        raise InputError(unknown("io", io, INTEGERS))
    if quantize in int4.KINDS:
        int4.require()
    if learned and quantize != "int8":
        raise InputError(
            f'`quantize` must be "int8" for a model that was trained for it. Received: {quantize!r}. Export the model that '
            "`quantize_aware` was given instead."
        )
    if quantize in ("int8", "int16x8") and representative is None and not learned:
        raise InputError(
            f'`representative` must be given for quantize="{quantize}": activations are calibrated on it. '
            "Received: None. Pass training inputs."
        )


def _convert(model, shape, activation, quantize, calibration, io, float_layers) -> bytes:
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
            converter.representative_dataset = lambda: ([sample[None]] for sample in calibration)
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
    what = f"TFLite has no {', '.join(operations)}" if operations else message.strip().splitlines()[-1]
    return (
        f"model {model.name!r} cannot be converted to TFLite ({quantize or 'float32'}): {what}. Export a SavedModel, "
        "or leave the operation out of the model."
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
