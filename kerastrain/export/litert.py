"""TFLite files for LiteRT, float or quantized after training, each checked by running it in ai-edge-litert.

Takes a keras.Model and real inputs; writes a file and returns a `Parity`. Must not train: `compress` does.
"""

import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import (
    compact,
    endpoints,
    int4,
    metadata,
    parity,
    selective,
    serving,
    tflite_conversion,
    verified,
)
from kerastrain.export import samples as sampling
from kerastrain.export.litert_runtime import run
from kerastrain.export.serving_process import NotConverted
from kerastrain.export.shared import Shared
from kerastrain.export.targets import require_target
from kerastrain.keras_internals.layers import every_layer
from kerastrain.keras_internals.tflite_converter import ConverterError
from kerastrain.layers import numbers as number_layers
from kerastrain.layers import quantized

QUANTIZATIONS = (None, "float16", "dynamic", "int8", "int16x8", *int4.KINDS)
INTEGERS = ("uint8", "int8", "float32")


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
            read their outputs compute in float32 (see `selective.Sensitivity`), and the file's input and output are float32.
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
    options = {"samples": samples, "labels": labels, "activation": activation, "operating_point": operating_point}
    file_options = {"float_layers": float_layers, "io": io, "tolerance": tolerance, "replace": replace}
    calibration = {"representative": representative, "representative_count": representative_count}
    with Shared(model, sample_count=sample_count, **options) as shared:
        return verified.finish(steps(shared, path, quantize=quantize, **calibration, **file_options))


def steps(
    shared: Shared,
    path: str | os.PathLike,
    *,
    quantize: str | None = None,
    representative=None,
    representative_count: int = 200,
    float_layers: int = 0,
    io: str = "uint8",
    tolerance: parity.Tolerance | None = None,
    replace: bool = False,
) -> verified.Steps:
    """The steps of `tflite`.

    Args:
        shared: Shared, with the other arguments of `tflite`.
        path: as for `tflite`.
        quantize: as for `tflite`.
        representative: as for `tflite`.
        representative_count: as for `tflite`.
        float_layers: as for `tflite`.
        io: as for `tflite`.
        tolerance: as for `tflite`.
        replace: as for `tflite`.

    Returns:
        verified.Steps.

    Raises:
        FileExistsError: as for `tflite`.
        InputError: as for `tflite`.
    """
    model, activation = shared.model, shared.activation
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

    def convert(source: verified.Source, target: Path) -> Callable[[], None] | None:
        calibration = None
        if quantize in ("int8", "int16x8") and not learned:
            calibration = sampling.draw(representative, model, count=representative_count, name="representative")
            calibration = source.texts.ids(calibration) if source.texts else calibration
        content = _conversion(shared, source, quantize, calibration, "float32" if reads_texts else io, float_layers)
        wait = lambda: finish(source, content(), target)
        return wait if shared.background else wait()

    def finish(source: verified.Source, content: bytes, target: Path) -> None:
        content = compact.compact(content, {layer.name for layer in every_layer(model)}, unique=quantize is None)
        content = metadata.with_metadata(
            content,
            name=model.name,
            labels=source.labels,
            pixels=endpoints.accepts_image_bytes(model),
            input_files=source.texts.files if source.texts else None,
            numbers=numbers.names if numbers else (),
            other_files=shared.prepared.files,
        )
        target.write_bytes(content)

    exporter = verified.Exporter(
        convert,
        lambda target, source: functools.partial(run, target, source.arguments),
        kind=quantize or "float32",
        takes_strings=False,
        takes_half=False,
    )
    return verified.steps(shared, path, exporter, tolerance)


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


def _conversion(
    shared: Shared, source: verified.Source, quantize, calibration, io: str, float_layers: int
) -> Callable[[], bytes]:
    """Writes the graph, and begins to convert it in the process of a session in the background; the callable has the content."""
    model, shape = source.model, endpoints.shape_of(source.inputs[endpoints.DEFAULT_SIGNATURE])
    names = endpoints.input_names(model)
    if float_layers and len(names) > 1:
        raise InputError(
            f"`float_layers` needs a model with one input. Received: {model.name!r}, with {' and '.join(names)}. Leave it out."
        )
    graph = shared.graph(
        lambda path: serving.write(model, path, shared.activation, batch_size=1, input_shape=shape),
    )
    columns = None if calibration is None else endpoints.arguments(model, calibration)
    settings = (None if quantize in int4.KINDS else quantize, io, columns)
    if shared.background and not float_layers:
        answer = shared.process.begin_conversion(graph, *settings)
        convert = functools.partial(serving.answered, model, answer)
    else:
        converter = tflite_conversion.converter(str(graph), *settings)

        def convert() -> bytes:
            if not float_layers:
                return converter.convert()
            measured = shared.sensitivity(calibration, lambda: selective.Sensitivity(converter, calibration))
            return measured.convert(float_layers)

    def content() -> bytes:
        try:
            converted = convert()
        except (ConverterError, NotConverted) as error:
            raise InputError(_reason(model, quantize, str(error))) from error
        return int4.quantized(converted, quantize) if quantize in int4.KINDS else converted

    return content


def _reason(model: keras.Model, quantize: str | None, message: str) -> str:
    operations = sorted(set(re.findall(r"tf\.[A-Z]\w+", message)))
    reason = f"TFLite has no {', '.join(operations)}" if operations else message.strip().splitlines()[-1]
    return (
        f"model {model.name!r} cannot be converted to TFLite ({quantize or 'float32'}): {reason}. Export a SavedModel, "
        "or remove the operation from the model."
    )
