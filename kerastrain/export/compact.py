"""The same TFLite graph in fewer bytes: equal vectors are written once, and tensors are named after their layer.

An int8 file holds, for every channel of every kernel and bias, an eight-byte zero point that is 0, and tensor names that
list each fused operation: a fifth of the file of a MobileNet 0.25. Takes and returns the bytes of a TFLite file. Must not
change what the file computes.

Reference: https://flatbuffers.dev/internals (several tables may point to one vector).
"""

import collections
import re
from collections.abc import Collection

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_ALIGNMENT = 16  # The schema requires it of buffers, so that kernels can read weights in place.
_LARGEST_SHARED = 65_536


def unpacked(content: bytes) -> schema.ModelT:
    """The tables of a TFLite file, to read and change; data stored after the tables is loaded into its buffers.

    Args:
        content: bytes, a TFLite file.

    Returns:
        schema.ModelT.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # The schema allows weights after all tables, as ai-edge-quantizer writes them.
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def packed(model: schema.ModelT) -> bytes:
    """The bytes of a TFLite file with the tables of `model`; equal vectors are written once.

    Args:
        model: schema.ModelT, such as from `unpacked`.

    Returns:
        bytes of a TFLite file.
    """
    builder = _SharingBuilder(sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers) + 65_536)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def compact(content: bytes, layers: Collection[str], *, unique: bool = False) -> bytes:
    """A smaller TFLite file with the same outputs as `content`.

    Args:
        content: bytes, a TFLite file.
        layers: names of the model's layers. A tensor is renamed to the innermost layer in the path that the converter
            named it with; inputs, outputs, and tensors without a layer keep their names.
        unique: bool, whether tensors of one layer are numbered, which tools that quantize a float file need.

    Returns:
        bytes of a TFLite file.
    """
    model = unpacked(content)
    for graph in model.subgraphs:
        inputs_and_outputs, counts = {*graph.inputs, *graph.outputs}, collections.Counter()
        for number, tensor in enumerate(graph.tensors):
            if number not in inputs_and_outputs:
                name = _short(tensor.name.decode(), layers)
                tensor.name = (f"{name}/{counts[name]}" if unique and counts[name] else name).encode()
                counts[name] += 1
    _drop_empty_buffers(model)
    return packed(model)


def _short(name: str, layers: Collection[str]) -> str:
    """The layer in a name such as `model_1/backbone_1/conv_1/Relu;model_1/backbone_1/conv_1/add`, else the first path."""
    first = name.partition(";")[0]
    for part in reversed(first.split("/")):
        for candidate in (part, re.sub(r"_\d+$", "", part)):  # The second call of a layer has a numbered scope.
            if candidate in layers:
                return candidate
    return first


def _drop_empty_buffers(model: schema.ModelT) -> None:
    """Points all tensors without weights to buffer 0, which the schema keeps empty, instead of one buffer each."""
    empty = {number for number, buffer in enumerate(model.buffers) if buffer.data is None and not buffer.size}
    kept = [number for number in range(len(model.buffers)) if number == 0 or number not in empty]
    numbers = {old: new for new, old in enumerate(kept)}
    for table in (*(tensor for graph in model.subgraphs for tensor in graph.tensors), *(model.metadata or ())):
        table.buffer = numbers.get(table.buffer, 0)
    model.buffers = [model.buffers[number] for number in kept]


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal strings and equal vectors once."""

    def __init__(self, size: int):
        super().__init__(size)
        self.written = {}

    def CreateString(self, s: str | bytes, *arguments: str) -> int:  # noqa: N802
        """The offset of `s` in the file, or of an equal string that was written before."""
        if s not in self.written:
            self.written[s] = super().CreateString(s, *arguments)
        return self.written[s]

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        """The offset of `x` in the file, or of an equal vector that was written before."""
        if x.nbytes > _LARGEST_SHARED:
            return self._written(x)
        key = x.dtype.str, x.tobytes()
        if key not in self.written:
            self.written[key] = self._written(x)
        return self.written[key]

    def _written(self, x: np.ndarray) -> int:
        if x.dtype != np.uint8:
            return super().CreateNumpyVector(x)
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        self.vectorNumElems = x.size
        return self.EndVector()
