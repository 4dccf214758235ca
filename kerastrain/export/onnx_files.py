"""ONNX files for ONNX Runtime and other runtimes, each checked by running it in ONNX Runtime.

Takes a keras.Model and real inputs; writes a file and returns a `Parity`. tf2onnx converts the same function that a
SavedModel serves. An extra: `pip install 'kerastrain[onnx]'`. Must not quantize: `litert` does.
"""

import functools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import endpoints, parity, verified
from kerastrain.export.shared import Shared
from kerastrain.export.targets import label_lines, require_target
from kerastrain.layers import numbers as number_layers
from kerastrain.layers import quantized
from kerastrain.system import optional_imports

_PURPOSE = {"extra": "onnx", "to": optional_imports.EXTRAS["onnx"][1]}
_BATCH = 32


def onnx(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    operating_point: OperatingPoint | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    opset: int = 18,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as an ONNX file, and checks it with ONNX Runtime on the CPU.

    The file has a variable batch size, an input "images", "inputs" or "tokens" (for pairs of texts also "pair_tokens"), an
    input "numbers" for a model that reads numbers too, and an output "logits" or "probabilities".
    Its `metadata_props` hold the description of the input and the labels, one per line. Needs `pip install
    'kerastrain[onnx]'`.

    ONNX has no operation that splits texts. As with `tflite`, the file of a model of texts takes int32 token ids
    (b, length); `export.tokenize` makes them as described in the file.

    Args:
        model: keras.Model, built, with one input and one output; not changed. If it computes in bfloat16 or float16, the file
            computes in float32, and is compared with the model in float32.
        path: the file to write, ending in .onnx.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax" or "sigmoid" to return probabilities, None to return the model's outputs.
        operating_point: OperatingPoint whose temperature is in the file if there is an `activation`, and that is stored with
            the file as `operating_point.json`; None for none.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`.
        sample_count: int > 0, the most samples to compare; None for all.
        opset: int > 0, the version of ONNX's operations; ONNX Runtime 1.14 and later read 18.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the model cannot be converted, the extra is missing, or the samples or an option cannot be used.
        ParityError: the file's outputs differ from `model.predict`; nothing is written and an existing `path` is kept.

    Reference: https://onnxruntime.ai/docs/tutorials/tf-get-started.html
    """
    options = {"samples": samples, "labels": labels, "activation": activation, "operating_point": operating_point}
    with Shared(model, sample_count=sample_count, **options) as shared:
        return verified.finish(steps(shared, path, tolerance=tolerance, opset=opset, replace=replace))


def steps(
    shared: Shared,
    path: str | os.PathLike,
    *,
    tolerance: parity.Tolerance | None = None,
    opset: int = 18,
    replace: bool = False,
) -> verified.Steps:
    """The steps of `onnx`.

    Args:
        shared: Shared, with the other arguments of `onnx`.
        path: as for `onnx`.
        tolerance: as for `onnx`.
        opset: as for `onnx`.
        replace: as for `onnx`.

    Returns:
        verified.Steps.

    Raises:
        FileExistsError: as for `onnx`.
        InputError: as for `onnx`.
    """
    model = shared.model
    path = require_target(model, path, activation=shared.activation, replace=replace, suffix=".onnx")
    optional_imports.require("onnx")
    if quantized.is_quantized(model):
        raise InputError(
            f"model {model.name!r} was trained to be an int8 TFLite file, and ONNX would keep its float weights. Export "
            '`tflite(..., quantize="int8")`, or the model that was passed to `quantize_aware`.'
        )

    def convert(source: verified.Source, target: Path) -> None:
        properties = {
            "input": _description(model, source.texts.files if source.texts else {}),
            **(source.texts.files if source.texts else {}),
            **({"labels.txt": label_lines(source.labels)} if source.labels else {}),
            **shared.prepared.files,
        }
        target.write_bytes(_convert(source.model, shared.activation, opset, properties))

    exporter = verified.Exporter(
        convert,
        lambda target, source: functools.partial(run, target, source.arguments),
        takes_strings=False,
        takes_half=False,
    )
    return verified.steps(shared, path, exporter, tolerance)


def run(path: str | os.PathLike, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """Runs an ONNX file with one output on the CPU: on the first input, then on 32 at a time.

    Args:
        path: the .onnx file.
        inputs: array (n, ...), n >= 1, of the dtype and shape of the file's input; for a file with several inputs a mapping
            from the name of each to its array.

    Returns:
        array (n, ...), the outputs.
    """
    session = _session(path)
    if not isinstance(inputs, Mapping):
        (source,) = session.get_inputs()
        inputs = {source.name: inputs}
    count = len(next(iter(inputs.values())))
    starts, outputs = [0, *range(1, count, _BATCH)], []
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        outputs.append(session.run(None, {name: values[start:end] for name, values in inputs.items()})[0])
    return np.concatenate(outputs)


def properties(path: str | os.PathLike) -> dict[str, str]:
    """The `metadata_props` of an ONNX file.

    Args:
        path: the .onnx file.

    Returns:
        dict from a name to a text: "input" (JSON, see `onnx`), "labels.txt", and "tokens.json" and "vocabulary.txt" in
        the file of a model of texts.
    """
    return dict(_session(path).get_modelmeta().custom_metadata_map)


def _session(path: str | os.PathLike):
    runtime = optional_imports.need("onnxruntime", **_PURPOSE)
    return runtime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])


def _convert(model: keras.Model, activation: str | None, opset: int, metadata_properties: Mapping[str, str]) -> bytes:
    convert = optional_imports.need("tf2onnx.convert", **_PURPOSE)
    specs = endpoints.input_specs(model)
    serve = tf.function(endpoints.serving_function(model, activation), specs)
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # It logs each operation that it cannot convert; the error below names them too.
    try:
        proto, _ = convert.from_function(serve, specs, opset=opset, custom_op_handlers={"Erfc": (_erfc, [])})
    finally:
        logger.setLevel(level)
    defined = optional_imports.need("onnx.defs", **_PURPOSE).has
    if left := sorted({node.op_type for node in proto.graph.node if node.domain or not defined(node.op_type)}):
        raise InputError(
            f"model {model.name!r} cannot be converted to ONNX: ONNX has no {', '.join(left)}. Export a SavedModel, or "
            "remove the operation from the model."
        )
    for name, text in metadata_properties.items():
        proto.metadata_props.add(key=name, value=text)
    return proto.SerializeToString()


def _erfc(graph, node, name: str, arguments: Sequence) -> None:
    """Converts TensorFlow's Erfc of the exact GELU to 1 - Erf, because tf2onnx does not know it."""
    erf = graph.make_node("Erf", [node.input[0]])
    one = graph.make_const(f"{name}_one", np.array(1, np.float32))
    graph.replace_inputs(node, [one.output[0], erf.output[0]])
    node.type, node.domain = "Sub", ""


def _description(model: keras.Model, token_files: Mapping[str, str]) -> str:
    """The description of the input, as JSON."""
    source = model.inputs[0]
    if source.dtype == "string":
        description = {"kind": "token ids", "described by": list(token_files)}
    elif endpoints.accepts_image_bytes(model):
        description = {"kind": "RGB images", "range": [0, 255], "height": source.shape[1], "width": source.shape[2]}
    else:
        description = {"kind": "numbers"}
    if (numbers := number_layers.of(model)) is not None:
        description["numbers"] = list(numbers.names)
    return json.dumps(description)
