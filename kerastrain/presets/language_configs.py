"""The config of a language model as Hugging Face writes it for a network of texts only, whichever folder it comes from.

Takes what `folders` has read; returns configs and shapes. Must not import TensorFlow or KerasHub.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError
from kerastrain.presets import kerashub_decoders

_GEMMA_3 = {  # what transformers leaves out of text_config, because it is usual
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "tie_word_embeddings": True,
}
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype")


@dataclass(frozen=True)
class TextModel:
    """A language model in the form of Hugging Face.

    Args:
        config: mapping, the content that its config.json would have.
        tensors: mapping from the names of its weights in the folder to their shapes.
        notes: tuple of str, what is assumed or left out, lines for the user.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()


def read(
    handle: str, folder: Path, origin: str, content: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]] | None
) -> TextModel:
    """Reads the config of a language model.

    Args:
        handle: str, for messages.
        folder: Path.
        origin: "kerashub" or "transformers".
        content: mapping, the content of config.json.
        tensors: mapping, the shapes of safetensors files; None if the weights are not downloaded.

    Returns:
        TextModel.

    Raises:
        InputError: config.json asks for something that is not built, or lacks the part for texts.
    """
    if origin == "kerashub":
        shapes = {} if tensors is None else kerashub_decoders.Tensors(folder).shapes()
        config = kerashub_decoders.config(handle, content, shapes)
        return TextModel(config, shapes, kerashub_decoders.notes(content))
    if content["model_type"] != "gemma3":
        return TextModel(content, tensors or {})
    inner = content.get("text_config")
    if not isinstance(inner, Mapping):
        raise InputError(
            f"{handle!r}: config.json of a gemma3 network must hold text_config, the sizes of its part for texts. Received: "
            "none. Download it again."
        )
    config = {**_GEMMA_3, **{key: content[key] for key in _TOKENS if key in content}, **inner}
    config |= {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]}
    return TextModel(config, tensors or {}, ("backbone: the part for texts is used, without the image encoder",))
