"""Image backbones from folders and presets of Hugging Face, timm and KerasHub.

Takes a handle that `presets.is_preset` accepts; returns a `Backbone` that takes raw pixels. Must not know of heads or
labels.
"""

import os
from pathlib import Path

import keras
import numpy as np

from kerastrain import presets
from kerastrain.backbones import convnext, kerashub_backbones, mobilenet, resnet, vision_transformer
from kerastrain.backbones.backbone import Backbone
from kerastrain.errors import InputError
from kerastrain.keras_internals import kerashub_converters
from kerastrain.presets import convnexts, image_networks, kerashub_images, mobilenets, resnets, vision_transformers
from kerastrain.presets.image_scaling import image_scaling
from kerastrain.presets.safetensors import Tensors


def load(
    handle: str | os.PathLike,
    *,
    image_size: tuple[int, int] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Backbone:
    """The backbone of a folder, "hf:OWNER/NAME" or "kerashub:NAME".

    Args:
        handle: str or path.
        image_size: (height, width) in pixels; None for the size that its files name.
        value_range: (low, high) that pixels are scaled to, only where its files do not say it.

    Returns:
        Backbone with a frozen layer.

    Raises:
        InputError: the folder is incomplete or of another kind, or does not take this size or value range.
        FileNotFoundError: there is no such folder.
        ConnectionError: its files are not on this machine, and cannot be downloaded.
    """
    preset = presets.fetch(presets.read(handle, kind="images"))
    size = image_networks.check(preset, image_size, value_range)
    scaling = image_scaling(preset, value_range)
    layer = _network(preset, size)
    layer.trainable = False
    rescaling = keras.layers.Rescaling(list(scaling.scale), offset=list(scaling.offset), name="preprocessing")
    return Backbone(
        handle=os.fspath(handle),
        layer=layer,
        preprocessing=(rescaling,),
        image_size=size,
        value_range=scaling.value_range(),
    )


def _network(preset: presets.Preset, size: tuple[int, int]) -> keras.Model:
    if preset.origin == "kerashub":
        return _of_kerashub(preset, size)
    tensors = Tensors(Path(preset.location))
    if preset.family in vision_transformers.FAMILIES:
        return vision_transformer.network(vision_transformers.read(preset), tensors, size)
    if preset.family == "resnet":
        return resnet.network(resnets.read(preset), tensors, size)
    if preset.family == "mobilenet":
        return mobilenet.network(mobilenets.read(preset), tensors, size)
    if preset.family == "convnext":
        return convnext.network(convnexts.read(preset), tensors, size)
    try:
        return kerashub_converters.build(preset.family, preset.architecture, tensors, size)
    except KeyError as error:
        raise InputError(
            f"{preset.handle!r} does not fit its config.json: its weights hold no {error.args[0]}. Download the folder again."
        ) from None
    except ValueError as error:  # Keras names the two shapes of a variable.
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{preset.handle!r} does not fit its config.json: {reason}") from error


def _of_kerashub(preset: presets.Preset, size: tuple[int, int]) -> keras.Model:
    """A network of KerasHub, opened by KerasHub and built of layers that need it no more."""
    original = kerashub_backbones.opened(preset)
    if preset.family not in vision_transformers.FAMILIES:
        return kerashub_converters.plain(original, size)
    original = getattr(original, "vision_encoder", original)
    variables = {variable.path: np.asarray(variable.value) for variable in original.weights}
    spec = kerashub_images.read(preset)
    return vision_transformer.network(spec, kerashub_images.tensors(preset, variables), size)


def image_size(handle: str | os.PathLike, requested: tuple[int, int] | None = None) -> tuple[int, int]:
    """The image size of a backbone.

    Args:
        handle: as for `load`.
        requested: (height, width) in pixels, or None for the size that its files name.

    Returns:
        (height, width) in pixels.

    Raises:
        InputError: the folder is incomplete or of another kind.
        FileNotFoundError: there is no such folder.
        ConnectionError: its files are not on this machine, and cannot be downloaded.
    """
    preset = presets.read(handle, kind="images")
    return tuple(requested or preset.image_size or image_networks.DEFAULT_SIZE)
