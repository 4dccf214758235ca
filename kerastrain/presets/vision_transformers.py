"""The vision transformers of Hugging Face and timm: their sizes, and under which names their weights are stored.

Takes a `Preset`; returns a `VisionTransformer`, or refuses what does not fit in one sentence. Must not import TensorFlow.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kerastrain.errors import InputError
from kerastrain.presets.preset import Preset

FAMILIES = ("vit", "deit", "dinov2", "siglip")
"""The families of `architectures.FAMILIES` that are read here."""

_ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
_HEADS = ("pooler.", "classifier.", "cls_classifier.", "distillation_classifier.", "head.", "head_dist.")
_UNUSED = ("mask_token", "position_ids")

_TRANSFORMERS = {
    "patches": "embeddings.patch_embeddings.projection",
    "positions": "embeddings.position_embeddings",
    "norm_1": "encoder.layer.{}.layernorm_before",
    "query": "encoder.layer.{}.attention.attention.query",
    "key": "encoder.layer.{}.attention.attention.key",
    "value": "encoder.layer.{}.attention.attention.value",
    "output": "encoder.layer.{}.attention.output.dense",
    "norm_2": "encoder.layer.{}.layernorm_after",
    "dense_1": "encoder.layer.{}.intermediate.dense",
    "dense_2": "encoder.layer.{}.output.dense",
    "norm": "layernorm",
}
_DINOV2 = {
    **_TRANSFORMERS,
    "norm_1": "encoder.layer.{}.norm1",
    "norm_2": "encoder.layer.{}.norm2",
    "dense_1": "encoder.layer.{}.mlp.fc1",
    "dense_2": "encoder.layer.{}.mlp.fc2",
    "scale_1": "encoder.layer.{}.layer_scale1.lambda1",
    "scale_2": "encoder.layer.{}.layer_scale2.lambda1",
}
_SIGLIP = {
    "patches": "embeddings.patch_embedding",
    "positions": "embeddings.position_embedding.weight",
    "norm_1": "encoder.layers.{}.layer_norm1",
    "query": "encoder.layers.{}.self_attn.q_proj",
    "key": "encoder.layers.{}.self_attn.k_proj",
    "value": "encoder.layers.{}.self_attn.v_proj",
    "output": "encoder.layers.{}.self_attn.out_proj",
    "norm_2": "encoder.layers.{}.layer_norm2",
    "dense_1": "encoder.layers.{}.mlp.fc1",
    "dense_2": "encoder.layers.{}.mlp.fc2",
    "norm": "post_layernorm",
}
_TIMM = {
    "patches": "patch_embed.proj",
    "positions": "pos_embed",
    "norm_1": "blocks.{}.norm1",
    "qkv": "blocks.{}.attn.qkv",
    "output": "blocks.{}.attn.proj",
    "norm_2": "blocks.{}.norm2",
    "dense_1": "blocks.{}.mlp.fc1",
    "dense_2": "blocks.{}.mlp.fc2",
}
_TIMM_SCALES = {"scale_1": "blocks.{}.ls1.gamma", "scale_2": "blocks.{}.ls2.gamma"}


@dataclass(frozen=True)
class VisionTransformer:
    """A vision transformer.

    Args:
        patch_size: int, pixels of a patch's side.
        grid: (rows, columns) of patches that the position embeddings were trained for.
        dim: int, numbers of a token.
        num_layers: int, blocks.
        num_heads: int, attention heads of a block.
        mlp_dim: int, units between the two dense layers of a block.
        epsilon: float, of the layer normalization.
        activation: "gelu" or "gelu_tanh".
        prefix: tuple of str, the tensors with the tokens before those of the patches: class, distillation, registers.
        positioned: int, how many tokens of the prefix have a position embedding.
        pooling: what the origin's classifier takes: "first", the class token; "first_two", the class and the distillation
            token; "mean" of the patches' tokens; or "first_and_mean", both.
        is_antialiased: bool, whether the origin smooths position embeddings that it makes smaller.
        base: str, what the names of its tensors begin with, such as "vit.".
        names: mapping from a role, such as "query", to the tensor's name without ".weight", with {} for the block.
    """

    patch_size: int
    grid: tuple[int, int]
    dim: int
    num_layers: int
    num_heads: int
    mlp_dim: int
    epsilon: float
    activation: Literal["gelu", "gelu_tanh"]
    prefix: tuple[str, ...]
    positioned: int
    pooling: Literal["first", "first_two", "mean", "first_and_mean"]
    is_antialiased: bool
    base: str
    names: Mapping[str, str]

    def name(self, role: str, block: int = 0) -> str:
        """The name of a tensor.

        Args:
            role: str, a key of `names`.
            block: int, the index of the block, where the role is of a block.

        Returns:
            str, without ".weight" or ".bias".
        """
        return self.base + self.names[role].format(block)


def read(preset: Preset) -> VisionTransformer:
    """The sizes of a vision transformer and the names of its tensors.

    Args:
        preset: Preset of one of `FAMILIES` from Hugging Face or timm, with its weights.

    Returns:
        VisionTransformer, whose tensors are all there and have the right shapes.

    Raises:
        InputError: its config.json asks for something that is not built here, or does not fit the weights.
    """
    spec = (_of_timm if preset.origin == "timm" else _of_transformers)(preset)
    _check_tensors(preset, spec)
    return spec


def check_image_size(preset: Preset, patch_size: int, size: tuple[int, int]) -> None:
    """Checks that images can be cut into patches.

    Args:
        preset: Preset.
        patch_size: int, pixels.
        size: (height, width) in pixels.

    Raises:
        InputError: a side is no multiple of the patch size.
    """
    if any(side % patch_size or side < patch_size for side in size):
        near = [max(patch_size, round(side / patch_size) * patch_size) for side in size]
        raise InputError(
            f"`data.image_size` must be multiples of {patch_size}, the patch size of {preset.handle!r}. Received: {list(size)}. "
            f"Set data.image_size={near}."
        )


def patch_size(preset: Preset) -> int | None:
    """The patch size of a network as its config.json says it; None where only the weights say it.

    Args:
        preset: Preset.

    Returns:
        int in pixels, or None.
    """
    config = preset.config.get("vision_config") or preset.config
    size = config.get("patch_size")
    return size if isinstance(size, int) else None


def _of_transformers(preset: Preset) -> VisionTransformer:
    config = preset.config.get("vision_config") or preset.config
    family, tensors = preset.family, preset.tensors
    for key, accepted in (("num_channels", (3, None)), ("use_swiglu_ffn", (False, None)), ("qkv_bias", (True, None))):
        if config.get(key) not in accepted:
            raise _unsupported(preset, key, config[key], "this variant is not built here")
    activation = _ACTIVATIONS.get(config.get("hidden_act", "gelu"))
    if activation is None:
        raise _unsupported(preset, "hidden_act", config["hidden_act"], f"known are {', '.join(_ACTIVATIONS)}")
    first = {"siglip": "vision_model."}.get(family, f"{preset.architecture}.")
    names = {"dinov2": _DINOV2, "siglip": _SIGLIP}.get(family, _TRANSFORMERS)
    base = first if any(name.startswith(first) for name in tensors) else ""
    prefix = {
        "vit": ("cls_token",),
        "deit": ("cls_token", "distillation_token"),
        "dinov2": ("cls_token", *(("register_tokens",) if config.get("num_register_tokens") else ())),
        "siglip": (),
    }[family]
    is_taught = "DeiTForImageClassificationWithTeacher" in (preset.config.get("architectures") or ())
    pooling = {
        "vit": "first",
        "deit": "first_two" if is_taught else "first",
        "dinov2": "first_and_mean",
        "siglip": "mean",
    }
    size, patch = (_integer(preset, config, key) for key in ("image_size", "patch_size"))
    dim = _integer(preset, config, "hidden_size")
    return VisionTransformer(
        patch_size=patch,
        grid=(size // patch, size // patch),
        dim=dim,
        num_layers=_integer(preset, config, "num_hidden_layers"),
        num_heads=_integer(preset, config, "num_attention_heads"),
        mlp_dim=round(dim * config.get("mlp_ratio", 4))
        if family == "dinov2"
        else _integer(preset, config, "intermediate_size"),
        epsilon=float(config.get("layer_norm_eps", 1e-6 if family in ("dinov2", "siglip") else 1e-12)),
        activation=activation,
        prefix=tuple(f"{base}embeddings.{name}" for name in prefix),
        positioned={"siglip": 0, "deit": 2}.get(family, 1),
        pooling=pooling[family],
        is_antialiased=preset.architecture == "dinov2_with_registers",
        base=base,
        names=names,
    )


def _of_timm(preset: Preset) -> VisionTransformer:
    tensors, names = preset.tensors, dict(_TIMM)
    patches, positions = tensors.get("patch_embed.proj.weight", ()), tensors.get("pos_embed", ())
    if len(patches) != 4 or len(positions) != 3:
        missing = "patch_embed.proj.weight" if len(patches) != 4 else "pos_embed"
        raise InputError(f"{preset.handle!r} has no tensor {missing}, which a {preset.architecture} has.")
    dim, patch = patches[0], patches[-1]
    depth = 1 + max((int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))), default=-1)
    pooling = {"token": "first", "avg": "mean"}.get(preset.config.get("global_pool", "token"))
    if pooling is None:
        raise _unsupported(preset, "global_pool", preset.config["global_pool"], "known are token and avg")
    prefix = tuple(name for name in ("cls_token", "reg_token") if name in tensors)
    tokens = sum(tensors[name][1] for name in prefix)
    side = math.isqrt(max(positions[1] - tokens, 0))
    positioned = tokens if side and side * side == positions[1] - tokens else 0
    side = side if positioned else math.isqrt(positions[1])
    names["norm"] = "fc_norm" if "fc_norm.weight" in tensors else "norm"
    if "blocks.0.ls1.gamma" in tensors:
        names.update(_TIMM_SCALES)
    return VisionTransformer(
        patch_size=patch,
        grid=(side, side),
        dim=dim,
        num_layers=depth,
        num_heads=(preset.config.get("model_args") or {}).get("num_heads")
        or max(dim // 64, 1),  # 64 in all known sizes
        mlp_dim=tensors.get("blocks.0.mlp.fc1.weight", (4 * dim,))[0],
        epsilon=1e-6,
        activation="gelu",
        prefix=prefix,
        positioned=positioned,
        pooling=pooling,
        is_antialiased=True,
        base="",
        names=names,
    )


def _check_tensors(preset: Preset, spec: VisionTransformer) -> None:
    expected = _shapes(preset, spec)
    for name, shape in expected.items():
        found = preset.tensors.get(name)
        if found is None:
            raise InputError(
                f"{preset.handle!r} does not fit its config.json: its weights hold no {name}. Download the folder again."
            )
        if math.prod(found) != math.prod(shape) or (len(shape) > 1 and found[0] != shape[0]):
            raise InputError(
                f"{preset.handle!r} does not fit its config.json: {name} must have the shape {list(shape)}. Received: "
                f"{list(found)}."
            )
    for name in preset.tensors:
        inner = name.removeprefix(spec.base)
        is_head = not name.startswith(spec.base) or inner.startswith(_HEADS)
        if name not in expected and not is_head and inner.rpartition(".")[2] not in _UNUSED:
            raise InputError(
                f"{preset.handle!r} is a variant of {preset.architecture} that is not built here: it also has the tensor {name}."
            )


def _shapes(preset: Preset, spec: VisionTransformer) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that are read; of tokens and positions as the product."""
    dim, mlp, patch = spec.dim, spec.mlp_dim, spec.patch_size
    dense = {
        **dict.fromkeys(("query", "key", "value", "output"), (dim, dim)),
        "qkv": (3 * dim, dim),
        "dense_1": (mlp, dim),
        "dense_2": (dim, mlp),
    }
    shapes = {f"{spec.name('patches')}.weight": (dim, 3, patch, patch), f"{spec.name('patches')}.bias": (dim,)}
    counts = [spec.grid[0] * spec.grid[1] + spec.positioned]
    shapes[spec.name("positions")] = (math.prod((*counts, dim)),)
    for name in spec.prefix:
        registers = (
            (preset.config.get("num_register_tokens") or preset.tensors.get(name, (1, 4))[1]) if "reg" in name else 1
        )
        shapes[name] = (registers * dim,)
    for block in range(spec.num_layers):
        for role in spec.names:
            if role in dense:
                shapes[f"{spec.name(role, block)}.weight"] = dense[role]
                shapes[f"{spec.name(role, block)}.bias"] = dense[role][:1]
            elif role in ("norm_1", "norm_2"):
                shapes.update({f"{spec.name(role, block)}.{part}": (dim,) for part in ("weight", "bias")})
            elif role in ("scale_1", "scale_2"):
                shapes[spec.name(role, block)] = (dim,)
    return {**shapes, **{f"{spec.name('norm')}.{part}": (dim,) for part in ("weight", "bias")}}


def _integer(preset: Preset, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _unsupported(preset, key, value, "it must be a whole number above 0")
    return value


def _unsupported(preset: Preset, key: str, value: Any, reason: str) -> InputError:
    return InputError(f"config.json of {preset.handle!r} has {key}={value!r}: {reason}.")
