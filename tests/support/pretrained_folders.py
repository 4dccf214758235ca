"""Writes folders of pretrained networks in the formats of Hugging Face and timm, with the safetensors layout by hand."""

import json
from pathlib import Path

import numpy as np


def write_safetensors(path, tensors):
    """Writes float32 arrays as the safetensors library does: header length, JSON header, values in order."""
    header, start = {}, 0
    for name, value in tensors.items():
        end = start + value.size * 4
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    values = b"".join(np.ascontiguousarray(value, np.float32).tobytes() for value in tensors.values())
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + values)


def write_json(path, content):
    Path(path).write_text(json.dumps(content), encoding="utf-8")
