"""Runs TFLite files in ai-edge-litert.

Takes a file and inputs; returns its outputs as floats. Must not know the model that the file was made from.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent import futures

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kerastrain.export.endpoints import DEFAULT_SIGNATURE
from kerastrain.system import resources

_EXAMPLES_A_WORKER = 16
_MOST_WORKERS = 8  # Each of them packs the weights for itself.


def run(path: str | os.PathLike, inputs: np.ndarray | Mapping[str, np.ndarray], *, threads: int = 1) -> np.ndarray:
    """Runs a TFLite file with one output on one example at a time, and on several at once on several processors.

    Args:
        path: the .tflite file.
        inputs: array (n, ...), n >= 1, in the units of the float model; quantized first if the file takes integers. For a
            file with several inputs a mapping from the name of each to its array.
        threads: int > 0, the threads of each interpreter; the outputs may depend on it.

    Returns:
        float32 (n, ...), dequantized if the file returns integers.
    """
    arrays = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    names = list(inputs) if isinstance(inputs, Mapping) and len(inputs) > 1 else [None]
    count = len(arrays[0])
    workers = max(1, min(resources.processor_count() // threads, count // _EXAMPLES_A_WORKER, _MOST_WORKERS))
    bounds = np.linspace(0, count, workers + 1).astype(int)
    with futures.ThreadPoolExecutor(workers) as pool:  # The interpreter releases Python's lock while it computes.
        parts = pool.map(
            lambda start, end: _run_each(path, names, [values[start:end] for values in arrays], threads),
            bounds[:-1],
            bounds[1:],
        )
        return np.concatenate(list(parts))


def _run_each(path, names: Sequence[str | None], arrays: Sequence[np.ndarray], threads: int) -> np.ndarray:
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    sources, (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    by_name = {_argument(source["name"]): source for source in sources} | {None: sources[0]}
    outputs = []
    for index in range(len(arrays[0])):
        for name, values in zip(names, arrays, strict=True):
            interpreter.set_tensor(by_name[name]["index"], _quantized(values[index][None], by_name[name]))
        interpreter.invoke()
        outputs.append(_dequantized(interpreter.get_tensor(target["index"]), target)[0])
    return np.stack(outputs)


def _argument(tensor: str) -> str:
    """The argument of the signature that an input tensor such as "serving_default_text:0" belongs to."""
    return tensor.removeprefix(f"{DEFAULT_SIGNATURE}_").partition(":")[0]


def _quantized(value: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale:
        return value.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(value / scale + zero), limits.min, limits.max).astype(detail["dtype"])


def _dequantized(value: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    return ((value.astype(np.float32) - zero) * scale if scale else value).astype(np.float32)
