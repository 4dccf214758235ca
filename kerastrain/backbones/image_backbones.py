"""Image backbones from a handle: a Hub module, a keras.applications network, a `.keras` file or a model.

Takes a handle; returns a `Backbone`: a layer from preprocessed pixels to features, its preprocessing layers, and its
image size. Must not know of heads, labels or training.
"""

import dataclasses
import json
import os
from pathlib import Path

import keras

from kerastrain import saving
from kerastrain.backbones import keras_applications
from kerastrain.errors import InputError, unknown
from kerastrain.hub import modules
from kerastrain.hub.layer import HubLayer
from kerastrain.transfer import feature_extractor

DEFAULT_SIZE = (224, 224)
"""Height and width in pixels for a network that accepts any image size and has no card."""

HUB_VALUE_RANGE = (0.0, 1.0)
"""Pixel values that image modules expect, https://www.tensorflow.org/hub/common_signatures/images."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network from raw pixels to features: preprocessing layers, then the layer under a head.

    Attributes:
        handle: str, the handle that it was loaded from.
        layer: keras.Layer named "backbone", float32 preprocessed pixels (batch, height, width, 3) to float32 features
            (batch, features) or maps (batch, h, w, features).
        preprocessing: tuple of keras.Layer, from raw pixels in [0, 255] to the input of `layer`.
        image_size: (height, width) in pixels.
        value_range: (low, high) of the pixels that `layer` takes, or None where each colour channel has its own scale.
        feature_maps: str or None, the endpoint of a module that returns the maps before their mean.
    """

    handle: str
    layer: keras.Layer
    preprocessing: tuple[keras.Layer, ...]
    image_size: tuple[int, int]
    value_range: tuple[float, float] | None
    feature_maps: str | None = None


def load(
    handle: str | os.PathLike | keras.Model,
    *,
    weights: str | os.PathLike | None = None,
    image_size: tuple[int, int] | None = None,
    value_range: tuple[float, float] | None = None,
    alpha: float | None = None,
    stochastic_depth: float | None = None,
    signature: str | None = None,
    output_key: str | None = None,
) -> Backbone:
    """The backbone of a handle.

    | handle | backbone |
    |---|---|
    | "kerastrain:NAME" | a SavedModel that ships with kerastrain |
    | "https://…", "kaggle:…", folder, .tar.gz | a SavedModel as TF Hub publishes them, see `hub.modules.resolve` |
    | "keras:NAME" | a network of keras.applications, without its top |
    | "PATH.keras" | a saved model; of a kerastrain classifier, the part before its head |
    | keras.Model | that model, sharing its layers and weights |

    Args:
        handle: str, path or keras.Model, as in the table.
        weights: only for "keras:NAME": "imagenet" (downloaded), path of a weights file, or None for random weights.
        image_size: (height, width) in pixels; None for the size that the backbone was made for.
        value_range: (low, high) that raw pixels are scaled to; None for the range on the backbone's card, else [0, 1] for
            SavedModels and [0, 255] for Keras models.
        alpha: float > 0, width multiplier of the MobileNets of keras.applications; None for 1.0.
        stochastic_depth: float in [0, 1), probability that the last block of an EfficientNet is skipped in training; None
            for Keras's 0.2.
        signature: str, for SavedModels: the signature to call.
        output_key: str, for SavedModels: the output to use if there are several.

    Returns:
        Backbone with a frozen layer.

    Raises:
        InputError: the handle's network is unknown, or cannot take these options, this size or this value range.
        FileNotFoundError: a path does not exist.
        ConnectionError: a module or weights file cannot be downloaded.
    """
    name = _applications_name(handle)
    is_keras = name is not None or isinstance(handle, keras.Model) or str(handle).endswith(".keras")
    module_options = {"signature": signature, "output_key": output_key}
    network_options = {"weights": weights, "alpha": alpha, "stochastic_depth": stochastic_depth}
    _check_options(handle, name, is_keras, **network_options, **module_options)
    if name is not None:
        if value_range is not None:
            raise InputError(
                f"`value_range` is fixed for keras.applications. Received: {value_range} for {handle!r}. Leave it out."
            )
        size = keras_applications.image_size(name, image_size)
        layer = keras_applications.network(name, image_size=size, **network_options)
        return Backbone(
            str(handle), layer, keras_applications.preprocessing(name), size, keras_applications.value_range(name)
        )
    if is_keras:
        return _keras_model(handle, image_size, value_range or (0.0, 255.0))
    return _saved_model(handle, image_size, value_range, **module_options)


def image_size(handle: str | os.PathLike | keras.Model, requested: tuple[int, int] | None = None) -> tuple[int, int]:
    """The image size of a backbone, so that the data can be prepared before the model is built.

    Args:
        handle: handle for `load`.
        requested: (height, width) in pixels, or None for the backbone's own size.

    Returns:
        (height, width) in pixels: `requested`, else the size that the backbone was made for, or (224, 224) if it accepts
        any size.

    Raises:
        InputError: the backbone does not accept the requested size; the message names the sizes that it accepts.
    """
    name = _applications_name(handle)
    if name is not None:
        return keras_applications.image_size(name, requested)
    return load(handle, image_size=requested).image_size


def folder_of(handle: str | os.PathLike) -> Path:
    """The SavedModel folder of a handle.

    Args:
        handle: str or path, for `hub.modules.resolve`, or "kerastrain:NAME".

    Returns:
        Path of a folder with a `saved_model.pb`.
    """
    return _bundled(handle) if str(handle).startswith("kerastrain:") else modules.resolve(handle)


def are_images(specs: tuple) -> bool:
    """Whether a module takes one float tensor (batch, height, width, channels).

    Args:
        specs: tuple of tf.TensorSpec, the module's inputs.
    """
    return len(specs) == 1 and specs[0].shape.rank == 4 and specs[0].dtype.is_floating


def _applications_name(handle: object) -> str | None:
    """The network's name in a handle "keras:NAME", or None for any other handle."""
    if not (isinstance(handle, str) and handle.startswith("keras:")):
        return None
    name = handle.removeprefix("keras:")
    if name not in keras_applications.NETWORKS:
        raise InputError(unknown("network of keras.applications", name, keras_applications.NETWORKS))
    return name


def _scaling(value_range: tuple[float, float]) -> keras.layers.Rescaling:
    """The layer that scales pixels in [0, 255] to `value_range`."""
    low, high = map(float, value_range)
    if not low < high:
        raise InputError(f"`value_range` must rise. Received: ({low:g}, {high:g}).")
    return keras.layers.Rescaling((high - low) / 255, offset=low, name="preprocessing")


def _check_options(handle: object, name: str | None, is_keras: bool, **options: object) -> None:
    network_options = ("weights", "alpha", "stochastic_depth")
    accepted = network_options if name else () if is_keras else ("signature", "output_key")
    for option, value in options.items():
        if value is not None and option not in accepted:
            owner = "`keras:NAME`" if option in network_options else "a SavedModel"
            raise InputError(
                f"`{option}` is an option of {owner} only. Received: {value!r} for {handle!r}. Leave it out."
            )


def _saved_model(handle, requested, value_range, **module_options) -> Backbone:
    folder = folder_of(handle)
    card = _card(folder)
    layer = HubLayer(folder, name="backbone", **module_options)
    size = _module_size(str(handle), layer.input_specs, card, requested)
    value_range = tuple(value_range or card.get("value_range") or HUB_VALUE_RANGE)
    endpoint = card.get("feature_maps", "feature_maps")
    endpoint = endpoint if callable(getattr(layer.module, endpoint, None)) else None
    return Backbone(str(handle), layer, (_scaling(value_range),), size, value_range, endpoint)


def _bundled(handle: str) -> Path:
    name, pinned = modules.split_pin(handle.removeprefix("kerastrain:"))
    known = modules.bundled()
    if name not in known:
        raise InputError(unknown("bundled backbone", name, known))
    return modules.resolve(f"{known[name]}#sha256={pinned}" if pinned else known[name])


def _card(folder: Path) -> dict:
    path = folder / "card.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _module_size(handle: str, specs: tuple, card: dict, requested: tuple[int, int] | None) -> tuple[int, int]:
    if specs and not are_images(specs):
        inputs = ", ".join(f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else '()'}" for spec in specs)
        raise InputError(
            f"the module {handle!r} takes no images, which are one float32 tensor (batch, height, width, 3). "
            f"It takes: {inputs}."
        )
    fixed = tuple(specs[0].shape[1:3]) if specs else (None, None)
    size = tuple(requested or card.get("image_size") or _with_default_size(fixed))
    if not _accepts(fixed, size):
        sides = " by ".join("any" if side is None else str(side) for side in fixed)
        raise InputError(
            f"the backbone {handle!r} takes images of {sides} pixels only. Received: image_size={size}. "
            "Leave the image size out to use the backbone's own."
        )
    return size


def _keras_model(handle, requested, value_range) -> Backbone:
    model = handle
    if not isinstance(handle, keras.Model):
        model = saving.load(handle)
        if any(layer.name == "backbone" for layer in model.layers):
            model, _ = feature_extractor.split_at_backbone(model)
    text = handle if isinstance(handle, str) else getattr(handle, "name", str(handle))
    fixed = _model_size(model)
    size = tuple(requested or _with_default_size(fixed))
    if not _accepts(fixed, size):
        raise InputError(
            f"the model {text!r} takes images of {fixed[0]} by {fixed[1]} pixels only. Received: image_size={size}."
        )
    images = keras.Input((*size, 3), name="prepared")
    layer = keras.Model(images, model(images), name="backbone")
    layer.trainable = False
    return Backbone(str(text), layer, (_scaling(value_range),), size, value_range)


def _with_default_size(fixed: tuple[int | None, int | None]) -> tuple[int, int]:
    return tuple(side or default for side, default in zip(fixed, DEFAULT_SIZE, strict=True))


def _accepts(fixed: tuple[int | None, int | None], size: tuple[int, int]) -> bool:
    return all(side is None or side == requested for side, requested in zip(fixed, size, strict=True))


def _model_size(model: keras.Model) -> tuple[int | None, int | None]:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return (None, None)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        raise InputError(
            f"the model {model.name!r} takes no images, which are one tensor (batch, height, width, 3). It takes: "
            f"{', '.join(str(tuple(tensor.shape)) for tensor in inputs)}."
        )
    return tuple(inputs[0].shape[1:3])
