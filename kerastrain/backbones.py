"""Backbones: what a handle names, loaded, sized and described.

Takes a handle; gives a `Backbone`, its image size, or a dict that a person or a program can read. Must not train or
write.
"""

import os

import keras
import numpy as np

from kerastrain import backbone_loading, freezing, hub_calls
from kerastrain.backbone_loading import Backbone, image_size, load
from kerastrain.hub_layer import HubLayer

__all__ = ["Backbone", "describe", "image_size", "load"]


def describe(handle: str | os.PathLike | keras.Model, **options: object) -> dict:
    """What a backbone is, before anything is built on it.

    Args:
        handle: as for `load`; text modules too.
        **options: further arguments of `load`.

    Returns:
        dict of JSON values: "handle"; "inputs" and "outputs", each a list of [dtype, shape]; "image_size" and
        "value_range" (None for texts); "parameters", "trainable_parameters" (when unfrozen) and "trains";
        "feature_maps", the endpoint or layer that gives the maps before their mean, or None; for modules
        "endpoints", "signatures", "regularization_losses" and "sha256", the pin.

    Raises:
        As `load` does.

    Example:
        >>> describe("keras:MobileNet", alpha=0.25)["parameters"]
        218544
    """
    is_keras = isinstance(handle, keras.Model) or str(handle).startswith("keras:") or str(handle).endswith(".keras")
    if is_keras:
        with freezing.flags_kept(handle):
            return _describe_keras(load(handle, **options))
    choices = {name: options.get(name) for name in ("signature", "output_key")}
    layer = HubLayer(backbone_loading.folder_of(handle), name="backbone", **choices)
    backbone = load(handle, **options) if _takes_images(layer) else None
    module = layer.module
    endpoints = (name for name in vars(module) if hasattr(getattr(module, name), "concrete_functions"))
    return {
        "handle": str(handle),
        "inputs": [[spec.dtype.name, list(spec.shape)] for spec in layer.input_specs],
        "outputs": _module_outputs(layer),
        "image_size": list(backbone.image_size) if backbone else None,
        "value_range": list(backbone.value_range) if backbone else None,
        **_parameters(layer),
        "trains": layer.can_train,
        "feature_maps": backbone.feature_maps if backbone else None,
        "endpoints": sorted(name for name in endpoints if not name.startswith("_")),
        "signatures": hub_calls.signatures(module),
        "regularization_losses": len(getattr(module, "regularization_losses", None) or ()),
        "sha256": layer.fingerprint,
    }


def _takes_images(layer: HubLayer) -> bool:
    return backbone_loading.are_images(layer.input_specs)


def _module_outputs(layer: HubLayer) -> list:
    if len(layer.input_specs) != 1:
        return []
    spec = layer.input_specs[0]
    outputs = layer(keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name))
    return [[one.dtype, list(one.shape)] for one in keras.tree.flatten(outputs)]


def _parameters(layer: keras.Layer) -> dict:
    layer.trainable = True
    learned = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
    return {"parameters": layer.count_params(), "trainable_parameters": learned}


def _describe_keras(backbone: Backbone) -> dict:
    layer = backbone.layer
    inner = next((one for one in layer.layers if isinstance(one, keras.Model)), layer)
    maps = [one.name for one in inner.layers if len(getattr(one.output, "shape", ())) == 4]
    return {
        "handle": backbone.handle,
        "inputs": [["float32", list(layer.input_shape)]],
        "outputs": [["float32", list(layer.output_shape)]],
        "image_size": list(backbone.image_size),
        "value_range": list(backbone.value_range) if backbone.value_range else None,
        **_parameters(layer),
        "trains": bool(layer.trainable_weights),
        "feature_maps": maps[-1] if maps else None,
    }
