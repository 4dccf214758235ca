"""Networks of KerasHub with the weights of timm, built by KerasHub's own converters.

Takes an architecture of timm and its tensors; returns a plain functional model of Keras layers. Must
not read files.

The private names are the modules `keras_hub.src.utils.timm.convert_FAMILY` with `backbone_cls`, `convert_backbone_config` and
`convert_weights`, read in KerasHub 0.32: the public `from_preset` takes only folders of timm, while other folders hold the
same networks under other names. `tests/keras_internals/test_kerashub_converters.py` fails when they move.
"""

from collections.abc import Mapping

import keras
import numpy as np

from kerastrain.system import optional_imports


def build(
    family: str, architecture: str, tensors: Mapping[str, np.ndarray], image_size: tuple[int, int]
) -> keras.Model:
    """A convolutional network with its weights.

    Args:
        family: str, "efficientnet".
        architecture: str, the name of timm, such as "efficientnet_lite0".
        tensors: mapping from a tensor's name to its values.
        image_size: (height, width) in pixels.

    Returns:
        keras.Model named "backbone", float32 (batch, height, width, 3) to float32 maps (batch, rows, columns, features). All
        its layers are Keras's own, so that its files open without KerasHub.

    Raises:
        KeyError: a tensor is missing; its name.
        ValueError: a tensor has another shape.
    """
    converter = optional_imports.need(
        f"keras_hub.src.utils.timm.convert_{family}", extra="kerashub", to="open a network of timm"
    )
    arguments = converter.convert_backbone_config({"architecture": architecture})
    backbone = converter.backbone_cls(**arguments)
    converter.convert_weights(backbone, _Loader(tensors), {"architecture": architecture})
    return plain(backbone, image_size)


def plain(backbone: keras.Model, image_size: tuple[int, int]) -> keras.Model:
    """A network of KerasHub as a functional model for images of one size.

    Args:
        backbone: keras.Model of KerasHub whose layers are all Keras's own.
        image_size: (height, width) in pixels.

    Returns:
        keras.Model named "backbone" with the same weights and names of layers.
    """
    images = keras.Input((*image_size, 3), name="prepared")
    copy = keras.models.clone_model(keras.Model(backbone.inputs[0], backbone.outputs[0]), input_tensors=images)
    copy.set_weights(backbone.get_weights())
    return keras.Model(copy.inputs[0], copy.outputs[0], name="backbone")


class _Loader:
    """What a converter asks of KerasHub's loader of safetensors files."""

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        self.tensors = tensors

    def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
        value = self.tensors[hf_weight_key]
        keras_variable.assign(hook_fn(value, list(keras_variable.shape)) if hook_fn else value)
