"""Reads and writes weights in safetensors files.

Takes a folder that `files.check_safetensors` has accepted, and returns NumPy arrays; or takes arrays and writes a file. Must not
import TensorFlow.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from kerastrain.errors import InputError
from kerastrain.presets import files

WRITTEN = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""The types of the tensors that `write` writes, and their names in files."""

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BOOL": "?"}


class Tensors(Mapping):
    """The tensors of a folder by name, each read when it is asked for.

    Args:
        folder: Path with "model.safetensors", or its index and shards.

    Raises:
        InputError: weights are missing or in another format.
    """

    def __init__(self, folder: Path):
        self._places = {}
        self._add(files.safetensors_files(folder))

    @classmethod
    def of_file(cls, path: Path) -> "Tensors":
        """The tensors of one file, checked.

        Args:
            path: Path of a safetensors file.

        Returns:
            Tensors.

        Raises:
            InputError: the file is cut off, damaged or quantized.
        """
        files.check_file(path)
        tensors = cls.__new__(cls)
        tensors._places = {}
        tensors._add([path])
        return tensors

    def _add(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            self._places.update({name: (path, 8 + length, entry) for name, entry in header.items()})

    def __getitem__(self, name: str) -> np.ndarray:
        """The values of a tensor; float32 for those of half precision, which train in float32."""
        path, start, entry = self._places[name]
        begin, end = entry["data_offsets"]
        is_bfloat16 = entry["dtype"] == "BF16"
        dtype = np.dtype("<u2" if is_bfloat16 else _DTYPES[entry["dtype"]])
        values = np.fromfile(path, dtype, (end - begin) // dtype.itemsize, offset=start + begin)
        if is_bfloat16:  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        elif values.dtype.kind == "f":
            values = values.astype(np.float32)
        return values.reshape(entry["shape"])

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._places)

    def __len__(self) -> int:
        """The number of tensors."""
        return len(self._places)


def write(
    path: Path, shapes: Mapping[str, tuple[int, ...]], value: Callable[[str], np.ndarray], dtype: str = "float32"
) -> None:
    """Writes a safetensors file, one tensor at a time.

    Args:
        path: Path of the file.
        shapes: mapping from the name of each tensor to its shape.
        value: callable from a name to the float array.
        dtype: str out of `WRITTEN`.

    Raises:
        InputError: a number is not finite, or too large for `dtype`.
    """
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape) * (4 if dtype == "float32" else 2)
        header[name] = {"dtype": WRITTEN[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers lie at multiples of their size
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            array = np.ascontiguousarray(value(name), "<f4").reshape(shape)
            with np.errstate(over="ignore"):
                stored = (
                    array if dtype == "float32" else array.astype("<f2") if dtype == "float16" else _bfloat16(array)
                )
            if not np.isfinite(array).all() or (dtype == "float16" and not np.isfinite(stored).all()):
                raise InputError(
                    f"{name!r} holds numbers that {dtype} has not: up to {np.abs(array).max():g}. Choose float32 or bfloat16, "
                    "or train again if they are not finite."
                )
            file.write(stored.tobytes())


def _bfloat16(array: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to the nearest, and to even ones between two."""
    bits = array.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
