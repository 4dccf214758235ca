"""Describes a backbone before anything is built on it.

Takes a handle; returns a dict of JSON values. Must not train or write.
"""

import os

import keras
import numpy as np
import tensorflow as tf

from kerastrain import saving
from kerastrain.backbones import image_backbones, keras_applications, text_backbones
from kerastrain.backbones.image_backbones import Backbone, image_size, load
from kerastrain.errors import InputError, unknown
from kerastrain.hub import modules, signatures
from kerastrain.hub.layer import HubLayer
from kerastrain.transfer import freezing

__all__ = ["Backbone", "describe", "image_size", "load"]


def describe(handle: str | os.PathLike | keras.Model, **options: object) -> dict:
    """Inputs, outputs, size and endpoints of a backbone.

    Args:
        handle: handle for `load` or for `text_backbones.load`.
        **options: further arguments of that function. `signature` may be left out for a SavedModel that has only
            signatures: then the result lists them and leaves inputs and outputs None.

    Returns:
        dict of JSON values: "handle"; "inputs" and "outputs", each a list of [dtype, shape]; "image_size" and
        "value_range" (None for texts); "parameters", "trainable_parameters" (when unfrozen) and "trains"; "feature_maps",
        the endpoint or layer with the maps before their mean, or None. For modules also "endpoints"; "signatures", with
        the "inputs" and "outputs" of each as a dict from name to [dtype, shape]; "regularization_losses", their number;
        and "sha256", the pin. Inputs, outputs and parameters are None where a signature must be chosen first, and inputs
        and outputs also where the module does not declare them.

    Raises:
        InputError: the handle is unknown, or cannot take these options.
        FileNotFoundError: a path does not exist.
        ConnectionError: the handle cannot be downloaded.

    Example:
        >>> describe("keras:MobileNet", alpha=0.25)["parameters"]
        218544
        >>> describe("keras:transformer", num_layers=1, embedding_dim=32)["outputs"]
        [['float32', [None, 32]]]
    """
    if isinstance(handle, keras.Model) or str(handle).endswith(".keras"):
        with freezing.preserved_trainable_flags(handle):
            model = handle if isinstance(handle, keras.Model) else saving.load(handle)
            if text_backbones.takes_texts(model):
                return _describe_text(handle, text_backbones.load(handle, **options))
            return _describe_images(load(handle, **options))
    if str(handle).startswith("keras:"):
        name = str(handle).removeprefix("keras:")
        if name in text_backbones.NETWORKS:  # their size does not depend on the texts
            return _describe_text(handle, text_backbones.load(handle, texts=["word"], **options))
        if name not in keras_applications.NETWORKS:
            raise InputError(unknown("network", name, [*keras_applications.NETWORKS, *text_backbones.NETWORKS]))
        return _describe_images(load(handle, **options))
    return _describe_module(handle, options)


def _describe_module(handle: str | os.PathLike, options: dict) -> dict:
    folder = image_backbones.folder_of(handle)
    signature, output_key = options.get("signature"), options.get("output_key")
    module = modules.load(folder)
    layer = backbone = None
    if signature or not signatures.needs_signature(module):
        everything = {"signature_outputs_as_dict": True} if signature and not output_key else {}
        layer = HubLayer(folder, name="backbone", signature=signature, output_key=output_key, **everything)
        if image_backbones.are_images(layer.input_specs):
            output = {"output_key": next(iter(_signatures(module)[signature]["outputs"]))} if everything else {}
            backbone = load(handle, **options, **output)
    endpoints = (name for name in vars(module) if hasattr(getattr(module, name), "concrete_functions"))
    return {
        "handle": str(handle),
        "inputs": [_dtype_and_shape(spec) for spec in layer.input_specs] if layer else None,
        "outputs": _module_outputs(layer) if layer else None,
        "image_size": list(backbone.image_size) if backbone else None,
        "value_range": list(backbone.value_range) if backbone else None,
        **(_parameters(layer) if layer else {"parameters": None, "trainable_parameters": None}),
        "trains": bool(layer and layer.can_train),
        "feature_maps": backbone.feature_maps if backbone else None,
        "endpoints": sorted(name for name in endpoints if not name.startswith("_")),
        "signatures": _signatures(module),
        "regularization_losses": len(getattr(module, "regularization_losses", None) or ()),
        "sha256": modules.fingerprint(folder),
    }


def _signatures(module: object) -> dict:
    return {
        name: {
            side: {key: _dtype_and_shape(spec) for key, spec in sorted(specs.items())}
            for side, specs in tensors.items()
        }
        for name, tensors in signatures.signature_tensors(module).items()
    }


def _dtype_and_shape(tensor: tf.TensorSpec | keras.KerasTensor) -> list:
    shape = tf.TensorShape(tensor.shape)
    return [keras.backend.standardize_dtype(tensor.dtype), None if shape.rank is None else list(shape)]


def _module_outputs(layer: HubLayer) -> list | None:
    specs = layer.input_specs
    if len(specs) != 1 or specs[0].shape.rank is None:
        return None
    outputs = layer(keras.Input(batch_shape=tuple(specs[0].shape), dtype=specs[0].dtype.name))
    return [_dtype_and_shape(output) for output in keras.tree.flatten(outputs)]


def _parameters(layer: keras.Layer) -> dict:
    layer.trainable = True
    trainable = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
    return {"parameters": layer.count_params(), "trainable_parameters": trainable}


def _describe_images(backbone: Backbone) -> dict:
    layer = backbone.layer
    inner = next((part for part in layer.layers if isinstance(part, keras.Model)), layer)
    maps = [part.name for part in inner.layers if len(getattr(part.output, "shape", ())) == 4]
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


def _describe_text(handle: object, layer: keras.Layer) -> dict:
    outputs = layer(keras.Input((), dtype="string"))
    return {
        "handle": handle.name if isinstance(handle, keras.Model) else str(handle),
        "inputs": [["string", [None]]],
        "outputs": [_dtype_and_shape(outputs)],
        "image_size": None,
        "value_range": None,
        **_parameters(layer),
        "trains": bool(layer.trainable_weights),
        "feature_maps": None,
    }
