"""Image backbones from a handle: a Hub module, a keras.applications network, a `.keras` file or a model.

Takes a handle; returns a `Backbone`: a layer from preprocessed pixels to features, its preprocessing layers, and its
image size. Must not know of heads, labels or training.
"""

import os

import keras
import tensorflow as tf

from kerastrain import presets, saving
from kerastrain.backbones import hub_modules, keras_applications, pixel_range, pretrained_images
from kerastrain.backbones.backbone import Backbone, accepts, features_of, range_warnings, scaling, with_default_size
from kerastrain.backbones.pixel_range import PixelRange
from kerastrain.errors import InputError, unknown
from kerastrain.hub import graph_reading
from kerastrain.transfer import feature_extractor

KERAS_VALUE_RANGE = (0.0, 255.0)
"""Pixel values that Keras models of images expect by convention: those of the image files."""


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
    measure: bool = False,
    log: bool = True,
) -> Backbone:
    """The backbone of a handle.

    | handle | backbone |
    |---|---|
    | "kerastrain:NAME" | a SavedModel that ships with kerastrain |
    | "https://…", "kaggle:…", folder, .tar.gz | a SavedModel as TF Hub publishes them, see `hub.modules.resolve` |
    | "keras:NAME" | a network of keras.applications, without its top |
    | "hf:OWNER/NAME", "kerashub:NAME", folder of Hugging Face, timm or KerasHub | a pretrained network, see docs/backbones.md |
    | "PATH.keras" | a saved model; of a kerastrain classifier, the part before its head |
    | keras.Model | that model, sharing its layers and weights |

    Args:
        handle: str, path or keras.Model, as in the table.
        weights: only for "keras:NAME": "imagenet" (downloaded once), "random", or the path of a weights file; None for
            "imagenet".
        image_size: (height, width) in pixels; None for the size that the backbone was made for.
        value_range: (low, high) that raw pixels are scaled to; None for the range on the backbone's card, else the one
            that its graph and its features show (see `pixel_range.find`), else [0, 1] for SavedModels and [0, 255] for
            Keras models, with a warning to the logger "kerastrain".
        alpha: float > 0, width multiplier of the MobileNets of keras.applications; None for 1.0.
        stochastic_depth: float in [0, 1), probability that the last block of an EfficientNet is skipped in training; None
            for Keras's 0.2.
        signature: str, for SavedModels: the signature to call.
        output_key: str, for SavedModels: the output to use if there are several.
        measure: bool, for SavedModels: whether the features are measured under each range of pixel values even where the
            graph shows the right one.
        log: bool, whether what was found about the backbone is logged to the logger "kerastrain".

    Returns:
        Backbone with a frozen layer.

    Raises:
        InputError: the handle's network is unknown, or cannot take these options, this size or this value range.
        FileNotFoundError: a path does not exist.
        ConnectionError: a module or weights file cannot be downloaded; the message names the file.
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
        backbone = _keras_model(handle, image_size, value_range)
    elif presets.is_preset(handle):
        backbone = pretrained_images.load(handle, image_size=image_size, value_range=value_range)
    else:
        backbone = hub_modules.load(handle, image_size, value_range, measure=measure, **module_options)
    if log:
        backbone.log()
    return backbone


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
    if isinstance(handle, keras.Model) or str(handle).endswith(".keras"):
        return _keras_model(handle, requested, KERAS_VALUE_RANGE).image_size
    if presets.is_preset(handle):
        return pretrained_images.image_size(handle, requested)
    return hub_modules.image_size(handle, requested)


def _applications_name(handle: object) -> str | None:
    """The network's name in a handle "keras:NAME", or None for any other handle."""
    if not (isinstance(handle, str) and handle.startswith("keras:")):
        return None
    name = handle.removeprefix("keras:")
    if name not in keras_applications.NETWORKS:
        raise InputError(unknown("network of keras.applications", name, keras_applications.NETWORKS))
    return name


def _check_options(handle: object, name: str | None, is_keras: bool, **options: object) -> None:
    network_options = ("weights", "alpha", "stochastic_depth")
    is_module = not is_keras and not presets.is_preset(handle)
    accepted = network_options if name else ("signature", "output_key") if is_module else ()
    for option, value in options.items():
        if value is not None and option not in accepted:
            owner = "`keras:NAME`" if option in network_options else "a SavedModel"
            raise InputError(
                f"`{option}` is an option of {owner} only. Received: {value!r} for {handle!r}. Leave it out."
            )


def _keras_model(handle, requested, value_range) -> Backbone:
    model = handle
    if not isinstance(handle, keras.Model):
        model = saving.load(handle)
        if any(layer.name == "backbone" for layer in model.layers):
            model, _ = feature_extractor.split_at_backbone(model)
    text = handle if isinstance(handle, str) else getattr(handle, "name", str(handle))
    fixed = _model_size(model)
    size = tuple(requested or with_default_size(fixed))
    if not accepts(fixed, size):
        raise InputError(
            f"the model {text!r} takes images of {fixed[0]} by {fixed[1]} pixels only. Received: image_size={size}."
        )
    images = keras.Input((*size, 3), name="prepared")
    layer = keras.Model(images, model(images), name="backbone")
    layer.trainable = False
    if value_range:
        found = PixelRange(tuple(value_range), "stated", "as the config says")
    else:
        graph = tf.function(lambda pixels: layer(pixels, training=False)).get_concrete_function(
            tf.TensorSpec((None, *size, 3))
        )
        steps = graph_reading.input_steps(graph)
        found = pixel_range.find(steps, features_of(str(text), layer), size, default=KERAS_VALUE_RANGE)
    warnings = range_warnings(str(text), found, KERAS_VALUE_RANGE, "as the image files have them")
    return Backbone(
        str(text),
        layer,
        (scaling(found.value_range),),
        size,
        found.value_range,
        pixel_range=found,
        warnings=tuple(warnings),
    )


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
