"""ONNX files for ONNX Runtime and what reads them, an extra; believed only after ONNX Runtime has run them.

Takes a keras.Model and real inputs, gives a file and a `Parity`. tf2onnx converts, of the same function that a SavedModel
serves. Must not quantize: that is `litert`'s.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.export import endpoints, metadata, parity, tokens
from kerastrain.export import samples as sampling
from kerastrain.export.targets import label_lines, labels_of, require_free, sizes, task_of, write_beside
from kerastrain.layers import quantized
from kerastrain.system import files, optional_imports

_PURPOSE = {"extra": "onnx", "to": "write ONNX files"}
_BATCH = 32


def onnx(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    opset: int = 18,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as an ONNX file, and proves it with ONNX Runtime on the CPU.

    The file has a free batch size, an input "images", "inputs" or "tokens", and an output "logits" or "probabilities". Its
    `metadata_props` hold the description of the input and, one a line, the labels. It needs `pip install
    'kerastrain[onnx]'`.

    ONNX has no operation for what `TextVectorization` does: as in `tflite`, the file of a model of texts takes int32 token
    ids (b, length), and `export.tokenize` makes them by what the file says.

    Args:
        model: keras.Model, built, in float32, with one input and one output; not changed.
        path: the file to write, ending in .onnx.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those that travel with the model.
        activation: "softmax" or "sigmoid" to answer probabilities, None to answer the model's outputs.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`.
        sample_count: int > 0, the most samples to compare; None for all.
        opset: int, the version of ONNX's operations; 18 is read by ONNX Runtime 1.14 and later.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the model cannot be converted, the extra is missing, or the samples or an option cannot be used.
        ParityError: the file answers otherwise than `model.predict`; nothing is left at `path`, or what stood there.

    Reference: https://onnxruntime.ai/docs/tutorials/tf-get-started.html
    """
    endpoints.require_exportable(model, activation)
    path = require_free(path, replace=replace, suffix=".onnx")
    for library in ("tf2onnx", "onnxruntime"):
        optional_imports.need(library, **_PURPOSE)
    if quantized.is_quantized(model):
        raise InputError(
            f"model {model.name!r} was trained to be an int8 TFLite file, and ONNX would keep its float weights. Export "
            '`tflite(..., quantize="int8")`, or the model that `quantize_aware` was given.'
        )
    labels = labels_of(model, labels)
    texts = tokens.behind(model) if model.inputs[0].dtype == "string" else None
    inputs, targets = sampling.draw_with_targets(samples, model, count=sample_count)
    reference = endpoints.answers(model, inputs, activation)
    exported, packed = model, {}
    if texts is not None:
        exported, packed, inputs = texts.model, texts.files, texts.ids(inputs)
    properties = {"input": _description(model), **packed, **({"labels.txt": label_lines(labels)} if labels else {})}
    with files.atomic(path) as temporary:
        temporary.write_bytes(_convert(exported, activation, opset, properties))
        measured = parity.check(
            reference,
            run(temporary, inputs),
            file=path.name,
            kind="float32",
            **sizes(temporary),
            targets=targets,
            tolerance=tolerance,
            threshold=endpoints.threshold(activation),
            task=task_of(model),
        )
    write_beside(path, labels, measured, packed)
    return measured


def run(path: str | os.PathLike, inputs: np.ndarray) -> np.ndarray:
    """What an ONNX file with one input and one output answers on the CPU: the first input alone, then 32 at a time."""
    session = _session(path)
    (source,) = session.get_inputs()
    starts = [0, *range(1, len(inputs), _BATCH)]
    batches = [inputs[start:end] for start, end in zip(starts, [*starts[1:], len(inputs)], strict=True)]
    return np.concatenate([session.run(None, {source.name: batch})[0] for batch in batches])


def properties(path: str | os.PathLike) -> dict[str, str]:
    """The `metadata_props` of an ONNX file: "input", "labels.txt", and what says how texts become token ids."""
    return dict(_session(path).get_modelmeta().custom_metadata_map)


def _session(path: str | os.PathLike):
    runtime = optional_imports.need("onnxruntime", **_PURPOSE)
    return runtime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])


def _convert(model: keras.Model, activation: str | None, opset: int, told: Mapping[str, str]) -> bytes:
    convert = optional_imports.need("tf2onnx.convert", **_PURPOSE)
    shape, dtype = model.inputs[0].shape[1:], model.inputs[0].dtype
    spec = tf.TensorSpec((None, *shape), dtype, name=endpoints.input_name(model))
    serve = tf.function(endpoints.raw(model, activation), [spec])
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # It tells of operations that it leaves as they were; so does the error below.
    try:
        proto, _ = convert.from_function(serve, [spec], opset=opset)
    finally:
        logger.setLevel(level)
    defined = optional_imports.need("onnx.defs", **_PURPOSE).has
    if left := sorted({node.op_type for node in proto.graph.node if node.domain or not defined(node.op_type)}):
        raise InputError(
            f"model {model.name!r} cannot be converted to ONNX: ONNX has no {', '.join(left)}. Export a SavedModel, or "
            "leave the operation out of the model."
        )
    for name, text in told.items():
        proto.metadata_props.add(key=name, value=text)
    return proto.SerializeToString()


def _description(model: keras.Model) -> str:
    """What the input is, as JSON."""
    source = model.inputs[0]
    if source.dtype == "string":
        kind = {"kind": "token ids", "told by": [metadata.TOKENS_FILE, metadata.VOCABULARY_FILE]}
    elif endpoints.takes_encoded_images(model):
        kind = {"kind": "RGB images", "range": [0, 255], "height": source.shape[1], "width": source.shape[2]}
    else:
        kind = {"kind": "numbers"}
    return json.dumps(kind)
