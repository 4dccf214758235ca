"""The language models of KerasHub as Hugging Face describes them: their sizes in config.json, and the names of their weights.

Takes the content of KerasHub's config.json and its folder; returns what a folder of Hugging Face would hold, so that nothing
else knows of KerasHub's format. Must not import TensorFlow or KerasHub.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerastrain.errors import InputError
from kerastrain.presets import files

_SIZES = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "head_dim": "head_dim",
    "layer_norm_epsilon": "rms_norm_eps",
    "rope_max_wavelength": "rope_theta",
    "rope_theta": "rope_theta",
    "max_position_embeddings": "max_position_embeddings",
    "attention_bias": "attention_bias",
    "mlp_bias": "mlp_bias",
}
_LLAMA = {  # KerasHub's layer in a block -> Hugging Face's
    "_self_attention_layer/_query_dense": "self_attn.q_proj",
    "_self_attention_layer/_key_dense": "self_attn.k_proj",
    "_self_attention_layer/_value_dense": "self_attn.v_proj",
    "_self_attention_layer/_output_dense": "self_attn.o_proj",
    "_self_attention_layer/_query_dense_layer_norm": "self_attn.q_norm",
    "_self_attention_layer/_key_dense_layer_norm": "self_attn.k_norm",
    "_feedforward_gate_dense": "mlp.gate_proj",
    "_feedforward_intermediate_dense": "mlp.up_proj",
    "_feedforward_output_dense": "mlp.down_proj",
    "_self_attention_layernorm": "input_layernorm",
    "_feedforward_layernorm": "post_attention_layernorm",
}
_GEMMA = {
    "attention/query_dense": "self_attn.q_proj",
    "attention/key_dense": "self_attn.k_proj",
    "attention/value_dense": "self_attn.v_proj",
    "attention/output_dense": "self_attn.o_proj",
    "attention/query_norm": "self_attn.q_norm",
    "attention/key_norm": "self_attn.k_norm",
    "gating_ffw": "mlp.gate_proj",
    "gating_ffw_2": "mlp.up_proj",
    "ffw_linear": "mlp.down_proj",
    "pre_attention_norm": "input_layernorm",
    "pre_ffw_norm": "post_attention_layernorm",
}
_GEMMA_2 = {
    **_GEMMA,
    "post_attention_norm": "post_attention_layernorm",
    "pre_ffw_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_SMOLLM = {
    name.replace(".", "/"): name
    for name in (
        *(f"self_attn.{letter}_proj" for letter in "qkvo"),
        *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
        *("input_layernorm", "post_attention_layernorm"),
    )
}
_LINEAR, _LLAMA_3 = "linear", "llama3"


@dataclass(frozen=True)
class _Class:
    """How a class of KerasHub is called by Hugging Face.

    Args:
        model_type: str, as in config.json of Hugging Face.
        causal_lm: str, the class of transformers.
        layers: mapping from its layers in a block to Hugging Face's.
        positions: int, the longest texts that the family was trained with, which KerasHub's files do not say.
        halves: int, the number of layers among which `intermediate_dim` is shared.
    """

    model_type: str
    causal_lm: str
    layers: Mapping[str, str]
    positions: int
    halves: int = 1


_CLASSES = {
    "LlamaBackbone": _Class("llama", "LlamaForCausalLM", _LLAMA, 4096),
    "Llama3Backbone": _Class("llama", "LlamaForCausalLM", _LLAMA, 8192),
    "MistralBackbone": _Class("mistral", "MistralForCausalLM", _LLAMA, 32_768),
    "QwenBackbone": _Class("qwen2", "Qwen2ForCausalLM", _LLAMA, 32_768),
    "Qwen3Backbone": _Class("qwen3", "Qwen3ForCausalLM", _LLAMA, 40_960),
    "GemmaBackbone": _Class("gemma", "GemmaForCausalLM", _GEMMA, 8192, halves=2),
    "Gemma2Backbone": _Class("gemma2", "Gemma2ForCausalLM", _GEMMA_2, 8192, halves=2),
    "Gemma3Backbone": _Class("gemma3_text", "Gemma3ForCausalLM", _GEMMA_2, 32_768),
    "SmolLM3Backbone": _Class("smollm3", "SmolLM3ForCausalLM", _SMOLLM, 65_536),
}
_BLOCK = re.compile(r"layers/\w+?_(?:decoder|decoder_block|decoder_layer)(?:_(\d+))?/(.+)/vars/([01])")
_OUTSIDE = {
    re.compile(r"layers/reversible_embedding/vars/0"): "model.embed_tokens.weight",
    re.compile(r"layers/reversible_embedding/vars/1"): "lm_head.weight",
    re.compile(r"layers/(?:\w+_layer_norm(?:alization)?|rms_normalization)/vars/0"): "model.norm.weight",
}


def config(handle: str, content: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json that Hugging Face would have of a language model of KerasHub.

    Args:
        handle: str, for messages.
        content: mapping, the content of KerasHub's config.json.
        tensors: mapping with the names of the weights, as from `Tensors`; empty if they are not downloaded.

    Returns:
        dict.

    Raises:
        InputError: it asks for something that is not built.
    """
    own, kind = content.get("config") or {}, _class(content)
    _refuse(handle, own, kind)
    result = {"model_type": kind.model_type, "architectures": [kind.causal_lm]}
    result |= {name: own[key] for key, name in _SIZES.items() if own.get(key) is not None}
    if isinstance(result.get("intermediate_size"), int):
        result["intermediate_size"] //= kind.halves
    result.setdefault("max_position_embeddings", kind.positions)
    result["hidden_act"] = "gelu_pytorch_tanh" if "gemma" in kind.model_type else "silu"
    default = own.get("tie_word_embeddings", "Mistral" not in kind.causal_lm)
    result["tie_word_embeddings"] = "lm_head.weight" not in tensors if tensors else default
    return result | _rope(own) | _attention(own, kind)


def notes(content: Mapping[str, Any]) -> tuple[str, ...]:
    """What of a language model of KerasHub is assumed or left out.

    Args:
        content: mapping, the content of KerasHub's config.json.

    Returns:
        tuple of str, lines for the user.
    """
    own, kind, lines = content.get("config") or {}, _class(content), []
    if "max_position_embeddings" not in own:
        lines.append(
            "backbone: the files of KerasHub do not say how long texts may be; taken as "
            f"{_positions(own, kind):,} tokens, for which {kind.model_type} was trained"
        )
    if own.get("vision_encoder"):
        lines.append("backbone: the part for texts is used, without the image encoder")
    if not own.get("query_head_dim_normalize", True):
        lines.append(
            "backbone: attention is scaled by hidden_dim / num_query_heads, as config.json says; KerasHub 0.32 takes head_dim"
        )
    if own.get("dropout") or own.get("attention_dropout"):
        lines.append("backbone: the dropout of KerasHub's layers is left out; fine_tune.lora_dropout has one")
    return tuple(lines)


class Tensors(Mapping):
    """The weights of a language model of KerasHub, by the names and in the shapes of Hugging Face.

    Args:
        folder: Path of a folder that `files.check_h5` has accepted.
    """

    def __init__(self, folder: Path):
        kind = _class(files.read_json(folder / "config.json"))
        self._places, self._is_gemma = {}, "gemma" in kind.model_type
        for path in files.h5_files(folder):
            with h5py.File(path, "r") as file:
                file.visititems(lambda name, item, path=path: self._add(kind, path, name, item))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor in the files of Hugging Face."""
        return {
            name: self._turned(name, np.broadcast_to(np.float32(0), shape)).shape
            for name, (_, _, shape) in self._places.items()
        }

    def __getitem__(self, name: str) -> np.ndarray:
        """The float32 values of a tensor."""
        path, place, _ = self._places[name]
        with h5py.File(path, "r") as file:
            return self._turned(name, np.asarray(file[place], np.float32))

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._places)

    def __len__(self) -> int:
        """The number of tensors."""
        return len(self._places)

    def _add(self, kind: _Class, path: Path, place: str, item) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        name = next((name for pattern, name in _OUTSIDE.items() if pattern.fullmatch(place)), None)
        block = _BLOCK.fullmatch(place)
        if block and block[2] in kind.layers:
            suffix = "bias" if block[3] == "1" else "weight"
            name = f"model.layers.{block[1] or 0}.{kind.layers[block[2]]}.{suffix}"
        if name is not None:
            self._places[name] = (path, place, item.shape)

    def _turned(self, name: str, values: np.ndarray) -> np.ndarray:
        """A tensor of KerasHub, whose heads have an axis of their own, in the shape of Hugging Face."""
        if name.endswith(".bias") or values.ndim == 1:
            return values.reshape(-1)
        if name == "model.embed_tokens.weight":
            return values
        if values.ndim == 3:
            if "o_proj" in name:
                values = values.reshape(-1, values.shape[-1])
            else:
                values = values.transpose(1, 0, 2) if self._is_gemma else values
                values = values.reshape(values.shape[0], -1)
        return values.T


def _class(content: Mapping[str, Any]) -> _Class:
    name = content["registered_name"].rpartition(">")[2]
    is_second = name == "GemmaBackbone" and (content.get("config") or {}).get("use_post_ffw_norm")
    return _CLASSES["Gemma2Backbone" if is_second else name]


def _refuse(handle: str, own: Mapping[str, Any], kind: _Class) -> None:
    has_post_norms = kind.model_type in ("gemma2", "gemma3_text")
    only = {"is_embedding_model": False, "use_bidirectional_attention": False}
    # KerasHub 0.32 takes a rope_position_scaling_factor and does not use it, so that none of its models was made with one.
    only |= dict.fromkeys(("partial_rotary_factor", "local_rope_scaling_factor", "rope_position_scaling_factor"), 1.0)
    only |= {"use_post_ffw_norm": has_post_norms, "use_post_attention_norm": has_post_norms, "use_query_key_norm": True}
    if kind.model_type == "gemma":
        only |= dict.fromkeys(("attention_logit_soft_cap", "final_logit_soft_cap"))
        only |= {"query_head_dim_normalize": True, "use_sliding_window_attention": False}
    for key, accepted in only.items():
        if own.get(key, accepted) != accepted:
            raise InputError(
                f"{handle!r}: config.json asks for {key}={own[key]!r}, and {kind.model_type} is built with {key}={accepted!r} "
                "only. Give the folder of another model."
            )
    types = {name for name in own.get("layer_types") or () if name not in ("attention", "full_attention")}
    if types:
        raise InputError(
            f"{handle!r}: config.json asks for layer_types={sorted(types)}, and smollm3 is built with full attention only. Give "
            "the folder of Hugging Face of the same model."
        )


def _positions(own: Mapping[str, Any], kind: _Class) -> int:
    trained, factor = (own.get(f"rope_{key}") for key in ("pretraining_sequence_length", "frequency_adjustment_factor"))
    return int(trained * factor) if trained and factor else kind.positions


def _rope(own: Mapping[str, Any]) -> dict[str, Any]:
    if own.get("rope_low_freq_factor") is not None:
        factor, trained = own["rope_frequency_adjustment_factor"], own["rope_pretraining_sequence_length"]
        scaling = {
            "rope_type": _LLAMA_3,
            "factor": float(factor),
            "low_freq_factor": float(own["rope_low_freq_factor"]),
            "high_freq_factor": float(own["rope_high_freq_factor"]),
            "original_max_position_embeddings": trained,
        }
        return {"rope_scaling": scaling, "max_position_embeddings": int(trained * factor)}
    keys = ("rope_scaling_factor", "global_rope_scaling_factor")
    factor = next((own[key] for key in keys if own.get(key) is not None), 1.0)
    return {} if factor == 1 else {"rope_scaling": {"rope_type": _LINEAR, "factor": float(factor)}}


def _attention(own: Mapping[str, Any], kind: _Class) -> dict[str, Any]:
    """What a family's attention reads, and what bounds it."""
    count = own.get("num_layers", 0)
    if kind.model_type == "mistral":
        return {"sliding_window": own.get("sliding_window")}
    if kind.model_type in ("qwen2", "qwen3"):
        window = (
            own.get("sliding_window_size")
            if own.get("use_sliding_window_attention", "qwen3" in kind.model_type)
            else None
        )
        return {"use_sliding_window": window is not None, "sliding_window": window, "max_window_layers": 0}
    if kind.model_type == "smollm3":
        return {"no_rope_layers": [int(turns) for turns in own["rope_layer_enabled_list"]], "use_sliding_window": False}
    if kind.model_type in ("llama", "gemma"):
        return {}
    has_window = own.get("use_sliding_window_attention")
    # KerasHub 0.32 reads this setting, and then always scales by the head's size.
    scalar = (
        own["head_dim"] if own.get("query_head_dim_normalize", True) else own["hidden_dim"] // own["num_query_heads"]
    )
    every = {"gemma2": 2, "gemma3_text": 6}[kind.model_type]
    local = [has_window and ((index + 1) % every != 0) for index in range(count)]
    return {
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": own.get("attention_logit_soft_cap"),
        "final_logit_softcapping": own.get("final_logit_soft_cap"),
        "sliding_window": own.get("sliding_window_size"),
        "layer_types": ["sliding_attention" if each else "full_attention" for each in local],
        "hidden_activation": "gelu_pytorch_tanh",
        **({"rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0} if every == 6 else {}),
    }
