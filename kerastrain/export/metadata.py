"""The metadata of a TFLite file: how to prepare its input, and the names of its outputs.

Takes and returns the bytes of a TFLite file. The description is a FlatBuffer in one of the model's buffers. The labels, and
the files that describe how texts become token ids, are in a ZIP archive appended to the model, so that MediaPipe and the
LiteRT tools need no other file. Must not change the graph.

References: https://ai.google.dev/edge/litert/models/metadata; field and type numbers are from
https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs (version 1.5.0).
"""

import io
import zipfile
from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kerastrain.export import compact
from kerastrain.export.targets import label_lines
from kerastrain.layers.numbers import INPUT_NAME

NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
TOKENS_FILE = "tokens.json"
VOCABULARY_FILE = "vocabulary.txt"

_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_NORMALIZATION_OPTIONS = 1
_RGB = 1
_UNKNOWN, _TENSOR_AXIS_LABELS, _VOCABULARY = 0, 2, 5


def with_metadata(
    content: bytes,
    *,
    name: str,
    labels: Sequence[str] = (),
    pixels: bool,
    input_files: Mapping[str, str] | None = None,
    numbers: Sequence[str] = (),
    other_files: Mapping[str, str] | None = None,
) -> bytes:
    """A TFLite file with metadata: tensor names, type and normalization of the input, labels.

    Args:
        content: bytes, a TFLite file with one signature that has one output, and one input or those of a pair of texts.
        name: str, the model's name.
        labels: class names in the order of the outputs, or empty.
        pixels: bool, whether the input is an RGB image with pixels in [0, 255]; it is then described as an input without
            normalization (mean 0, standard deviation 1).
        input_files: mapping from a file name to its content, the files that describe how the input is made, such as a
            vocabulary.
        numbers: sequence of str, the names of the numbers that the input `numbers` takes; empty if there is no such input.
        other_files: mapping from a file name to its content, further files to pack.

    Returns:
        bytes, the file with its metadata and an unchanged graph.
    """
    model = compact.unpacked(content)
    signature = model.signatureDefs[0]
    names, target = (
        {item.tensorIndex: item.name.decode() for item in signature.inputs},
        signature.outputs[0].name.decode(),
    )
    sources = [names[number] for number in model.subgraphs[0].inputs]
    packed = dict(input_files or {})
    description = np.frombuffer(_metadata(name, sources, target, bool(labels), pixels, packed, numbers), np.uint8)
    model.buffers.append(schema.BufferT(data=description))
    model.metadata = [*(model.metadata or []), schema.MetadataT(name=NAME, buffer=len(model.buffers) - 1)]
    if labels:
        packed[LABELS_FILE] = label_lines(labels)
    packed |= other_files or {}
    return compact.packed(model) + (_archive(packed) if packed else b"")


def packed_files(content: bytes) -> dict[str, str]:
    """The contents of the text files in a TFLite file.

    Args:
        content: bytes, a TFLite file.

    Returns:
        dict from a file name to its content; empty if there are none.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def labels(content: bytes) -> tuple[str, ...]:
    """The labels in a TFLite file.

    Args:
        content: bytes, a TFLite file.

    Returns:
        tuple of str, in the order of the outputs; empty if there are none.
    """
    return tuple(packed_files(content).get(LABELS_FILE, "").splitlines())


def _metadata(
    name: str,
    sources: Sequence[str],
    target: str,
    has_labels: bool,
    pixels: bool,
    input_files: Mapping[str, str],
    numbers: Sequence[str],
) -> bytes:
    builder = flatbuffers.Builder(1024)
    inputs = [
        _numbers(builder, numbers) if source == INPUT_NAME else _input(builder, source, pixels, input_files)
        for source in sources
    ]
    subgraph = _table(
        builder,
        {
            2: _tables(builder, inputs),
            3: _tables(builder, [_output(builder, target, has_labels)]),
        },
    )
    fields = {
        0: builder.CreateString(name),
        3: _tables(builder, [subgraph]),
        7: builder.CreateString("1.0.0"),
    }
    builder.Finish(_table(builder, fields), file_identifier=b"M001")
    return bytes(builder.Output())


def _input(builder: flatbuffers.Builder, name: str, pixels: bool, files: Mapping[str, str]) -> int:
    fields = {0: builder.CreateString(name)}
    if files:
        kinds = {VOCABULARY_FILE: _VOCABULARY}
        fields[1] = builder.CreateString(f"The input is described by {', '.join(files)}.")
        fields[3] = _table(builder, {1: _table(builder, {})}, kinds={0: _FEATURE_PROPERTIES})
        fields[6] = _tables(builder, [_file(builder, file, kinds.get(file, _UNKNOWN)) for file in files])
    if pixels:
        image = _table(builder, {}, kinds={0: _RGB})
        normalization = _table(builder, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})
        unit = _table(builder, {1: normalization}, kinds={0: _NORMALIZATION_OPTIONS})
        fields[1] = builder.CreateString("RGB image, pixels in [0, 255].")
        fields[3] = _table(builder, {1: image}, kinds={0: _IMAGE_PROPERTIES})
        fields[4] = _tables(builder, [unit])
        fields[5] = _table(builder, {0: _floats(builder, [255.0]), 1: _floats(builder, [0.0])})
    return _table(builder, fields)


def _numbers(builder: flatbuffers.Builder, names: Sequence[str]) -> int:
    text = builder.CreateString(f"Numbers, NaN where one is missing: {', '.join(names)}.")
    kind = _table(builder, {1: _table(builder, {})}, kinds={0: _FEATURE_PROPERTIES})
    return _table(builder, {0: builder.CreateString(INPUT_NAME), 1: text, 3: kind})


def _output(builder: flatbuffers.Builder, name: str, has_labels: bool) -> int:
    fields = {
        0: builder.CreateString(name),
        3: _table(builder, {1: _table(builder, {})}, kinds={0: _FEATURE_PROPERTIES}),
    }
    if has_labels:
        fields[6] = _tables(builder, [_file(builder, LABELS_FILE, _TENSOR_AXIS_LABELS)])
    return _table(builder, fields)


def _file(builder: flatbuffers.Builder, name: str, kind: int) -> int:
    return _table(builder, {0: builder.CreateString(name)}, kinds={2: kind})


def _table(builder: flatbuffers.Builder, offsets: dict[int, int], kinds: dict[int, int] | None = None) -> int:
    """Writes a table: `offsets` are fields that hold an offset, `kinds` are fields of one byte."""
    builder.StartObject(8)
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, kind in (kinds or {}).items():
        builder.PrependUint8Slot(field, kind, 0)
    return builder.EndObject()


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()


def _archive(texts: Mapping[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in texts.items():
            # With a fixed date, equal models become equal files.
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), text)
    return target.getvalue()
