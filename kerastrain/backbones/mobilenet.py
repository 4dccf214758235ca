"""MobileNets of version 3 as functional models of Keras layers, with the weights of timm.

Takes a `MobileNet` and its tensors; returns a model from scaled pixels to features. Must not know of handles or files.

Reference: Howard et al. 2019, https://arxiv.org/abs/1905.02244, padded on both sides alike, as PyTorch has it.
"""

from collections.abc import Mapping

import keras
import numpy as np

from kerastrain.presets.mobilenets import MobileNet, MobileNetBlock, MobileNetConvolution

_EPSILON = 1e-5  # of batch normalization, as PyTorch's
_MOMENTUM = 0.9  # PyTorch's 0.1


def network(spec: MobileNet, tensors: Mapping[str, np.ndarray], image_size: tuple[int, int]) -> keras.Model:
    """A MobileNet with its weights.

    Args:
        spec: MobileNet.
        tensors: mapping from names to values, as timm stores them.
        image_size: (height, width) in pixels.

    Returns:
        keras.Model named "backbone", float32 (batch, height, width, 3) to float32 (batch, features), those before the
        classifier; not frozen.
    """
    images = maps = keras.Input((*image_size, 3), name="prepared")
    for block in spec.blocks:
        maps = _block(maps, block)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(maps)
    features = keras.layers.Dense(spec.head[1], activation="hard_silu", name="head")(pooled)
    model = keras.Model(images, features, name="backbone")
    for block in spec.blocks:
        for part in block.convolutions:
            kernel = tensors[f"{part.name}.weight"].transpose((2, 3, 0, 1) if part.is_depthwise else (2, 3, 1, 0))
            model.get_layer(_layer(part.name)).set_weights([kernel])
            kinds = ("weight", "bias", "running_mean", "running_var")
            norm = [tensors[f"{part.norm}.{kind}"] for kind in kinds]
            model.get_layer(f"{_layer(part.name)}_norm").set_weights(norm)
            for name in ("se.conv_reduce", "se.conv_expand") if part.squeeze else ():
                _set_dense(model, f"{block.name}.{name}", tensors)
    _set_dense(model, "conv_head", tensors, layer="head")
    return model


def _set_dense(model: keras.Model, name: str, tensors: Mapping[str, np.ndarray], *, layer: str | None = None) -> None:
    values = [tensors[f"{name}.weight"][:, :, 0, 0].T, tensors[f"{name}.bias"]]
    model.get_layer(layer or _layer(name)).set_weights(values)


def _block(maps, block: MobileNetBlock):
    values = maps
    for part in block.convolutions:
        values = _convolved(values, part)
        if part.is_active:
            values = keras.layers.Activation(block.activation, name=f"{_layer(part.name)}_activation")(values)
        if part.squeeze:
            values = _excited(values, block.name, part)
    return keras.layers.Add(name=f"{_layer(block.name)}_add")([maps, values]) if block.has_skip else values


def _convolved(maps, part: MobileNetConvolution):
    name, options = _layer(part.name), {"strides": part.strides, "use_bias": False}
    if part.kernel > 1:
        maps = keras.layers.ZeroPadding2D(part.kernel // 2, name=f"{name}_padding")(maps)
    if part.is_depthwise:
        maps = keras.layers.DepthwiseConv2D(part.kernel, **options, name=name)(maps)
    else:
        maps = keras.layers.Conv2D(part.filters, part.kernel, **options, name=name)(maps)
    return keras.layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=f"{name}_norm")(maps)


def _excited(maps, block: str, part: MobileNetConvolution):
    """Squeeze-and-excite: each channel times a factor that all channels decide on."""
    name = _layer(block)
    values = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool")(maps)
    values = keras.layers.Dense(part.squeeze, activation="relu", name=_layer(f"{block}.se.conv_reduce"))(values)
    values = keras.layers.Dense(part.filters, activation="hard_sigmoid", name=_layer(f"{block}.se.conv_expand"))(values)
    return keras.layers.Multiply(name=f"{name}_se")([maps, values])


def _layer(name: str) -> str:
    return name.replace(".", "_")
