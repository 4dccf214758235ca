"""What a TFLite file says of itself: how to feed its input and how its outputs are called.

Takes and gives the bytes of a TFLite file. The description is a FlatBuffer among the model's own buffers, and the labels
are a text file in a ZIP archive behind the model, so that MediaPipe and the LiteRT tools read both without a file beside.

References: https://ai.google.dev/edge/litert/models/metadata; the numbers of fields and kinds are those of
https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs (version 1.5.0).
"""

import io
import zipfile
from collections.abc import Sequence

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from kerastrain.export.targets import label_lines

NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"

_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_NORMALIZATION_OPTIONS = 1
_RGB = 1
_TENSOR_AXIS_LABELS = 2


def describe(content: bytes, *, name: str, labels: Sequence[str] = (), pixels: bool) -> bytes:
    """A TFLite file with metadata: tensor names, input kind and normalization, labels.

    Args:
        content: bytes, a TFLite file with one signature of one input and one output.
        name: str, the model's name.
        labels: class names in the order of the outputs, or none.
        pixels: bool, whether the input is an RGB image with pixels in [0, 255]; it is then described as one that needs no
            normalization (mean 0, deviation 1).

    Returns:
        bytes, the file with its metadata; the graph is as it was.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    signature = model.signatureDefs[0]
    source, target = signature.inputs[0].name.decode(), signature.outputs[0].name.decode()
    model.buffers.append(schema.BufferT(data=_metadata(name, source, target, bool(labels), pixels)))
    model.metadata = [*(model.metadata or []), schema.MetadataT(name=NAME, buffer=len(model.buffers) - 1)]
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    packed = bytes(builder.Output())
    return packed + _archive(label_lines(labels)) if labels else packed


def labels(content: bytes) -> tuple[str, ...]:
    """The labels inside a TFLite file, in the order of its outputs; empty where it has none."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return ()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return tuple(archive.read(LABELS_FILE).decode().splitlines())


def _metadata(name: str, source: str, target: str, has_labels: bool, pixels: bool) -> bytes:
    builder = flatbuffers.Builder(1024)
    subgraph = _table(
        builder,
        {
            2: _tables(builder, [_input(builder, source, pixels)]),
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


def _input(builder: flatbuffers.Builder, name: str, pixels: bool) -> int:
    fields = {0: builder.CreateString(name)}
    if pixels:
        image = _table(builder, {}, kinds={0: _RGB})
        normalization = _table(builder, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})
        unit = _table(builder, {1: normalization}, kinds={0: _NORMALIZATION_OPTIONS})
        fields[1] = builder.CreateString("RGB image, pixels in [0, 255].")
        fields[3] = _table(builder, {1: image}, kinds={0: _IMAGE_PROPERTIES})
        fields[4] = _tables(builder, [unit])
        fields[5] = _table(builder, {0: _floats(builder, [255.0]), 1: _floats(builder, [0.0])})
    return _table(builder, fields)


def _output(builder: flatbuffers.Builder, name: str, has_labels: bool) -> int:
    fields = {
        0: builder.CreateString(name),
        3: _table(builder, {1: _table(builder, {})}, kinds={0: _FEATURE_PROPERTIES}),
    }
    if has_labels:
        file = _table(builder, {0: builder.CreateString(LABELS_FILE)}, kinds={2: _TENSOR_AXIS_LABELS})
        fields[6] = _tables(builder, [file])
    return _table(builder, fields)


def _table(builder: flatbuffers.Builder, offsets: dict[int, int], kinds: dict[int, int] | None = None) -> int:
    """Writes a table: `offsets` are fields that point elsewhere, `kinds` are fields of one byte."""
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


def _archive(text: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        # A fixed date, so that equal models give equal files.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0)), text)
    return target.getvalue()
