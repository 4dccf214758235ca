"""The image networks of KerasHub: their sizes, and which of their variables is which weight.

Takes a `Preset` of KerasHub; returns a `VisionTransformer` and its tensors, or refuses what is not built here in one
sentence. Must not import TensorFlow or KerasHub.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerastrain.errors import InputError
from kerastrain.presets.fitting import unsupported
from kerastrain.presets.preset import Preset
from kerastrain.presets.vision_transformers import VisionTransformer

_ROLES = {  # the ends of the paths of KerasHub's variables, inside a block where they are of one
    **dict.fromkeys(("ln_1", "norm1", "layer_norm1"), "norm_1"),
    **dict.fromkeys(("ln_2", "norm2", "layer_norm2"), "norm_2"),
    **dict.fromkeys(("mha/query", "attention/attention/query", "self_attn/query", "attention/q_proj"), "query"),
    **dict.fromkeys(("mha/key", "attention/attention/key", "self_attn/key", "attention/k_proj"), "key"),
    **dict.fromkeys(("mha/value", "attention/attention/value", "self_attn/value", "attention/v_proj"), "value"),
    **dict.fromkeys(
        (
            "mha/attention_output",
            "attention/attention/attention_output",
            "self_attn/attention_output",
            "attention/o_proj",
        ),
        "output",
    ),
    **dict.fromkeys(("mlp/dense_1", "mlp/dense", "mlp/fc1", "mlp/up_proj"), "dense_1"),
    **dict.fromkeys(("mlp/dense_2", "output_layer/output", "mlp/fc2", "mlp/down_proj"), "dense_2"),
    "layer_scale1": "scale_1",
    "layer_scale2": "scale_2",
}
_OUTSIDE = {  # of the layers outside the blocks
    **dict.fromkeys(("patch_embedding", "patch_embeddings/projection"), "patches"),
    **dict.fromkeys(("ln", "layernorm", "post_layer_norm"), "norm"),
}
_POSITIONS = ("position_embedding/embeddings", "position_embedding", "embeddings/position_embeddings")
_TOKENS = ("cls_token", "class_token", "distillation_token", "register_tokens")
_BLOCK = re.compile(r"(?:transformer_block|layers|encoder_block)_(\d+)/(.+)/")
_FIRST_BLOCK = {"vit": 1, "deit": 1}
_NAMES = {role: f"block_{{}}.{role}" for role in _ROLES.values()} | {
    role: role for role in ("patches", "positions", "norm")
}


def read(preset: Preset) -> VisionTransformer:
    """The sizes of a vision transformer and the names that `tensors` gives its weights.

    Args:
        preset: Preset of KerasHub of a family of `vision_transformers.FAMILIES`.

    Returns:
        VisionTransformer.

    Raises:
        InputError: its config.json asks for something that is not built here.
    """
    config, family = _config(preset), preset.family
    for key, accepted in (("use_swiglu_ffn", False), ("use_gated_mlp", False), ("use_class_token", True)):
        if config.get(key, accepted) != accepted:
            raise InputError(unsupported(preset, key, config[key], f"only {accepted} is built here"))
    activation = config.get("intermediate_activation", config.get("hidden_activation", "gelu"))
    known = {"gelu": "gelu", "gelu_approximate": "gelu_tanh"}
    if activation not in known:
        raise InputError(unsupported(preset, "intermediate_activation", activation, f"known are {', '.join(known)}"))
    patch = patch_size(preset)
    shape = config.get("position_embedding_shape") or _required(preset, "image_shape")
    registers = config.get("num_register_tokens") or 0
    prefix = {
        "vit": ("class_token",),
        "deit": ("class_token", "distillation_token"),
        "siglip": (),
    }.get(family, ("cls_token", *(("register_tokens",) if registers else ())))
    names = {role: name for role, name in _NAMES.items() if family in ("dinov2", "dinov3") or "scale" not in role}
    if family == "dinov3":
        del names["positions"]
    return VisionTransformer(
        patch_size=patch,
        grid=(shape[0] // patch, shape[1] // patch),
        dim=_required(preset, "hidden_dim"),
        num_layers=_required(preset, "num_layers"),
        num_heads=_required(preset, "num_heads"),
        mlp_dim=config.get("mlp_dim") or _required(preset, "intermediate_dim"),
        epsilon=float(config.get("layer_norm_epsilon", config.get("layer_norm_eps", 1e-6))),
        activation=known[activation],
        prefix=prefix,
        positioned={"deit": 2, "siglip": 0, "dinov3": 0}.get(family, 1),
        pooling={"siglip": "mean", "dinov2": "first_and_mean", "dinov3": "first_and_mean"}.get(family, "first"),
        is_antialiased=bool(config.get("antialias_in_interpolation")),
        base="",
        names=names,
        rope_theta=float(config.get("rope_theta", 100.0)) if family == "dinov3" else None,
        without_bias=_without_bias(config),
    )


def tensors(preset: Preset, variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a vision transformer, in PyTorch's layout.

    Args:
        preset: as for `read`.
        variables: mapping from the path of each variable of KerasHub's network to its value.

    Returns:
        dict from the names of `read(preset)` with ".weight" and ".bias" to float arrays.
    """
    result, dim = {}, _required(preset, "hidden_dim")
    for path, value in variables.items():
        name = next((token for token in _TOKENS if path.endswith(token)), None)
        if name is not None:
            result[name] = value
        elif path.endswith(_POSITIONS) and "interpolated" not in path:
            result["positions"] = value
        if (block := _BLOCK.search(path)) is not None:
            place, role = f"block_{int(block[1]) - _FIRST_BLOCK.get(preset.family, 0)}.", _ROLES.get(block[2])
        else:
            place, role = "", next((role for end, role in _OUTSIDE.items() if f"/{path}".endswith(_ends(end))), None)
        if role is None or "head/" in path:
            continue
        kind = path.rpartition("/")[2]
        if kind == "lambda1":
            result[place + role] = value
        else:
            part = "weight" if kind in ("kernel", "gamma") else "bias"
            result[f"{place}{role}.{part}"] = _in_pytorch(value, role, part, dim)
    return result


def _ends(layer: str) -> tuple[str, ...]:
    return tuple(f"{start}{layer}/{kind}" for start in "/_" for kind in ("kernel", "bias", "gamma", "beta"))


def _in_pytorch(value: np.ndarray, role: str, part: str, dim: int) -> np.ndarray:
    if part == "bias":
        return value.reshape(-1)
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if value.ndim == 3:  # The attention of Keras keeps its heads apart.
        value = value.reshape(-1, dim) if role == "output" else value.reshape(dim, -1)
    return value.T


def patch_size(preset: Preset) -> int:
    """The patch size of a vision transformer.

    Args:
        preset: as for `read`.

    Returns:
        int in pixels.

    Raises:
        InputError: patches are not square.
    """
    size = _required(preset, "patch_size")
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise InputError(unsupported(preset, "patch_size", size, "patches must be square"))
    return sides.pop()


def check_convolutional(preset: Preset) -> None:
    """Checks that a convolutional network consists of Keras's own layers, so that its files open without KerasHub.

    Args:
        preset: Preset of KerasHub of another family.

    Raises:
        InputError: it is a variant with other layers.
    """
    config = _config(preset)
    types = sorted({kind for kind in config.get("stackwise_block_types") or () if kind != "v1"})
    if types:
        raise InputError(
            unsupported(
                preset, "stackwise_block_types", types, "EfficientNetV2 is not built here. Use keras:EfficientNetV2B0"
            )
        )
    if config.get("use_pre_activation"):
        raise InputError(
            unsupported(
                preset, "use_pre_activation", True, "ResNetV2 is not built here. Use a ResNet or keras:ResNet50V2"
            )
        )


def _config(preset: Preset) -> Mapping[str, Any]:
    config = preset.config.get("config") or {}
    config = (config.get("vision_encoder") or {}).get("config") or config
    channels = (config.get("image_shape") or config.get("input_shape") or (3,))[-1]
    if channels != 3:
        raise InputError(unsupported(preset, "image_shape", config["image_shape"], "images must have three channels"))
    return config


def _required(preset: Preset, key: str) -> Any:
    value = _config(preset).get(key)
    if not value:
        raise InputError(unsupported(preset, key, value, "it must be a whole number above 0, or a shape"))
    return value


def _without_bias(config: Mapping[str, Any]) -> tuple[str, ...]:
    keys = {
        "use_mha_bias": ("query", "key", "value", "output"),
        "use_mlp_bias": ("dense_1", "dense_2"),
        "use_patch_bias": ("patches",),
        "use_query_bias": ("query",),
        "use_key_bias": ("key",),
        "use_value_bias": ("value",),
        "use_proj_bias": ("output",),
    }
    return tuple(role for key, roles in keys.items() if not config.get(key, True) for role in roles)
