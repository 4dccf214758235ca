"""Four-bit weights in TFLite files, by ai-edge-quantizer. An extra: `pip install 'kerastrain[int4]'`.

Takes and returns the bytes of a TFLite file. Must change only weights.
"""

import contextlib
import io

from kerastrain.errors import InputError
from kerastrain.system import optional_imports

KINDS = ("int4", "dynamic_int4")

_LARGEST_FRACTION = 0.9
_PURPOSE = {"extra": "int4", "to": optional_imports.EXTRAS["int4"][1]}


def require():
    """Imports ai-edge-quantizer.

    Returns:
        The module `ai_edge_quantizer.quantizer`.

    Raises:
        MissingExtra: ai-edge-quantizer is not installed.
    """
    return optional_imports.need("ai_edge_quantizer.quantizer", **_PURPOSE)


def quantized(content: bytes, kind: str) -> bytes:
    """A float TFLite file with its weights quantized to integers, with one scale per output channel.

    Kernels of convolutions and dense layers get four bits, with the scales that minimize the squared error of the weights.
    Weights that four bits would ruin or that the format does not allow with four bits, such as depthwise kernels, get
    eight.

    Args:
        content: bytes, a float32 TFLite file whose tensors have unique names.
        kind: "int4": weights are dequantized to float32 before the multiplication; or "dynamic_int4": activations are
            quantized to int8 at run time and the multiplication uses integers.

    Returns:
        bytes of a TFLite file.

    Raises:
        MissingExtra: ai-edge-quantizer is not installed.
        InputError: the file would keep more than 90 % of its size, for example because its weights are embeddings, which
            stay float32.

    Reference: https://ai.google.dev/edge/litert/models/ai_edge_quantizer
    """
    quantizer = require().Quantizer(content)
    types = optional_imports.need("ai_edge_quantizer.qtyping", **_PURPOSE)
    algorithms = optional_imports.need("ai_edge_quantizer.algorithm_manager", **_PURPOSE)
    operations, algorithm = types.TFLOperationName, algorithms.AlgorithmName
    add = quantizer.add_dynamic_config if kind == "dynamic_int4" else quantizer.add_weight_only_config
    add(".*", operations.ALL_SUPPORTED, 8, algorithm_key=algorithm.MIN_MAX_UNIFORM_QUANT)
    for operation in (operations.CONV_2D, operations.FULLY_CONNECTED):
        add(".*", operation, 4, algorithm_key=algorithm.MSE)
    with contextlib.redirect_stdout(io.StringIO()):  # The quantizer prints the bytes it saved.
        result = bytes(quantizer.quantize().quantized_model)
    if len(result) > _LARGEST_FRACTION * len(content):
        raise InputError(
            f"`quantize` must make a file smaller. Received: {kind!r}, which reduces {len(content):,} bytes only to "
            f"{len(result):,}: ai-edge-quantizer does not quantize embeddings. Use 'int8' or 'dynamic'."
        )
    return result
