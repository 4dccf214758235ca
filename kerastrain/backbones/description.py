"""Describes a backbone before anything is built on it.

Takes a handle; returns a dict of JSON values. Must not train or write.
"""

import os

import keras
import numpy as np
import tensorflow as tf

from kerastrain import presets, saving
from kerastrain.backbones import hub_modules, keras_applications, pixel_range, text_backbones
from kerastrain.backbones.backbone import Backbone
from kerastrain.backbones.image_backbones import image_size, load
from kerastrain.errors import InputError, unknown
from kerastrain.hub import modules, signatures
from kerastrain.hub.layer import HubLayer
from kerastrain.presets import image_networks
from kerastrain.presets.text_presets import read_text
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
        "value_range" (None for texts); "parameters", "trainable_parameters" (when unfrozen) and "trains";
        "feature_maps", the endpoint or layer with the maps before their mean, or None. For images also
        "value_range_certainty" and "value_range_reason", see `pixel_range.PixelRange`; "feature_spreads", how much
        the features of photos vary under each range, where that was measured; and "warnings". For networks of Hugging
        Face, timm and KerasHub also "facts", sentences about what was read from their files. For modules also
        "problem", why the module cannot be used, or None; "endpoints"; "signatures", with the "inputs" and "outputs"
        of each as a dict from name to [dtype, shape]; "regularization_losses", their number; and "sha256", the pin.
        Inputs, outputs and parameters are None where a signature must be chosen first, and inputs and outputs also
        where the module does not declare them.

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
            return _describe_images(load(handle, **options, log=False))
    if str(handle).startswith("keras:"):
        name = str(handle).removeprefix("keras:")
        if name in text_backbones.NETWORKS:  # their size does not depend on the texts
            return _describe_text(handle, text_backbones.load(handle, texts=["word"], **options))
        if name not in keras_applications.NETWORKS:
            raise InputError(unknown("network", name, [*keras_applications.NETWORKS, *text_backbones.NETWORKS]))
        # What is described is the same with any weights, so none need to be downloaded.
        return _describe_images(load(handle, **{"weights": "random", **options}, log=False))
    if presets.is_preset(handle):
        preset = presets.read(handle)
        if preset.kind == "images":
            facts = image_networks.description(preset, options.get("image_size"), options.get("value_range"))
            return {**_describe_images(load(handle, **options, log=False)), "facts": facts}
        facts = [fact.removeprefix("backbone: ") for fact in read_text(handle).facts()]
        return {**_describe_text(handle, text_backbones.load(handle, **options)), "facts": facts}
    return _describe_module(handle, options)


def _describe_module(handle: str | os.PathLike, options: dict) -> dict:
    folder = hub_modules.folder_of(handle)
    signature, output_key = options.get("signature"), options.get("output_key")
    module = modules.load(folder)
    layer = backbone = problem = None
    if signature or not signatures.needs_signature(module):
        everything = {"signature_outputs_as_dict": True} if signature and not output_key else {}
        layer = HubLayer(folder, name="backbone", signature=signature, output_key=output_key, **everything)
        if not any(spec.dtype == tf.string for spec in layer.input_specs):
            output = {"output_key": next(iter(_signatures(module)[signature]["outputs"]))} if everything else {}
            try:
                backbone = load(handle, **options, **output, measure=True, log=False)
            except InputError as error:
                problem = str(error)
    endpoints = (name for name in vars(module) if hasattr(getattr(module, name), "concrete_functions"))
    return {
        "handle": str(handle),
        "inputs": [_dtype_and_shape(spec) for spec in layer.input_specs] if layer else None,
        "outputs": _module_outputs(layer) if layer else None,
        "image_size": list(backbone.image_size) if backbone else None,
        **_range(backbone),
        "problem": problem,
        **(_parameters(layer) if layer else {"parameters": None, "trainable_parameters": None}),
        "trains": bool(layer and layer.can_train),
        "feature_maps": backbone.feature_maps if backbone else None,
        "endpoints": sorted(name for name in endpoints if not name.startswith("_")),
        "signatures": _signatures(module),
        "regularization_losses": len(getattr(module, "regularization_losses", None) or ()),
        "sha256": modules.fingerprint(folder),
    }


def _range(backbone: Backbone | None) -> dict:
    found = backbone and backbone.pixel_range
    spreads = found.spreads if found else {}
    return {
        "value_range": list(backbone.value_range) if backbone and backbone.value_range else None,
        "value_range_certainty": found.certainty if found else None,
        "value_range_reason": found.reason if found else None,
        "feature_spreads": {pixel_range.text(candidate): round(spread, 4) for candidate, spread in spreads.items()},
        "warnings": list(backbone.warnings) if backbone else [],
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
        **_range(backbone),
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
