"""Weights of four bits in TFLite files, by ai-edge-quantizer: an extra, as few files need to be so small.

Takes and gives the bytes of a TFLite file. Must not change what is not a weight.
"""

import contextlib
import io

from kerastrain.errors import InputError
from kerastrain.system import optional_imports

KINDS = ("int4", "dynamic_int4")

_LARGEST_FRACTION = 0.9


def require():
    """ai-edge-quantizer.

    Raises:
        MissingExtra: it is not installed.
    """
    return optional_imports.need("ai_edge_quantizer.quantizer", extra="int4", to="write weights of four bits")


def quantized(content: bytes, kind: str) -> bytes:
    """A float TFLite file with its weights as integers, each output channel with a step of its own.

    Kernels of convolutions and dense layers get four bits, with the steps that make the squared error of the weights least;
    what four bits would ruin or cannot hold, such as depthwise kernels, gets eight.

    Args:
        content: bytes, a float32 TFLite file whose tensors have different names.
        kind: "int4": weights are turned back into float32 before they are multiplied; or "dynamic_int4": activations are
            turned into integers of eight bits first.

    Returns:
        bytes of a TFLite file.

    Raises:
        InputError: hardly anything would be smaller, as in a model whose weights are embeddings, which stay float32.

    Reference: https://ai.google.dev/edge/litert/models/ai_edge_quantizer
    """
    quantizer = require().Quantizer(content)
    types = optional_imports.need("ai_edge_quantizer.qtyping", extra="int4", to="write weights of four bits")
    algorithms = optional_imports.need(
        "ai_edge_quantizer.algorithm_manager", extra="int4", to="write weights of four bits"
    )
    operations, algorithm = types.TFLOperationName, algorithms.AlgorithmName
    add = quantizer.add_dynamic_config if kind == "dynamic_int4" else quantizer.add_weight_only_config
    add(".*", operations.ALL_SUPPORTED, 8, algorithm_key=algorithm.MIN_MAX_UNIFORM_QUANT)
    for operation in (operations.CONV_2D, operations.FULLY_CONNECTED):
        add(".*", operation, 4, algorithm_key=algorithm.MSE)
    with contextlib.redirect_stdout(io.StringIO()):  # It prints what it saved.
        result = bytes(quantizer.quantize().quantized_model)
    if len(result) > _LARGEST_FRACTION * len(content):
        raise InputError(
            f"`quantize` must make a file smaller. Received: {kind!r}, under which {len(content):,} bytes stay "
            f"{len(result):,}: ai-edge-quantizer leaves the weights of embeddings as they are. Use 'int8' or 'dynamic'."
        )
    return result
