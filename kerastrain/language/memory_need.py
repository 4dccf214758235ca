"""The memory that fine-tuning a language model takes, computed from its sizes before anything is allocated.

Takes a `DecoderNetwork` and settings; returns bytes. Must not import TensorFlow. `benchmarks/language_memory.py` compares it with
measured steps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kerastrain.presets import decoder_choices
from kerastrain.presets.decoders import DecoderNetwork

KERNEL_BYTES = {None: 4.0, "int8": 1.0, "int4": 0.5}
"""Bytes of a number of a frozen kernel, by `fine_tune.quantize`."""

_FLOAT = 4
# Logits that exist at the same time: what the model returns, their gradient as the loss computes it, and times the weights.
_LOGITS = 3
# TensorFlow and Keras themselves; then, for each block, its layers and what its operations take in the graph of a step.
# Measured by benchmarks/language_memory.py; they do not depend on the sizes of the block.
_LIBRARIES, _BLOCK, _BLOCK_GRAPH, _REMAT_GRAPH = 780e6, 8e6, 40e6, 12e6


@dataclass(frozen=True)
class MemoryNeed:
    """The memory of training a language model on one device, in bytes.

    Args:
        parameters: int >= 0.
        gradients: int >= 0, of what trains.
        slots: int >= 0, of the optimizer.
        activations: int >= 0, the largest sum of what one micro-batch keeps at the same time.
        update: int >= 0, the intermediate results of the optimizer.
        program: int >= 0, TensorFlow itself and the graph of a step; 0 where it is in other memory than the rest.
        loading: int >= 0, what is needed beside `program` until the weights have been read and quantized.
        keeps_gradients: bool, whether gradients and all activations exist at the same time, as in micro-batches.
    """

    parameters: int
    gradients: int
    slots: int
    activations: int
    update: int = 0
    program: int = 0
    loading: int = 0
    keeps_gradients: bool = False

    @property
    def total(self) -> int:
        """The most that exists at the same time.

        The backward pass frees activations as it adds gradients, so that one of the two is small while the other is large.
        """
        during = self.activations + self.gradients if self.keeps_gradients else max(self.activations, self.gradients)
        step = self.parameters + self.slots + max(during, self.gradients + self.update)
        return self.program + max(step, self.loading)

    def times(self, count: int) -> "MemoryNeed":
        """The memory of several devices in one place, which share TensorFlow itself.

        Args:
            count: int >= 1.

        Returns:
            MemoryNeed.
        """
        sizes = {
            name: value * count for name, value in vars(self).items() if name not in ("program", "keeps_gradients")
        }
        libraries = min(self.program, int(_LIBRARIES))
        program = libraries + (self.program - libraries) * count
        return MemoryNeed(**sizes, program=program, keeps_gradients=self.keeps_gradients)


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
    heads, kv_heads = _heads(block)
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
    slots: float,
    micro_batches: int = 1,
    remat_blocks: int | Sequence[int] | None = None,
    half_precision: bool = False,
    quantized: str | None = None,
    adapters: int = 0,
    adapter_dropout: bool = False,
    clips_together: bool = True,
    updates_at_once: bool = False,
    on_host: bool = True,
) -> MemoryNeed:
    """The memory of training on one device.

    Args:
        network: DecoderNetwork.
        tokens: int >= 1, of a sequence.
        batch_size: int >= 1, sequences of one device in a step.
        trained: int >= 0, the numbers that train.
        slots: float >= 0, numbers that the optimizer keeps for each number that trains.
        micro_batches: int >= 1, the parts of the batch.
        remat_blocks: int >= 1, the number of rematerialized parts of about equal size; or the numbers of the blocks after which
            one ends; None to keep all activations.
        half_precision: bool, whether layers compute in bfloat16 or float16.
        quantized: "int8" or "int4", the type of the frozen kernels; None for floats.
        adapters: int >= 0, the numbers of LoRA's pairs.
        adapter_dropout: bool, whether the pairs drop inputs.
        clips_together: bool, whether the gradients are clipped to a norm of all, for which all must exist.
        updates_at_once: bool, whether the optimizer updates all variables at once, as on several devices.
        on_host: bool, whether TensorFlow's own memory is in the same place.

    Returns:
        MemoryNeed.
    """
    counts = parameter_counts(network)
    sizes = [inputs * units for block in network.blocks for inputs, units in kernels(network, block).values()]
    embedding = network.vocabulary_size * network.width
    floats = sum(counts.values()) * _FLOAT
    parameters = floats - int(sum(sizes) * (_FLOAT - KERNEL_BYTES[quantized])) + adapters * _FLOAT
    rows = math.ceil(batch_size / micro_batches) * tokens
    kept = [
        _kept(network, block, rows, tokens, half_precision, adapters=adapters > 0, adapter_dropout=adapter_dropout)
        for block in network.blocks
    ]
    border = rows * network.width * (2 if half_precision else _FLOAT)
    top = rows * network.vocabulary_size * _FLOAT * _LOGITS + 2 * border
    if remat_blocks is None:
        activations = sum(kept) + top
    else:
        parts = _parts(len(kept), remat_blocks)
        inside = [sum(kept[begin:end]) for begin, end in parts]
        # The logits belong to a part of their own, after the last block.
        activations = border * len(parts) + max(*inside, top)
    if quantized is not None:
        activations += 2 * max(sizes) * _FLOAT  # one kernel as floats, and transposed
    largest = max(embedding, *sizes) if trained >= embedding else max(sizes)
    at_once = trained if updates_at_once else min(largest, trained)
    update = 3 * at_once * _FLOAT + (trained * _FLOAT if clips_together else 0)
    graph = _BLOCK_GRAPH + (0 if remat_blocks is None else _REMAT_GRAPH)
    program = int(_LIBRARIES + len(network.blocks) * (_BLOCK + graph)) if on_host else 0
    gradients, held = trained * _FLOAT, int(trained * slots * _FLOAT)
    loading = floats + 2 * embedding * _FLOAT
    return MemoryNeed(parameters, gradients, held, activations, update, program, loading, micro_batches > 1)


def trained_count(
    network: DecoderNetwork,
    *,
    lora_rank: int | None = None,
    lora_layers: Sequence[str] | None = None,
    last: int | None = None,
) -> int:
    """The numbers that train.

    Args:
        network: DecoderNetwork.
        lora_rank: int >= 1, of LoRA; None for the weights themselves.
        lora_layers: sequence of str, regular expressions of the kernels that have a pair, see `adapters.add`; None for all.
        last: int >= 1, the number of blocks that train, counted from the end; None for the whole model.

    Returns:
        int >= 0.

    Raises:
        InputError: an expression of `lora_layers` is invalid or found in no path.
    """
    if lora_rank is not None:
        chosen = decoder_choices.matching(decoder_choices.kernels(network), lora_layers, name="fine_tune.lora_layers")
        names = [path.split("/") for path in chosen]
        each = [kernels(network, block) for block in network.blocks]
        return sum(lora_rank * sum(each[int(block.removeprefix("block_"))][name]) for block, name, _ in names)
    counts = parameter_counts(network)
    if last is None:
        return sum(counts.values())
    blocks = len(network.blocks)
    return counts["norm"] + sum(counts[f"block_{index}"] for index in range(max(blocks - last, 0), blocks))


def _parts(blocks: int, remat_blocks: int | Sequence[int]) -> list[tuple[int, int]]:
    """(begin, end) of each rematerialized part."""
    if isinstance(remat_blocks, int):
        size = math.ceil(blocks / remat_blocks)
        ends = [min(end, blocks) for end in range(size, blocks + size, size)]
    else:
        ends = sorted({*remat_blocks, blocks})
    return list(zip([0, *ends], ends, strict=False))


def _kept(
    network: DecoderNetwork,
    block: Mapping,
    rows: int,
    tokens: int,
    half_precision: bool,
    *,
    adapters: bool,
    adapter_dropout: bool,
) -> int:
    """Bytes of what a block computes and its gradient reads, for `rows` tokens."""
    heads, kv_heads = _heads(block)
    norms = 2 + 2 * block["post_norms"]
    in_norms = norms * network.width + (heads + kv_heads) * block["head_norms"]
    # Inputs of the gated pair: gate, its activation, up, and their product.
    plain = 2 * heads + 2 * kv_heads + block["head_size"] + 4 * block["intermediate"]
    scores = block["num_heads"] * tokens * (1 + (block.get("score_cap") is not None))
    if adapter_dropout:
        plain += sum(inputs for inputs, _ in kernels(network, block).values())
    if not half_precision:
        # A normalization keeps its inputs, the scaled ones and the result.
        return rows * _FLOAT * (plain + 3 * in_norms + scores)
    casts = sum(inputs * units for inputs, units in kernels(network, block).values())  # each kernel in half precision
    in_float32 = 2 * in_norms + scores
    in_half = plain + in_norms + block["num_heads"] * tokens
    return rows * (_FLOAT * in_float32 + 2 * in_half) + 2 * casts


def _heads(block: Mapping) -> tuple[int, int]:
    """The units of the queries, and of the keys."""
    return block["num_heads"] * block["head_size"], block["num_kv_heads"] * block["head_size"]


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
