"""The memory that fine-tuning a language model takes, computed from its sizes before anything is allocated.

Takes a `DecoderNetwork` and settings; returns bytes. Must not import TensorFlow. Compared with measured steps by
`benchmarks/language_memory.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kerastrain.presets.decoders import DecoderNetwork

SLOTS = {
    "sgd": 0,
    "adam": 2,
    "adamw": 2,
    "adagrad": 1,
    "rmsprop": 1,
    "nadam": 2,
    "adadelta": 2,
    "adamax": 2,
    "adafactor": 0,
    "ftrl": 2,
    "lion": 1,
    "lamb": 2,
    "muon": 1,
    "schedule_free_adamw": 2,
}
"""Numbers that each optimizer keeps for each number that trains, in its default settings."""

_FLOAT = 4
# Float tensors of each kind that the backward pass of a block reads, for each token.
_OF_WIDTH, _OF_QUERIES, _OF_KEYS, _OF_INTERMEDIATE, _OF_SCORES, _OF_LOGITS = 8, 5, 5, 5, 2, 4


@dataclass(frozen=True)
class MemoryNeed:
    """The memory of a training step on one device, in bytes.

    Args:
        parameters: int >= 0.
        gradients: int >= 0, of what trains.
        slots: int >= 0, of the optimizer.
        activations: int >= 0, the largest sum of what one micro-batch keeps at the same time.
    """

    parameters: int
    gradients: int
    slots: int
    activations: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return self.parameters + self.gradients + self.slots + self.activations


def parameter_counts(network: DecoderNetwork) -> dict[str, int]:
    """The numbers of a network's weights.

    Args:
        network: DecoderNetwork.

    Returns:
        dict with "embedding", "block_0", "block_1", … and "norm".
    """
    counts = {"embedding": network.vocabulary_size * network.width * (1 if network.tied else 2)}
    for index, block in enumerate(network.blocks):
        counts[f"block_{index}"] = sum(inputs * units for inputs, units in kernels(network, block).values())
        counts[f"block_{index}"] += _bias_count(network, block) + _norm_count(network, block)
    return {**counts, "norm": network.width}


def kernels(network: DecoderNetwork, block: Mapping) -> dict[str, tuple[int, int]]:
    """The sizes of a block's kernels.

    Args:
        network: DecoderNetwork.
        block: mapping, an element of `network.blocks`.

    Returns:
        dict from the name of each dense layer to (inputs, units).
    """
    width, between = network.width, block["intermediate"]
    heads, kv_heads = block["num_heads"] * block["head_size"], block["num_kv_heads"] * block["head_size"]
    return {
        "query": (width, heads),
        "key": (width, kv_heads),
        "value": (width, kv_heads),
        "attention_output": (heads, width),
        "gate": (width, between),
        "up": (width, between),
        "down": (between, width),
    }


def need(
    network: DecoderNetwork,
    *,
    tokens: int,
    batch_size: int,
    trained: int,
    slots: int,
    micro_batches: int = 1,
    is_rematerialized: bool = False,
    compute_bytes: int = _FLOAT,
    kernel_bytes: float = _FLOAT,
    lora_rank: int | None = None,
) -> MemoryNeed:
    """The memory of a training step.

    Args:
        network: DecoderNetwork.
        tokens: int >= 1, of a sequence.
        batch_size: int >= 1, sequences of one device in a step.
        trained: int >= 0, the numbers that train.
        slots: int >= 0, as in `SLOTS`.
        micro_batches: int >= 1, the parts of the batch.
        is_rematerialized: bool, whether only the inputs of each block are kept.
        compute_bytes: int, 4 for float32, 2 for bfloat16 and float16.
        kernel_bytes: float, the bytes of a number of the frozen kernels: 4, or 1 or 0.5 if they are quantized.
        lora_rank: int, or None without LoRA.

    Returns:
        MemoryNeed.
    """
    counts = parameter_counts(network)
    kernel_count = sum(inputs * units for block in network.blocks for inputs, units in kernels(network, block).values())
    parameters = (sum(counts.values()) - kernel_count) * _FLOAT + int(kernel_count * kernel_bytes)
    parameters += trained * _FLOAT if lora_rank is not None else 0
    rows = math.ceil(batch_size / micro_batches) * tokens
    each = [rows * _kept(network, block, tokens, compute_bytes) for block in network.blocks]
    between = rows * network.width * compute_bytes
    blocks = max(each) + between * len(each) if is_rematerialized else sum(each)
    logits = rows * network.vocabulary_size * _FLOAT * _OF_LOGITS
    return MemoryNeed(parameters, trained * _FLOAT, trained * slots * _FLOAT, max(blocks + logits, logits))


def trained_count(network: DecoderNetwork, *, lora_rank: int | None = None, last: int | None = None) -> int:
    """The numbers that train.

    Args:
        network: DecoderNetwork.
        lora_rank: int >= 1, of LoRA beside all kernels of the blocks; None for the weights themselves.
        last: int >= 1, the number of blocks that train, counted from the end; None for the whole model.

    Returns:
        int >= 0.
    """
    if lora_rank is not None:
        return lora_count(network, lora_rank)
    counts = parameter_counts(network)
    if last is None:
        return sum(counts.values())
    blocks = len(network.blocks)
    return counts["norm"] + sum(counts[f"block_{index}"] for index in range(max(blocks - last, 0), blocks))


def lora_count(network: DecoderNetwork, rank: int, names: tuple[str, ...] | None = None) -> int:
    """The numbers of LoRA's pairs beside all kernels of the blocks, or those of some layers.

    Args:
        network: DecoderNetwork.
        rank: int >= 1.
        names: names of dense layers, such as ("query", "value"); None for all.

    Returns:
        int >= 0.
    """
    return sum(
        rank * (inputs + units)
        for block in network.blocks
        for name, (inputs, units) in kernels(network, block).items()
        if names is None or name in names
    )


def _kept(network: DecoderNetwork, block: Mapping, tokens: int, compute_bytes: int) -> int:
    """Bytes that the backward pass of a block reads, for each token."""
    heads, kv_heads = block["num_heads"] * block["head_size"], block["num_kv_heads"] * block["head_size"]
    numbers = (
        _OF_WIDTH * network.width + _OF_QUERIES * heads + _OF_KEYS * kv_heads + _OF_INTERMEDIATE * block["intermediate"]
    )
    # The scores are computed in float32 whatever the precision is.
    return numbers * compute_bytes + _OF_SCORES * block["num_heads"] * tokens * _FLOAT


def _bias_count(network: DecoderNetwork, block: Mapping) -> int:
    units = {name: count for name, (_, count) in kernels(network, block).items()}
    biased = {
        "attention_bias": ("query", "key", "value"),
        "output_bias": ("attention_output",),
        "mlp_bias": ("gate", "up", "down"),
    }
    return sum(units[name] for key, names in biased.items() if block[key] for name in names)


def _norm_count(network: DecoderNetwork, block: Mapping) -> int:
    norms = 2 + 2 * block["post_norms"]
    return norms * network.width + 2 * block["head_size"] * block["head_norms"]
