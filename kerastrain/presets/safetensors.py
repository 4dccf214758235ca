"""Reads weights from safetensors files.

Takes a folder that `files.check_safetensors` has accepted; returns NumPy arrays. Must not import TensorFlow.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from kerastrain.presets import files

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
        for path in files.safetensors_files(folder):
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
