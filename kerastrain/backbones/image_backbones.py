"""From one word to the network under a head: a Hub module, a keras.applications network, a file, a model.

Takes a handle; gives a `Backbone`: a layer from prepared pixels to features, the layers that prepare raw pixels for
it, and the image size that it takes. Must not know of heads, labels or training.
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
"""Height and width in pixels for a module that takes images of any size and has no card."""

HUB_VALUE_RANGE = (0.0, 1.0)
"""What image modules take, https://www.tensorflow.org/hub/common_signatures/images."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network from raw pixels to features, in its two parts.

    Attributes:
        handle: str, what it was loaded from.
        layer: keras.Layer named "backbone", float32 prepared pixels (b, h, w, 3) to features (b, d) or (b, h', w', d).
        preprocessing: tuple of keras.Layer, from raw pixels in [0, 255] to what `layer` takes.
        image_size: (height, width) in pixels.
        value_range: (float, float) that `layer` takes its pixels in, or None where it scales them by colour channel.
        feature_maps: str or None, the endpoint of a module that gives the maps before their mean.
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
    """The backbone that a handle names.

    | handle | what |
    |---|---|
    | "kerastrain:NAME" | a SavedModel that ships with kerastrain |
    | "https://…", "kaggle:…", folder, .tar.gz | a SavedModel of TF Hub's kind, see `hub_modules.resolve` |
    | "keras:NAME" | a network of keras.applications, without its top |
    | "PATH.keras" | a saved model; a classifier of kerastrain gives its features |
    | keras.Model | that model, its layers and weights shared |

    Args:
        handle: str, path or keras.Model, as in the table.
        weights: only for "keras:NAME": "imagenet" (downloaded), path of a weights file, or None for random ones.
        image_size: (height, width) in pixels; None takes what the backbone was made for.
        value_range: (low, high) that raw pixels are scaled to; None takes what the backbone says of itself, else
            [0, 1] for SavedModels and [0, 255] for Keras models.
        alpha: float > 0, width of the MobileNets of keras.applications; None for 1.0.
        stochastic_depth: float in [0, 1), how often the last block of an EfficientNet is skipped in training; None for
            Keras's 0.2.
        signature: str, for SavedModels: the signature to call.
        output_key: str, for SavedModels: which of several outputs.

    Returns:
        Backbone, its layer frozen.

    Raises:
        InputError: the handle's network is unknown, or cannot take these options, this size or this value range.
        FileNotFoundError: a path does not exist.
        ConnectionError: a handle needs a network that is not there.
    """
    name = applications_name(handle)
    is_keras = name is not None or isinstance(handle, keras.Model) or str(handle).endswith(".keras")
    choices = {"signature": signature, "output_key": output_key}
    own = {"weights": weights, "alpha": alpha, "stochastic_depth": stochastic_depth}
    _check_options(handle, name, is_keras, **own, **choices)
    if name is not None:
        if value_range is not None:
            raise InputError(
                f"`value_range` is fixed for keras.applications. Received: {value_range} for {handle!r}. Leave it out."
            )
        size = keras_applications.image_size(name, image_size)
        layer = keras_applications.network(name, image_size=size, **own)
        return Backbone(
            str(handle), layer, keras_applications.preprocessing(name), size, keras_applications.value_range(name)
        )
    if is_keras:
        return _keras_model(handle, image_size, value_range or (0.0, 255.0))
    return _saved_model(handle, image_size, value_range, **choices)


def image_size(handle: str | os.PathLike | keras.Model, requested: tuple[int, int] | None = None) -> tuple[int, int]:
    """The image size that a backbone is used with, so that data can be made for it before the model is.

    Args:
        handle: as for `load`.
        requested: (height, width) in pixels, or None for the backbone's own.

    Returns:
        (height, width) in pixels: `requested`, or what the backbone was made for, or 224 by 224 where it takes any.

    Raises:
        InputError: the backbone cannot take the requested size; the message says what it takes.
    """
    name = applications_name(handle)
    if name is not None:
        return keras_applications.image_size(name, requested)
    return load(handle, image_size=requested).image_size


def applications_name(handle: object) -> str | None:
    """The network's name in a handle "keras:NAME", or None for any other handle.

    Raises:
        InputError: keras.applications has no such network.
    """
    if not (isinstance(handle, str) and handle.startswith("keras:")):
        return None
    name = handle.removeprefix("keras:")
    if name not in keras_applications.NETWORKS:
        raise InputError(unknown("network of keras.applications", name, keras_applications.NETWORKS))
    return name


def scaling(value_range: tuple[float, float]) -> keras.layers.Rescaling:
    """The layer from pixels in [0, 255] to `value_range`."""
    low, high = map(float, value_range)
    if not low < high:
        raise InputError(f"`value_range` must rise. Received: ({low:g}, {high:g}).")
    return keras.layers.Rescaling((high - low) / 255, offset=low, name="preprocessing")


def _check_options(handle: object, name: str | None, is_keras: bool, **options: object) -> None:
    of_keras = ("weights", "alpha", "stochastic_depth")
    fits = of_keras if name else () if is_keras else ("signature", "output_key")
    for option, value in options.items():
        if value is not None and option not in fits:
            owner = "`keras:NAME`" if option in of_keras else "a SavedModel"
            raise InputError(f"`{option}` goes with {owner} alone. Received: {value!r} for {handle!r}. Leave it out.")


def _saved_model(handle, requested, value_range, **choices) -> Backbone:
    folder = folder_of(handle)
    card = _card(folder)
    layer = HubLayer(folder, name="backbone", **choices)
    size = _module_size(str(handle), layer.input_specs, card, requested)
    value_range = tuple(value_range or card.get("value_range") or HUB_VALUE_RANGE)
    endpoint = card.get("feature_maps", "feature_maps")
    endpoint = endpoint if callable(getattr(layer.module, endpoint, None)) else None
    return Backbone(str(handle), layer, (scaling(value_range),), size, value_range, endpoint)


def folder_of(handle: str | os.PathLike) -> Path:
    """The SavedModel folder of a handle, "kerastrain:NAME" included; raises as `load` does."""
    return _bundled(handle) if str(handle).startswith("kerastrain:") else modules.resolve(handle)


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
        found = ", ".join(f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else '()'}" for spec in specs)
        raise InputError(
            f"the module {handle!r} takes no images, which are one float32 tensor (batch, height, width, 3). "
            f"It takes: {found}."
        )
    fixed = tuple(specs[0].shape[1:3]) if specs else (None, None)
    wanted = (
        requested or card.get("image_size") or tuple(one or two for one, two in zip(fixed, DEFAULT_SIZE, strict=True))
    )
    if any(one is not None and one != two for one, two in zip(fixed, wanted, strict=True)):
        sides = " by ".join("any" if side is None else str(side) for side in fixed)
        raise InputError(
            f"the backbone {handle!r} takes images of {sides} pixels alone. Received: image_size={tuple(wanted)}. "
            "Leave the image size out to use the backbone's own."
        )
    return tuple(wanted)


def _keras_model(handle, requested, value_range) -> Backbone:
    model = handle
    if not isinstance(handle, keras.Model):
        model = saving.load(handle)
        if any(layer.name == "backbone" for layer in model.layers):
            model, _ = feature_extractor.split_at_backbone(model)
    text = handle if isinstance(handle, str) else getattr(handle, "name", str(handle))
    fixed = _model_size(model)
    size = tuple(requested or tuple(one or two for one, two in zip(fixed, DEFAULT_SIZE, strict=True)))
    if any(one is not None and one != two for one, two in zip(fixed, size, strict=True)):
        raise InputError(
            f"the model {text!r} takes images of {fixed[0]} by {fixed[1]} pixels alone. Received: image_size={size}."
        )
    images = keras.Input((*size, 3), name="prepared")
    layer = keras.Model(images, model(images), name="backbone")
    layer.trainable = False
    return Backbone(str(text), layer, (scaling(value_range),), size, value_range)


def _model_size(model: keras.Model) -> tuple[int | None, int | None]:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return (None, None)
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        raise InputError(
            f"the model {model.name!r} takes no images, which are one tensor (batch, height, width, 3). It takes: "
            f"{', '.join(str(tuple(one.shape)) for one in inputs)}."
        )
    return tuple(inputs[0].shape[1:3])


def are_images(specs: tuple) -> bool:
    """Whether a module's inputs are one float tensor (batch, height, width, channels)."""
    return len(specs) == 1 and specs[0].shape.rank == 4 and specs[0].dtype.is_floating
