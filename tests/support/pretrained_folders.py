"""Writes folders of pretrained networks in the formats of Hugging Face and timm, with the safetensors layout by hand."""

import json
from pathlib import Path

import numpy as np


def write_safetensors(path, tensors):
    """Writes float32 arrays as the safetensors library does: header length, JSON header, values in order."""
    header, start = {}, 0
    for name, value in tensors.items():
        end = start + value.size * 4
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    values = b"".join(np.ascontiguousarray(value, np.float32).tobytes() for value in tensors.values())
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + values)


def write_json(path, content):
    Path(path).write_text(json.dumps(content), encoding="utf-8")


IMAGE_KINDS = (
    *("vit", "deit", "dinov2_with_registers", "dinov3_vit", "siglip_vision_model", "timm_vit", "resnet"),
    *("convnext", "convnextv2", "timm_convnext", "timm_mobilenetv3"),
)
"""The kinds of folders that `write_images` writes."""


CONVNEXT_SIZES = {
    "timm_convnext": ([4, 4, 8, 8], [1, 1, 1, 1]),
    "convnext": ([4, 8], [1, 1]),
    "convnextv2": ([4, 8], [1, 2]),
}
"""Widths and depths of the stages, of which timm always has four."""


def write_images(folder, kind, size=16):
    """Writes the folder of a tiny seeded network of images, as Hugging Face or timm does."""
    folder = Path(folder)
    folder.mkdir()
    random = np.random.default_rng(0)
    if kind.startswith("timm_"):
        cfg = {"input_size": [3, size, size], "mean": [0.5] * 3, "std": [0.25, 0.5, 0.5], "interpolation": "bicubic"}
        args = {"img_size": size, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
        named = {"architecture": "vit_tiny_patch16_224", "global_pool": "token", "model_args": args}
        if kind == "timm_convnext":
            named = {
                "architecture": "convnext_atto",
                "model_args": dict(zip(("dims", "depths"), CONVNEXT_SIZES[kind], strict=True)),
            }
        if kind == "timm_mobilenetv3":
            named = {"architecture": "mobilenetv3_small_050"}
        write_json(folder / "config.json", {**named, "pretrained_cfg": cfg})
    else:
        pixels = {
            "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.5] * 3,
            "size": {"height": size, "width": size},
            "resample": 3,
        }
        write_json(folder / "preprocessor_config.json", pixels)
        sizes = {
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": size,
            "patch_size": 8,
        }
        sizes.update({"intermediate_size": 16, "mlp_ratio": 2, "layer_norm_eps": 1e-6, "num_register_tokens": 2})
        if kind == "resnet":
            sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic"}
        if kind.startswith("convnext"):
            widths, depths = CONVNEXT_SIZES[kind]
            sizes = {"num_stages": len(widths), "hidden_sizes": widths, "depths": depths}
        if kind == "siglip_vision_model":
            sizes["hidden_act"] = "gelu_pytorch_tanh"
        if kind == "dinov3_vit":
            sizes["key_bias"] = False
        write_json(folder / "config.json", {"model_type": kind, **sizes})
    if "convnext" in kind:
        shapes = _convnext_shapes(kind)
    elif kind == "timm_mobilenetv3":
        shapes = _mobilenet_shapes()
    else:
        shapes = _resnet_shapes() if kind == "resnet" else _transformer_shapes(kind, (size // 8) ** 2)
    tensors = {name: random.normal(0, 0.2, shape) for name, shape in shapes.items()}
    for name in tensors:
        if (
            name.endswith(("running_var", "layer_scale_parameter", "gamma"))
            or "lambda" in name
            or (("norm" in name or ".bn" in name or name.startswith("bn")) and name.endswith("weight"))
        ):
            tensors[name] = 1 + 0.5 * np.abs(tensors[name])
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def _transformer_shapes(kind, patches):
    if kind == "timm_vit":
        shapes = {"cls_token": (1, 1, 8), "pos_embed": (1, patches + 1, 8), **_layer("patch_embed.proj", 8, 3, 8, 8)}
        block = {
            "norm1": (8,),
            "attn.qkv": (24, 8),
            "attn.proj": (8, 8),
            "norm2": (8,),
            "mlp.fc1": (16, 8),
            "mlp.fc2": (8, 16),
        }
        start, end, base = "blocks", "norm", ""
    elif kind == "siglip_vision_model":
        base, start, end = "vision_model.", "encoder.layers", "post_layernorm"
        shapes = {
            "embeddings.position_embedding.weight": (patches, 8),
            **_layer("embeddings.patch_embedding", 8, 3, 8, 8),
        }
        block = {f"self_attn.{name}_proj": (8, 8) for name in ("q", "k", "v", "out")}
        block.update({"layer_norm1": (8,), "layer_norm2": (8,), "mlp.fc1": (16, 8), "mlp.fc2": (8, 16)})
    elif kind == "dinov3_vit":
        base, start, end = "", "layer", "norm"
        shapes = {f"embeddings.{name}": (1, count, 8) for name, count in {"cls_token": 1, "register_tokens": 2}.items()}
        shapes.update({"embeddings.mask_token": (1, 1, 8), **_layer("embeddings.patch_embeddings", 8, 3, 8, 8)})
        block = {f"attention.{name}_proj": (8, 8) for name in ("q", "k", "v", "o")}
        block.update({"norm1": (8,), "norm2": (8,), "mlp.up_proj": (16, 8), "mlp.down_proj": (8, 16)})
    else:
        base, start, end = "", "encoder.layer", "layernorm"
        tokens = {"deit": {"distillation_token": 1}, "dinov2_with_registers": {"register_tokens": 2}}.get(kind, {})
        shapes = {f"embeddings.{name}": (1, count, 8) for name, count in {"cls_token": 1, **tokens}.items()}
        shapes["embeddings.position_embeddings"] = (1, patches + (2 if kind == "deit" else 1), 8)
        shapes.update(_layer("embeddings.patch_embeddings.projection", 8, 3, 8, 8))
        block = {f"attention.attention.{name}": (8, 8) for name in ("query", "key", "value")}
        block["attention.output.dense"] = (8, 8)
        if kind == "dinov2_with_registers":
            shapes["embeddings.mask_token"] = (1, 8)
            block.update({"norm1": (8,), "norm2": (8,), "mlp.fc1": (16, 8), "mlp.fc2": (8, 16)})
        else:
            block.update({"layernorm_before": (8,), "layernorm_after": (8,), "intermediate.dense": (16, 8)})
            block["output.dense"] = (8, 16)
    for index in range(2):
        for name, shape in block.items():
            shapes.update(_layer(f"{start}.{index}.{name}", *shape))
        if kind.startswith("dinov"):
            shapes.update({f"{start}.{index}.layer_scale{number}.lambda1": (8,) for number in (1, 2)})
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith("k_proj.bias") or kind != "dinov3_vit"}
    return {base + name: shape for name, shape in {**shapes, **_layer(end, 8)}.items()}


def _layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _resnet_shapes():
    shapes = {}

    def convolution(name, filters, inputs, kernel):
        shapes[f"{name}.convolution.weight"] = (filters, inputs, kernel, kernel)
        shapes.update(
            {f"{name}.normalization.{part}": (filters,) for part in ("weight", "bias", "running_mean", "running_var")}
        )

    convolution("embedder.embedder", 8, 3, 7)
    for stage, (block, inputs, width) in enumerate([(0, 8, 8), (0, 8, 16), (1, 16, 16)]):
        start = f"encoder.stages.{min(stage, 1)}.layers.{block}"
        convolution(f"{start}.layer.0", width, inputs, 3)
        convolution(f"{start}.layer.1", width, width, 3)
        if inputs != width:
            convolution(f"{start}.shortcut", width, inputs, 1)
    return shapes


def _convnext_shapes(kind):
    is_timm, (widths, depths) = kind == "timm_convnext", CONVNEXT_SIZES[kind]
    stem, norm, head = "embeddings.patch_embeddings", "embeddings.layernorm", "layernorm"
    down, block = "encoder.stages.{}.downsampling_layer", "encoder.stages.{}.layers.{}"
    inner = ("dwconv", "layernorm", "pwconv1", "pwconv2", "layer_scale_parameter")
    if is_timm:
        stem, norm, head, down, block = "stem.0", "stem.1", "head.norm", "stages.{}.downsample", "stages.{}.blocks.{}"
        inner = ("conv_dw", "norm", "mlp.fc1", "mlp.fc2", "gamma")
    shapes = {**_layer(stem, widths[0], 3, 4, 4), **_layer(norm, widths[0])}
    for stage, width in enumerate(widths):
        if stage:
            before = widths[stage - 1]
            shapes.update(
                {**_layer(f"{down.format(stage)}.0", before), **_layer(f"{down.format(stage)}.1", width, before, 2, 2)}
            )
        for index in range(depths[stage]):
            names = [f"{block.format(stage, index)}.{name}" for name in inner]
            ones = (1, 1) if is_timm else ()  # the small ones of timm have convolutions of one pixel
            shapes.update({**_layer(names[0], width, 1, 7, 7), **_layer(names[1], width)})
            shapes.update({**_layer(names[2], 4 * width, width, *ones), **_layer(names[3], width, 4 * width, *ones)})
            if kind == "convnextv2":
                response = f"{block.format(stage, index)}.grn"
                shapes.update({f"{response}.{part}": (1, 1, 1, 4 * width) for part in ("weight", "bias")})
            else:
                shapes[names[4]] = (width,)
    return {**shapes, **_layer(head, widths[-1])}


def _mobilenet_shapes():
    """The smallest MobileNetV3 of timm, as its `_gen_mobilenet_v3("mobilenetv3_small_100", 0.1)` makes it."""
    shapes = {}

    def convolution(name, norm, filters, inputs, kernel=1):
        shapes[f"{name}.weight"] = (filters, inputs, kernel, kernel)
        shapes.update({f"{norm}.{kind}": (filters,) for kind in ("weight", "bias", "running_mean", "running_var")})

    def squeeze(block, filters, inner):
        if inner:
            shapes.update(_layer(f"{block}.se.conv_reduce", inner, filters, 1, 1))
            shapes.update(_layer(f"{block}.se.conv_expand", filters, inner, 1, 1))

    convolution("conv_stem", "bn1", 16, 3, 3)
    convolution("blocks.0.0.conv_dw", "blocks.0.0.bn1", 16, 1, 3)
    squeeze("blocks.0.0", 16, 8)
    convolution("blocks.0.0.conv_pw", "blocks.0.0.bn2", 8, 16)
    inputs = 8
    # The place of each inverted residual, its inner and outer channels, the side of its kernel, and the squeezed channels.
    for place, inner, filters, kernel, squeezed in (
        *(
            ("1.0", 40, 8, 3, 0),
            ("1.1", 32, 8, 3, 0),
            ("2.0", 32, 8, 5, 8),
            ("2.1", 48, 8, 5, 16),
            ("2.2", 48, 8, 5, 16),
        ),
        *(
            ("3.0", 24, 8, 5, 8),
            ("3.1", 24, 8, 5, 8),
            ("4.0", 48, 16, 5, 16),
            ("4.1", 96, 16, 5, 24),
            ("4.2", 96, 16, 5, 24),
        ),
    ):
        block = f"blocks.{place}"
        convolution(f"{block}.conv_pw", f"{block}.bn1", inner, inputs)
        convolution(f"{block}.conv_dw", f"{block}.bn2", inner, 1, kernel)
        squeeze(block, inner, squeezed)
        convolution(f"{block}.conv_pwl", f"{block}.bn3", filters, inner)
        inputs = filters
    convolution("blocks.5.0.conv", "blocks.5.0.bn1", 56, 16)
    return {**shapes, **_layer("conv_head", 1024, 56, 1, 1)}
