"""Vision transformers as functional models of Keras layers, with the weights of Hugging Face and timm.

Takes a `VisionTransformer` and its tensors; returns a model from scaled pixels to features, whose blocks can be frozen,
adapted, recomputed and explained one by one. Must not know of handles or files.

Reference: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929.
"""

from collections.abc import Mapping

import keras
import numpy as np

from kerastrain.layers.tokens import (
    MapsToTokens,
    PoolTokens,
    ReplacePatches,
    RotaryAttention,
    ScaleChannels,
    TokensToMaps,
    gelu_tanh,
)
from kerastrain.presets.vision_transformers import VisionTransformer

_PROJECTIONS = ("query", "key", "value", "output")


def network(spec: VisionTransformer, tensors: Mapping[str, np.ndarray], image_size: tuple[int, int]) -> keras.Model:
    """A vision transformer with its weights.

    Args:
        spec: VisionTransformer.
        tensors: mapping from names to values, as the origin stores them.
        image_size: (height, width) in pixels, multiples of the patch size; position embeddings are resampled to it as the
            origin does.

    Returns:
        keras.Model named "backbone", float32 (batch, height, width, 3) to float32 (batch, features), not frozen.
    """
    rows, columns = (side // spec.patch_size for side in image_size)
    tokens, positions = _embeddings(spec, tensors, (rows, columns))
    images = keras.Input((*image_size, 3), name="prepared")
    has_bias = "patches" not in spec.without_bias
    patches = keras.layers.Conv2D(spec.dim, spec.patch_size, strides=spec.patch_size, use_bias=has_bias, name="patches")
    embed = MapsToTokens(len(tokens), has_positions=positions is not None, name="tokens")
    values = embed(patches(images))
    blocks = []
    for index in range(spec.num_layers):
        if index == spec.num_layers - 1:  # The maps that Grad-CAM explains; later ones may not reach a class token.
            maps = TokensToMaps(rows, columns, name="maps")(values)
            values = ReplacePatches(name="tokens_of_maps")(values, maps)
        values, layers = _block(values, spec, f"block_{index}", (rows, columns))
        blocks.append(layers)
    norm = keras.layers.LayerNormalization(epsilon=spec.epsilon, name="norm")
    pool = PoolTokens(spec.pooling, len(tokens), name="features")
    # timm normalizes the mean where its layer is called fc_norm, and all tokens before the mean elsewhere.
    features = norm(pool(values)) if spec.names["norm"] == "fc_norm" else pool(norm(values))
    model = keras.Model(images, features, name="backbone")

    kernel = _convolution(tensors[f"{spec.name('patches')}.weight"])
    patches.set_weights([kernel, *([tensors[f"{spec.name('patches')}.bias"]] if has_bias else [])])
    embed.set_weights([*([] if positions is None else [positions]), *([tokens] if len(tokens) else [])])
    for index, layers in enumerate(blocks):
        _fill_block(layers, spec, tensors, index)
    _fill_norm(norm, tensors, spec.name("norm"))
    return model


def _block(values, spec: VisionTransformer, name: str, grid: tuple[int, int]):
    norms = [keras.layers.LayerNormalization(epsilon=spec.epsilon, name=f"{name}_norm_{number}") for number in (1, 2)]
    activation = {"gelu": keras.activations.gelu, "gelu_tanh": gelu_tanh}[spec.activation]
    dense = [
        _dense(spec, f"{name}_dense_1", "dense_1", spec.mlp_dim, activation),
        _dense(spec, f"{name}_dense_2", "dense_2", spec.dim),
    ]
    scales = [ScaleChannels(name=f"{name}_scale_{number}") for number in (1, 2)] if "scale_1" in spec.names else []
    normed = norms[0](values)
    attended, attention = _attended(normed, spec, f"{name}_attention", grid)
    values = keras.layers.Add(name=f"{name}_add_1")([values, scales[0](attended) if scales else attended])
    mixed = dense[1](dense[0](norms[1](values)))
    values = keras.layers.Add(name=f"{name}_add_2")([values, scales[1](mixed) if scales else mixed])
    return values, {"norms": norms, "attention": attention, "dense": dense, "scales": scales}


def _dense(spec: VisionTransformer, name: str, role: str, units: int, activation=None) -> keras.layers.Dense:
    return keras.layers.Dense(units, activation, use_bias=role not in spec.without_bias, name=name)


def _attended(values, spec: VisionTransformer, name: str, grid: tuple[int, int]):
    """What attention returns, and its layers of queries, keys, values and outputs."""
    if spec.rope_theta is None:
        has_bias = "query" not in spec.without_bias
        attention = keras.layers.MultiHeadAttention(
            spec.num_heads, spec.dim // spec.num_heads, use_bias=has_bias, name=name
        )
        attended = attention(values, values)
        return attended, [getattr(attention, f"{role}_dense") for role in _PROJECTIONS]
    layers = [_dense(spec, f"{name}_{role}", role, spec.dim) for role in _PROJECTIONS]
    mixed = RotaryAttention(spec.num_heads, *grid, spec.rope_theta, name=name)(*(layer(values) for layer in layers[:3]))
    return layers[3](mixed), layers


def _fill_block(layers: Mapping, spec: VisionTransformer, tensors: Mapping[str, np.ndarray], index: int) -> None:
    def stored(role: str, part: str = "weight") -> np.ndarray:
        return tensors[f"{spec.name(role, index)}.{part}"]

    for norm, role in zip(layers["norms"], ("norm_1", "norm_2"), strict=True):
        _fill_norm(norm, tensors, spec.name(role, index))
    for scale, role in zip(layers["scales"], ("scale_1", "scale_2"), strict=bool(layers["scales"])):
        scale.set_weights([tensors[spec.name(role, index)]])
    weights = {role: stored(role) for role in (*_PROJECTIONS, "dense_1", "dense_2") if role in spec.names}
    biases = {role: stored(role, "bias") for role in weights if role not in spec.without_bias}
    if "qkv" in spec.names:
        weights.update(zip(_PROJECTIONS, np.split(stored("qkv"), 3), strict=False))
        biases.update(zip(_PROJECTIONS, np.split(stored("qkv", "bias"), 3), strict=False))
    for role, layer in zip(
        (*_PROJECTIONS, "dense_1", "dense_2"), (*layers["attention"], *layers["dense"]), strict=True
    ):
        values = [weights[role].T, *([biases[role]] if role in biases else [])]
        # The attention of Keras keeps its heads apart.
        layer.set_weights([value.reshape(weight.shape) for value, weight in zip(values, layer.weights, strict=True)])


def _fill_norm(norm: keras.layers.LayerNormalization, tensors: Mapping[str, np.ndarray], name: str) -> None:
    norm.set_weights([tensors[f"{name}.weight"], tensors[f"{name}.bias"]])


def _convolution(kernel: np.ndarray) -> np.ndarray:
    """(outputs, inputs, height, width) to (height, width, inputs, outputs)."""
    return kernel.transpose(2, 3, 1, 0)


def _embeddings(spec: VisionTransformer, tensors: Mapping[str, np.ndarray], grid: tuple[int, int]):
    """The tokens before the patches with their position embeddings added, and the position embeddings of a grid or None."""
    tokens = [tensors[name].reshape(-1, spec.dim) for name in spec.prefix]
    tokens = np.concatenate(tokens) if tokens else np.zeros((0, spec.dim), np.float32)
    if spec.rope_theta is not None:
        return tokens, None
    positions = tensors[spec.name("positions")].reshape(-1, spec.dim)
    before, positions = positions[: spec.positioned], positions[spec.positioned :]
    tokens[: spec.positioned] += before
    if grid != spec.grid:
        maps = positions.reshape(*spec.grid, spec.dim)
        for axis in (0, 1):
            matrix = resampling(maps.shape[axis], grid[axis], is_antialiased=spec.is_antialiased)
            maps = np.moveaxis(np.tensordot(matrix, maps, (1, axis)), 0, axis)
        positions = maps.reshape(-1, spec.dim)
    return tokens, positions


def resampling(source: int, target: int, *, is_antialiased: bool) -> np.ndarray:
    """Bicubic resampling of one axis as PyTorch computes it.

    Args:
        source: int, the length before.
        target: int, the length after.
        is_antialiased: bool, whether the kernel widens where the axis becomes shorter. PyTorch's cubic kernel then has
            the parameter -0.5 (as Pillow's), and -0.75 otherwise.

    Returns:
        float32 array (target, source).
    """
    scale = source / target
    width = max(scale, 1.0) if is_antialiased else 1.0
    parameter = -0.5 if is_antialiased else -0.75
    centers = (np.arange(target) + 0.5) * scale - 0.5
    matrix = np.zeros((target, source))
    reach = int(np.ceil(2 * width)) + 1
    for row, center in enumerate(centers):
        for column in range(int(np.floor(center)) - reach, int(np.floor(center)) + reach + 1):
            weight = _cubic(abs(column - center) / width, parameter)
            if is_antialiased and not 0 <= column < source:
                continue  # what lies outside has no weight
            matrix[row, min(max(column, 0), source - 1)] += weight  # what lies outside repeats the border
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def _cubic(distance: float, parameter: float) -> float:
    if distance < 1:
        return (parameter + 2) * distance**3 - (parameter + 3) * distance**2 + 1
    if distance < 2:
        return parameter * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return 0.0
