"""ResNets as functional models of Keras layers, with the weights of Hugging Face and timm.

Takes a `ResNet` and its tensors; returns a model from scaled pixels to feature maps. Must not know of handles or files.

Reference: He et al. 2015, https://arxiv.org/abs/1512.03385, with the stride in the 3 by 3 convolution, as PyTorch has it.
"""

from collections.abc import Mapping

import keras
import numpy as np

from kerastrain.presets.resnets import Block, Convolution, ResNet

_EPSILON = 1e-5  # of batch normalization, as PyTorch's
_MOMENTUM = 0.9  # PyTorch's 0.1


def network(spec: ResNet, tensors: Mapping[str, np.ndarray], image_size: tuple[int, int]) -> keras.Model:
    """A ResNet with its weights.

    Args:
        spec: ResNet.
        tensors: mapping from names to values, as the origin stores them.
        image_size: (height, width) in pixels.

    Returns:
        keras.Model named "backbone", float32 (batch, height, width, 3) to float32 maps (batch, rows, columns, features),
        not frozen.
    """
    images = keras.Input((*image_size, 3), name="prepared")
    maps = _relu(_convolved(images, spec.stem), "stem")
    maps = keras.layers.ZeroPadding2D(1, name="stem_pool_padding")(maps)  # zero is the least after a ReLU
    maps = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(maps)
    for block in spec.blocks:
        maps = _block(maps, block)
    model = keras.Model(images, maps, name="backbone")
    for part in spec.convolutions():
        kernel = tensors[f"{part.names[0]}.weight"].transpose(2, 3, 1, 0)
        model.get_layer(part.layer).set_weights([kernel])
        kinds = ("weight", "bias", "running_mean", "running_var")
        model.get_layer(f"{part.layer}_norm").set_weights([tensors[f"{part.names[1]}.{kind}"] for kind in kinds])
    return model


def _block(maps, block: Block):
    values = maps
    for index, part in enumerate(block.convolutions):
        values = _convolved(values, part)
        if index < len(block.convolutions) - 1:
            values = _relu(values, part.layer)
    shortcut = maps if block.shortcut is None else _convolved(maps, block.shortcut)
    return _relu(keras.layers.Add(name=f"{block.layer}_add")([shortcut, values]), block.layer)


def _convolved(maps, part: Convolution):
    if part.kernel > 1:  # PyTorch pads both sides alike.
        maps = keras.layers.ZeroPadding2D(part.kernel // 2, name=f"{part.layer}_padding")(maps)
    maps = keras.layers.Conv2D(part.filters, part.kernel, part.strides, use_bias=False, name=part.layer)(maps)
    return keras.layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=f"{part.layer}_norm")(maps)


def _relu(maps, name: str):
    return keras.layers.ReLU(name=f"{name}_relu")(maps)
