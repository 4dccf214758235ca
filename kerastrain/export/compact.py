"""The same TFLite graph in fewer bytes: each vector is written once, and tensors are named after the layer that makes them.

A file of int8 holds, for every channel of every kernel and bias, a zero point of eight bytes that is zero, and names that
spell out each operation that went into a tensor: of a MobileNet 0.25 that is a fifth of the file. Takes and gives the bytes
of a TFLite file. Must not change what it computes.

Reference: https://flatbuffers.dev/internals (offsets of several tables may lead to one vector).
"""

import collections
import re
from collections.abc import Collection

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_ALIGNMENT = 16  # What the schema demands of buffers, so that kernels may read weights where they lie.
_LARGEST_SHARED = 65_536


def unpacked(content: bytes) -> schema.ModelT:
    """The tables of a TFLite file, to read and change, with what lies behind the tables in its buffers too."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # Where the schema lets weights lie behind all tables, as ai-edge-quantizer writes them.
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def packed(model: schema.ModelT) -> bytes:
    """The bytes of a TFLite file with the tables of `model`, equal vectors written once."""
    builder = _Sharing(sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers) + 65_536)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def compact(content: bytes, layers: Collection[str], *, unique: bool = False) -> bytes:
    """A TFLite file that answers as `content` does, and is smaller.

    Args:
        content: bytes, a TFLite file.
        layers: names of the layers that it was made of. A tensor is given the name of the innermost layer in the path
            that the converter calls it by; inputs, outputs, and tensors of no layer keep theirs.
        unique: bool, whether tensors of one layer are numbered, as tools that quantize a float file need it.

    Returns:
        bytes of a TFLite file.
    """
    model = unpacked(content)
    for graph in model.subgraphs:
        ends, counts = {*graph.inputs, *graph.outputs}, collections.Counter()
        for number, tensor in enumerate(graph.tensors):
            if number not in ends:
                name = _short(tensor.name.decode(), layers)
                tensor.name = (f"{name}/{counts[name]}" if unique and counts[name] else name).encode()
                counts[name] += 1
    _drop_empty_buffers(model)
    return packed(model)


def _short(name: str, layers: Collection[str]) -> str:
    """The layer in a name such as `model_1/backbone_1/conv_1/Relu;model_1/backbone_1/conv_1/add`, or the first path."""
    first = name.partition(";")[0]
    for part in reversed(first.split("/")):
        for known in (part, re.sub(r"_\d+$", "", part)):  # A second call of a layer numbers its scope.
            if known in layers:
                return known
    return first


def _drop_empty_buffers(model: schema.ModelT) -> None:
    """Gives all tensors without weights the buffer 0, which is empty by the schema, instead of one for each."""
    empty = {number for number, buffer in enumerate(model.buffers) if buffer.data is None and not buffer.size}
    kept = [number for number in range(len(model.buffers)) if number == 0 or number not in empty]
    numbers = {number: place for place, number in enumerate(kept)}
    for user in (*(tensor for graph in model.subgraphs for tensor in graph.tensors), *(model.metadata or ())):
        user.buffer = numbers.get(user.buffer, 0)
    model.buffers = [model.buffers[number] for number in kept]


class _Sharing(flatbuffers.Builder):
    def __init__(self, size: int):
        super().__init__(size)
        self.written = {}

    def CreateString(self, s: str | bytes, *arguments: str) -> int:  # noqa: N802
        """The place of `s` in the file: that of an equal string, if one was written."""
        if s not in self.written:
            self.written[s] = super().CreateString(s, *arguments)
        return self.written[s]

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        """The place of `x` in the file: that of an equal vector, if one was written."""
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
