"""Pretrained language models: their sizes, and the names of their weights in the files of Hugging Face.

Takes a `Preset` of a language model; returns a `DecoderNetwork` and arrays. Must not import TensorFlow or KerasHub.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerastrain.errors import InputError, unknown
from kerastrain.presets import kerashub_decoders
from kerastrain.presets.architectures import LANGUAGE_MODELS
from kerastrain.presets.preset import Preset
from kerastrain.presets.safetensors import Tensors

MODEL_TYPES = LANGUAGE_MODELS
"""The model types of Hugging Face that are built."""

_LLAMA3_ROPE = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
_GEMMA = ("gemma", "gemma2", "gemma3_text")
_ACTIVATIONS = {
    **dict.fromkeys(("silu", "swish"), "silu"),
    **dict.fromkeys(("gelu_pytorch_tanh", "gelu_new", "gelu_fast"), "gelu_tanh"),
    "gelu": "gelu",
    "relu": "relu",
}
_DENSE = {  # our layer in a block -> Hugging Face's
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_NORMS = {
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
}
_POST_NORMS = {
    **_NORMS,
    "attention_post_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True)
class DecoderNetwork:
    """The sizes and kinds of the layers of a language model.

    Args:
        vocabulary_size: int >= 1.
        positions: int >= 1, the number of places that it was made for.
        width: int >= 1, the size of a token's vector.
        epsilon: float > 0, of the normalizations.
        tied: bool, whether the logits are computed with the embeddings of the tokens.
        embedding_scale: float, by which embeddings are multiplied.
        logit_cap: float > 0, the logits are bounded to ±logit_cap by a tanh; None for no bound.
        blocks: sequence of mappings, the arguments of `layers.decoder.DecoderBlock` for each block.
    """

    vocabulary_size: int
    positions: int
    width: int
    epsilon: float
    tied: bool
    embedding_scale: float
    logit_cap: float | None
    blocks: Sequence[Mapping[str, Any]]


def network(preset: Preset) -> DecoderNetwork:
    """Reads the sizes of a language model, and checks that its weights have them.

    Args:
        preset: Preset for language.

    Returns:
        DecoderNetwork.

    Raises:
        InputError: config.json lacks a size or asks for something that is not built, or weights are missing or have other
            shapes.
    """
    content, kind = preset.config, preset.architecture
    size = {
        name: _size(preset, name) for name in ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
    }
    heads = _size(preset, "num_attention_heads")
    kv_heads = _size(preset, "num_key_value_heads", heads)
    head_size = _size(preset, "head_dim", size["hidden_size"] // heads)
    if heads % kv_heads or head_size % 2:
        raise InputError(
            f"{preset.handle!r}: the attention heads in config.json must be a multiple of num_key_value_heads, and their size "
            f"even. Received: {heads} heads, {kv_heads} of keys and values, of size {head_size}."
        )
    block = {
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_size": head_size,
        "intermediate": size["intermediate_size"],
        "activation": _activation(preset),
        "epsilon": content.get("rms_norm_eps", 1e-6),
        "attention_bias": content.get("attention_bias", kind == "qwen2"),
        "output_bias": content.get("attention_bias", False) and kind != "qwen2",
        "mlp_bias": content.get("mlp_bias", False),
        "head_norms": kind in ("qwen3", "gemma3_text"),
        "post_norms": kind in ("gemma2", "gemma3_text"),
    }
    if kind in ("gemma2", "gemma3_text"):
        block["query_scale"] = content.get("query_pre_attn_scalar", 256) ** -0.5
        block["score_cap"] = content.get("attn_logit_softcapping", 50.0 if kind == "gemma2" else None)
    count = size["num_hidden_layers"]
    result = DecoderNetwork(
        vocabulary_size=size["vocab_size"],
        positions=_size(preset, "max_position_embeddings", 8192),
        width=size["hidden_size"],
        epsilon=block["epsilon"],
        tied=content.get("tie_word_embeddings", kind in (*_GEMMA, "smollm3")),
        embedding_scale=size["hidden_size"] ** 0.5 if kind in _GEMMA else 1.0,
        logit_cap=content.get("final_logit_softcapping", 30.0 if kind == "gemma2" else None)
        if kind in _GEMMA
        else None,
        blocks=tuple({**block, **own} for own in _each_block(preset, count)),
    )
    if preset.is_fetched:
        _check(preset, result)
    return result


def names(network: DecoderNetwork) -> dict[str, str]:
    """The names of a network's weights.

    Args:
        network: DecoderNetwork.

    Returns:
        dict from the path of each variable, such as "block_0/query/kernel", to its name in the files of Hugging Face, such
        as "model.layers.0.self_attn.q_proj.weight".
    """
    result = {"embedding/embeddings": "model.embed_tokens.weight"}
    for index, block in enumerate(network.blocks):
        prefix = f"model.layers.{index}"
        biased = {
            **dict.fromkeys(("query", "key", "value"), block["attention_bias"]),
            "attention_output": block["output_bias"],
            **dict.fromkeys(("gate", "up", "down"), block["mlp_bias"]),
        }
        for layer, name in _DENSE.items():
            result[f"block_{index}/{layer}/kernel"] = f"{prefix}.{name}.weight"
            if biased[layer]:
                result[f"block_{index}/{layer}/bias"] = f"{prefix}.{name}.bias"
        for layer, name in (_POST_NORMS if block["post_norms"] else _NORMS).items():
            if block["head_norms"] or layer not in ("query_norm", "key_norm"):
                result[f"block_{index}/{layer}/scale"] = f"{prefix}.{name}.weight"
    result["norm/scale"] = "model.norm.weight"
    if not network.tied:
        result["embedding/reverse_embeddings"] = "lm_head.weight"
    return result


def shapes(network: DecoderNetwork) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights in the files of Hugging Face.

    Args:
        network: DecoderNetwork.

    Returns:
        dict from the path of each variable to a tuple of int.
    """
    return {path: _shape(path, network, network.width) for path in names(network)}


def weights(preset: Preset, network: DecoderNetwork) -> Iterator[tuple[str, np.ndarray]]:
    """Reads the weights of a language model from the files of Hugging Face or KerasHub.

    Args:
        preset: Preset, fetched.
        network: DecoderNetwork from `network`.

    Yields:
        (str, float32 array): the path of a variable and its value.
    """
    files = kerashub_decoders.Tensors if preset.origin == "kerashub" else Tensors
    found = files(Path(preset.location))
    prefix = _prefix(preset)
    for path, name in names(network).items():
        yield path, turned(path, found[_stored(preset, prefix, name)], preset.architecture, to_file=False)


def turned(path: str, value: np.ndarray, model_type: str, *, to_file: bool) -> np.ndarray:
    """The value of a variable as a tensor of a file, or the other way round.

    Args:
        path: str, the path of the variable.
        value: float array.
        model_type: str, as in config.json; Gemma's files hold the scales of norms less 1.
        to_file: bool, whether `value` is that of the variable.

    Returns:
        float array, contiguous.
    """
    if path.endswith(("/kernel", "/reverse_embeddings")):
        value = value.T
    if path.endswith("/scale") and model_type in _GEMMA:
        value = value - 1 if to_file else value + 1
    return np.ascontiguousarray(value)


def _each_block(preset: Preset, count: int) -> Iterator[dict[str, Any]]:
    """What differs from block to block: the rotations and the window."""
    content, kind = preset.config, preset.architecture
    types = content.get("layer_types")
    if types is not None and len(types) != count:
        raise InputError(
            f"{preset.handle!r}: layer_types in config.json must name the kind of each of the {count} blocks. Received: "
            f"{len(types)} kinds."
        )
    window = content.get("sliding_window") if content.get("use_sliding_window", kind != "qwen2") else None
    for index in range(count):
        if types is None:
            local = {
                "gemma2": index % 2 == 0,
                "gemma3_text": (index + 1) % content.get("sliding_window_pattern", 6) != 0,
            }
            is_local = local.get(kind, kind == "mistral")
            if kind in ("qwen2", "qwen3"):
                is_local = window is not None and index >= content.get("max_window_layers", 28)
        else:
            is_local = types[index] == "sliding_attention"
        rope = _rope(preset, types[index] if types else "sliding_attention" if is_local else "full_attention")
        if kind == "smollm3":
            turns = content.get("no_rope_layers") or [
                (place + 1) % content.get("no_rope_layer_interval", 4) != 0 for place in range(count)
            ]
            rope = rope if turns[index] else None
        yield {"rope": rope, "window": window if is_local else None}


def _rope(preset: Preset, block_type: str) -> dict[str, Any]:
    """The arguments of `layers.rotations.rotations`; transformers 5 writes rope_parameters, earlier versions rope_theta."""
    content = preset.config
    parameters = content.get("rope_parameters") or {}
    parameters = parameters.get(block_type, parameters)
    is_local = preset.architecture == "gemma3_text" and block_type == "sliding_attention"
    base = parameters.get("rope_theta") or content.get("rope_theta", 10_000.0)
    scaling = parameters or content.get("rope_scaling") or {}
    if is_local and not parameters:
        base, scaling = content.get("rope_local_base_freq", 10_000.0), {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return {"base": float(base)}
    needed = {"linear": ("factor",), "llama3": _LLAMA3_ROPE}.get(kind, ())
    if lacking := [key for key in needed if not isinstance(scaling.get(key), int | float)]:
        raise InputError(
            f"{preset.handle!r}: the rotation of positions {kind!r} in config.json needs the number {lacking[0]}. Received: "
            f"{scaling.get(lacking[0], 'nothing')!r}. Download config.json again."
        )
    if kind == "linear":
        return {"base": float(base), "factor": float(scaling["factor"])}
    if kind == "llama3":
        return {
            "base": float(base),
            "factor": float(scaling["factor"]),
            "low_frequency": float(scaling["low_freq_factor"]),
            "high_frequency": float(scaling["high_freq_factor"]),
            "trained_positions": int(scaling["original_max_position_embeddings"]),
        }
    raise InputError(
        f"{preset.handle!r}: {unknown('rotation of positions (rope_type)', kind, ('default', 'linear', 'llama3'))}"
    )


def _prefix(preset: Preset) -> str:
    """What stands before the names in the files: "" or, where several networks share a file, such as "language_model."."""
    name = next((name for name in preset.tensors if name.endswith("embed_tokens.weight")), None)
    if name is None:
        raise InputError(
            f"{preset.handle!r}: the weights hold no 'model.embed_tokens.weight', so they are not those of a "
            f"{preset.architecture} network. They begin with {next(iter(preset.tensors), 'nothing')!r}."
        )
    return name.removesuffix("model.embed_tokens.weight") if name.endswith("model.embed_tokens.weight") else "bare"


def _stored(preset: Preset, prefix: str, name: str) -> str:
    return name.removeprefix("model.") if prefix == "bare" else prefix + name


def _check(preset: Preset, network: DecoderNetwork) -> None:
    prefix, width = _prefix(preset), network.width
    if not network.tied and _stored(preset, prefix, "lm_head.weight") not in preset.tensors:
        raise InputError(
            f"{preset.handle!r}: the weights lack 'lm_head.weight', which predicts the next token. Give the folder of the whole "
            "language model, not of its features only."
        )
    for path, name in names(network).items():
        stored = _stored(preset, prefix, name)
        if stored not in preset.tensors:
            raise InputError(
                f"{preset.handle!r}: the weights lack {stored!r}, which a {preset.architecture} network of config.json's sizes "
                "has. Download the folder again."
            )
        expected = _shape(path, network, width)
        if tuple(preset.tensors[stored]) != expected:
            raise InputError(
                f"{preset.handle!r}: config.json and the weights do not belong together: {stored!r} must have the shape "
                f"{expected}. Received: {tuple(preset.tensors[stored])}."
            )


def _shape(path: str, network: DecoderNetwork, width: int) -> tuple[int, ...]:
    """The shape of a tensor in the files."""
    layer, kind = path.split("/")[-2:]
    if layer == "embedding":
        return network.vocabulary_size, width
    if layer == "norm":
        return (width,)
    block = network.blocks[int(path.split("/")[0].removeprefix("block_"))]
    if kind == "scale":
        return (block["head_size"],) if layer in ("query_norm", "key_norm") else (width,)
    heads, kv_heads = block["num_heads"] * block["head_size"], block["num_kv_heads"] * block["head_size"]
    units = {
        "query": heads,
        "key": kv_heads,
        "value": kv_heads,
        "gate": block["intermediate"],
        "up": block["intermediate"],
    }
    inputs = {"attention_output": heads, "down": block["intermediate"]}
    outputs = units.get(layer, width)
    return (outputs,) if kind == "bias" else (outputs, inputs.get(layer, width))


def _activation(preset: Preset) -> str:
    content = preset.config
    name = content.get("hidden_activation") or content.get("hidden_act") or "silu"
    if preset.architecture == "gemma" and name == "gelu":  # The first configs of Gemma meant the approximation.
        name = "gelu_pytorch_tanh"
    if name not in _ACTIVATIONS:
        raise InputError(f"{preset.handle!r}: {unknown('activation', name, _ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _size(preset: Preset, name: str, default: int | None = None) -> int:
    value = preset.config.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        received = "nothing" if value is None else repr(value)
        raise InputError(
            f"{preset.handle!r}: config.json must hold {name}, a whole number above 0. Received: {received}."
        )
    return value
