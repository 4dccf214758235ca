"""The vision transformers of Hugging Face and timm: their sizes, and under which names their weights are stored.

Takes a `Preset`; returns a `VisionTransformer`, or refuses what does not fit in one sentence. Must not import TensorFlow.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kerastrain.errors import InputError
from kerastrain.presets.fitting import check_tensors, unsupported
from kerastrain.presets.preset import Preset
from kerastrain.presets.vision_transformer_names import (
    DINOV2,
    SIGLIP,
    TIMM,
    TIMM_SCALES,
    TRANSFORMERS,
    dinov3_names,
)

FAMILIES = ("vit", "deit", "dinov2", "dinov3", "siglip")
"""The families of `architectures.FAMILIES` that are read here."""

_EPSILONS = {"dinov2": 1e-6, "dinov3": 1e-5, "siglip": 1e-6}  # of Hugging Face, where config.json has none
_BIASES = {  # role -> the key of config.json that says whether its layer has a bias
    "query": "query_bias",
    "key": "key_bias",
    "value": "value_bias",
    "output": "proj_bias",
    "dense_1": "mlp_bias",
    "dense_2": "mlp_bias",
}
_ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
_HEADS = ("pooler.", "classifier.", "cls_classifier.", "distillation_classifier.", "head.", "head_dist.")
_UNUSED = ("mask_token", "position_ids")


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
        rope_theta: float, the base of the wave lengths by which attention rotates queries and keys; None where positions are
            learned.
        without_bias: tuple of str, the roles whose layers have no bias.
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
    rope_theta: float | None = None
    without_bias: tuple[str, ...] = ()

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
    for key, accepted in {"num_channels": 3, "use_swiglu_ffn": False, "use_gated_mlp": False, "qkv_bias": True}.items():
        if config.get(key, accepted) not in (accepted, None):
            raise InputError(unsupported(preset, key, config[key], "this variant is not built here"))
    activation = _ACTIVATIONS.get(config.get("hidden_act", "gelu"))
    if activation is None:
        raise InputError(
            unsupported(preset, "hidden_act", config["hidden_act"], f"known are {', '.join(_ACTIVATIONS)}")
        )
    first = {"siglip": "vision_model."}.get(family, f"{preset.architecture}.")
    names = {"dinov2": DINOV2, "dinov3": dinov3_names(tensors), "siglip": SIGLIP}.get(family, TRANSFORMERS)
    base = first if any(name.startswith(first) for name in tensors) else ""
    prefix = {
        "vit": ("cls_token",),
        "deit": ("cls_token", "distillation_token"),
        "siglip": (),
    }.get(family, ("cls_token", *(("register_tokens",) if config.get("num_register_tokens") else ())))
    is_taught = "DeiTForImageClassificationWithTeacher" in (preset.config.get("architectures") or ())
    pooling = {
        "vit": "first",
        "deit": "first_two" if is_taught else "first",
        "dinov2": "first_and_mean",
        "dinov3": "first_and_mean",
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
        epsilon=float(config.get("layer_norm_eps", _EPSILONS.get(family, 1e-12))),
        activation=activation,
        prefix=tuple(f"{base}embeddings.{name}" for name in prefix),
        positioned={"siglip": 0, "dinov3": 0, "deit": 2}.get(family, 1),
        pooling=pooling[family],
        is_antialiased=preset.architecture == "dinov2_with_registers",
        base=base,
        names=names,
        rope_theta=_rope_theta(config) if family == "dinov3" else None,
        without_bias=tuple(role for role, key in _BIASES.items() if family == "dinov3" and not config.get(key, True)),
    )


def _rope_theta(config: Mapping[str, Any]) -> float:
    return float((config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 100.0)


def _of_timm(preset: Preset) -> VisionTransformer:
    tensors, names = preset.tensors, dict(TIMM)
    patches, positions = tensors.get("patch_embed.proj.weight", ()), tensors.get("pos_embed", ())
    if len(patches) != 4 or len(positions) != 3:
        missing = "patch_embed.proj.weight" if len(patches) != 4 else "pos_embed"
        raise InputError(f"{preset.handle!r} has no tensor {missing}, which a {preset.architecture} has.")
    dim, patch = patches[0], patches[-1]
    depth = 1 + max((int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))), default=-1)
    pooling = {"token": "first", "avg": "mean"}.get(preset.config.get("global_pool", "token"))
    if pooling is None:
        raise InputError(unsupported(preset, "global_pool", preset.config["global_pool"], "known are token and avg"))
    prefix = tuple(name for name in ("cls_token", "reg_token") if name in tensors)
    tokens = sum(tensors[name][1] for name in prefix)
    side = math.isqrt(max(positions[1] - tokens, 0))
    positioned = tokens if side and side * side == positions[1] - tokens else 0
    side = side if positioned else math.isqrt(positions[1])
    names["norm"] = "fc_norm" if "fc_norm.weight" in tensors else "norm"
    if "blocks.0.ls1.gamma" in tensors:
        names.update(TIMM_SCALES)
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
    def is_unused(name: str) -> bool:
        inner = name.removeprefix(spec.base)
        is_head = not name.startswith(spec.base) or inner.startswith(_HEADS)
        return is_head or inner.rpartition(".")[2] in _UNUSED

    check_tensors(preset, _shapes(preset, spec), is_unused)


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
    if spec.rope_theta is None:
        shapes[spec.name("positions")] = ((spec.grid[0] * spec.grid[1] + spec.positioned) * dim,)
    for name in spec.prefix:
        registers = (
            (preset.config.get("num_register_tokens") or preset.tensors.get(name, (1, 4))[1]) if "reg" in name else 1
        )
        shapes[name] = (registers * dim,)
    for block in range(spec.num_layers):
        for role in spec.names:
            if role in dense:
                shapes[f"{spec.name(role, block)}.weight"] = dense[role]
                if role not in spec.without_bias:
                    shapes[f"{spec.name(role, block)}.bias"] = dense[role][:1]
            elif role in ("norm_1", "norm_2"):
                shapes.update({f"{spec.name(role, block)}.{part}": (dim,) for part in ("weight", "bias")})
            elif role in ("scale_1", "scale_2"):
                shapes[spec.name(role, block)] = (dim,)
    return {**shapes, **{f"{spec.name('norm')}.{part}": (dim,) for part in ("weight", "bias")}}


def _integer(preset: Preset, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(unsupported(preset, key, value, "it must be a whole number above 0"))
    return value
