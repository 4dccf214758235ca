"""ConvNeXts as functional models of Keras layers, with the weights of Hugging Face and timm.

Takes a `ConvNeXt` and its tensors; returns a model from scaled pixels to features. Must not know of handles or files.

Reference: Liu et al. 2022, https://arxiv.org/abs/2201.03545, and Woo et al. 2023, https://arxiv.org/abs/2301.00808.
"""

from collections.abc import Mapping

import keras
import numpy as np

from kerastrain.layers.tokens import GlobalResponseNorm, ScaleChannels
from kerastrain.presets.convnexts import ConvNeXt


def network(spec: ConvNeXt, tensors: Mapping[str, np.ndarray], image_size: tuple[int, int]) -> keras.Model:
    """A ConvNeXt with its weights.

    Args:
        spec: ConvNeXt.
        tensors: mapping from names to values, as the origin stores them.
        image_size: (height, width) in pixels.

    Returns:
        keras.Model named "backbone", float32 (batch, height, width, 3) to float32 (batch, features), the normalized mean of
        the last maps; not frozen.
    """
    sources = {}

    def norm(values, name: str, source: str, epsilon: float = spec.epsilon):
        sources[name] = (f"{source}.weight", f"{source}.bias")
        return keras.layers.LayerNormalization(epsilon=epsilon, name=name)(values)

    def convolution(values, name: str, source: str, filters: int, kernel: int = 1, activation=None):
        sources[name] = (f"{source}.weight", f"{source}.bias")
        return keras.layers.Conv2D(filters, kernel, strides=kernel, activation=activation, name=name)(values)

    def block(maps, width: int, *place: int):
        name = "stage_{}_block_{}".format(*place)
        sources[f"{name}_depthwise"] = tuple(f"{spec.name('depthwise', *place)}.{part}" for part in ("weight", "bias"))
        values = keras.layers.DepthwiseConv2D(spec.kernel, padding="same", name=f"{name}_depthwise")(maps)
        values = norm(values, f"{name}_norm", spec.name("norm", *place))
        expanded, source = f"{name}_pointwise_1", spec.name("pointwise_1", *place)
        values = convolution(values, expanded, source, 4 * width, activation=keras.activations.gelu)
        if spec.has_response:
            response = spec.name("response", *place)
            sources[f"{name}_response"] = (f"{response}.weight", f"{response}.bias")
            values = GlobalResponseNorm(name=f"{name}_response")(values)
        values = convolution(values, f"{name}_pointwise_2", spec.name("pointwise_2", *place), width)
        if spec.has_scale:
            sources[f"{name}_scale"] = (spec.name("scale", *place),)
            values = ScaleChannels(name=f"{name}_scale")(values)
        return keras.layers.Add(name=f"{name}_add")([maps, values])

    images = keras.Input((*image_size, 3), name="prepared")
    maps = convolution(images, "stem", spec.name("stem"), spec.widths[0], spec.patch_size)
    maps = norm(maps, "stem_norm", spec.name("stem_norm"))
    for stage, (width, depth) in enumerate(zip(spec.widths, spec.depths, strict=True)):
        if stage:
            maps = norm(maps, f"stage_{stage}_downsample_norm", spec.name("downsample_norm", stage))
            maps = convolution(maps, f"stage_{stage}_downsample", spec.name("downsample", stage), width, 2)
        for index in range(depth):
            maps = block(maps, width, stage, index)
    pool = keras.layers.GlobalAveragePooling2D(name="features")
    head_norm = ("norm", spec.name("head_norm"), spec.head_epsilon)
    features = pool(norm(maps, *head_norm)) if spec.normalizes_maps else norm(pool(maps), *head_norm)
    model = keras.Model(images, features, name="backbone")
    for name, names in sources.items():
        layer = model.get_layer(name)
        values = [_in_keras(tensors[source], name) for source in names]
        layer.set_weights([value.reshape(weight.shape) for value, weight in zip(values, layer.weights, strict=True)])
    return model


def _in_keras(value: np.ndarray, layer: str) -> np.ndarray:
    """PyTorch's (outputs, inputs, height, width) or (outputs, inputs) with the axes that Keras has."""
    if value.ndim == 4 and layer.endswith("depthwise"):
        return value.transpose(2, 3, 0, 1)
    if value.ndim == 4 and not layer.endswith("response"):
        return value.transpose(2, 3, 1, 0)
    return value.T if value.ndim == 2 else value
