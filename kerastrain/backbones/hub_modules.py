"""Image backbones that are SavedModels: TF Hub modules and what other programs export.

Takes a handle; returns a `Backbone`, or refuses what does not take batches of colour images. Must not know of heads or
labels.
"""

import dataclasses
import os
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.backbones import pixel_range
from kerastrain.backbones.backbone import Backbone, accepts, features_of, range_warnings, scaling, with_default_size
from kerastrain.backbones.pixel_range import PixelRange
from kerastrain.errors import InputError, unknown
from kerastrain.hub import modules
from kerastrain.hub.layer import HubLayer
from kerastrain.system import files

VALUE_RANGE = (0.0, 1.0)
"""Pixel values that image modules expect by convention, https://www.tensorflow.org/hub/common_signatures/images."""

_IMAGENET_CLASSES = (1000, 1001)
_FEW_CLASSES = 20


def load(
    handle: str | os.PathLike,
    image_size: tuple[int, int] | None,
    value_range: tuple[float, float] | None,
    *,
    measure: bool,
    signature: str | None,
    output_key: str | None,
) -> Backbone:
    """The backbone of a SavedModel.

    Args:
        handle: as for `folder_of`.
        image_size: (height, width) in pixels; None for the size that the module was made for.
        value_range: (low, high) that raw pixels are scaled to; None for the range on its card, or the one that is found.
        measure: bool, whether the features are measured under each range even where the graph shows the right one.
        signature: str, the signature to call.
        output_key: str, the output to use if there are several.

    Returns:
        Backbone with a frozen layer.

    Raises:
        InputError: the module takes no batches of colour images, not of this size, or it cannot be loaded or run.
        FileNotFoundError: a path does not exist.
        ConnectionError: the module cannot be downloaded.
    """
    folder = folder_of(handle)
    card = _card(folder)
    layer = HubLayer(folder, name="backbone", signature=signature, output_key=output_key)
    size = _module_size(str(handle), layer.input_specs, card, image_size)
    found = _module_range(str(handle), layer, size, value_range, card, measure)
    endpoint = card.get("feature_maps", "feature_maps")
    endpoint = endpoint if callable(getattr(layer.module, endpoint, None)) else None
    return Backbone(
        str(handle),
        layer,
        (scaling(found.value_range),),
        size,
        found.value_range,
        endpoint,
        found,
        (
            *range_warnings(str(handle), found, VALUE_RANGE, "the convention of TF Hub"),
            *_output_warnings(str(handle), layer, size),
        ),
    )


def image_size(handle: str | os.PathLike, requested: tuple[int, int] | None) -> tuple[int, int]:
    """The image size of a SavedModel.

    Args:
        handle: as for `folder_of`.
        requested: (height, width) in pixels, or None for the module's own size.

    Returns:
        (height, width) in pixels.

    Raises:
        InputError: the module takes no images, or not of the requested size.
    """
    folder = folder_of(handle)
    return _module_size(str(handle), HubLayer(folder).input_specs, _card(folder), requested)


def folder_of(handle: str | os.PathLike) -> Path:
    """The SavedModel folder of a handle.

    Args:
        handle: str or path, for `hub.modules.resolve`, or "kerastrain:NAME".

    Returns:
        Path of a folder with a `saved_model.pb`.
    """
    return _bundled(handle) if str(handle).startswith("kerastrain:") else modules.resolve(handle)


def are_images(specs: tuple) -> bool:
    """Whether a module takes one tensor of numbers (batch, height, width, channels).

    Args:
        specs: tuple of tf.TensorSpec, the module's inputs.
    """
    return len(specs) == 1 and specs[0].shape.rank == 4 and (specs[0].dtype.is_floating or specs[0].dtype.is_integer)


def _module_range(
    handle: str, layer: HubLayer, size: tuple[int, int], requested: tuple | None, card: dict, measure: bool
) -> PixelRange:
    if layer.input_specs and layer.input_specs[0].dtype.is_integer:
        kind = layer.input_specs[0].dtype.name
        if requested is not None and tuple(requested) != (0.0, 255.0):
            raise InputError(
                f"the module {handle!r} takes {kind} pixels, which are in [0, 255]. Received: value_range="
                f"{tuple(requested)}. Leave it out."
            )
        return PixelRange((0.0, 255.0), "certain", f"it takes {kind} pixels")
    stated = tuple(requested or card.get("value_range") or ())
    if stated and not measure:
        return PixelRange(stated, "stated", "as the config says" if requested else "as its card says")
    found = pixel_range.find(layer.input_steps, features_of(handle, layer), size, default=VALUE_RANGE, measure=measure)
    if not stated:
        return found
    reason = "as the config says" if requested else "as its card says"
    return dataclasses.replace(found, value_range=stated, certainty="stated", reason=reason)


def _output_warnings(handle: str, layer: HubLayer, size: tuple[int, int]) -> list[str]:
    """Warns of outputs that are classes instead of features."""
    last, count = layer.last_operation, _feature_count(layer, size)
    advice = "Use its feature vector version, or the output before it (model.output_key)"
    if last == "Softmax":
        classes = f"{count:,} classes" if count else "classes"
        return [f"{handle!r} ends in a softmax over {classes}, which tells little about other classes. {advice}"]
    if last == "Sigmoid" and count is not None and count <= _FEW_CLASSES:
        return [f"{handle!r} ends in a sigmoid of {count} outputs, which look like classes. {advice}"]
    if count in _IMAGENET_CLASSES:
        return [f"{handle!r} returns {count:,} numbers, as many as ImageNet has classes. {advice}"]
    return []


def _feature_count(layer: HubLayer, size: tuple[int, int]) -> int | None:
    if len(layer.input_specs) != 1:
        return None
    outputs = keras.tree.flatten(layer.compute_output_shape((None, *size, 3)))
    return outputs[-1] if outputs else None


def _bundled(handle: str) -> Path:
    name, pinned = modules.split_pin(handle.removeprefix("kerastrain:"))
    known = modules.bundled()
    if name not in known:
        raise InputError(unknown("bundled backbone", name, known))
    return modules.resolve(f"{known[name]}#sha256={pinned}" if pinned else known[name])


def _card(folder: Path) -> dict:
    path = folder / "card.json"
    return files.read_json(path) if path.is_file() else {}


def _module_size(handle: str, specs: tuple, card: dict, requested: tuple[int, int] | None) -> tuple[int, int]:
    if specs:
        _check_images(handle, specs)
    fixed = tuple(specs[0].shape[1:3]) if specs and specs[0].shape.rank else (None, None)
    size = tuple(requested or card.get("image_size") or with_default_size(fixed))
    if not accepts(fixed, size):
        sides = " by ".join("any" if side is None else str(side) for side in fixed)
        raise InputError(
            f"the backbone {handle!r} takes images of {sides} pixels only. Received: image_size={size}. "
            "Leave the image size out to use the backbone's own."
        )
    return size


def _check_images(handle: str, specs: tuple) -> None:
    """Refuses a module that does not take batches of colour images; an input of unknown shape may be one."""
    if len(specs) == 1 and specs[0].shape.rank is None and specs[0].dtype != tf.string:
        return
    inputs = ", ".join(f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else '()'}" for spec in specs)
    if not are_images(specs):
        hint = ""
        if any(spec.dtype == tf.string for spec in specs):
            hint = " A module of texts needs data.kind=text."
        elif len(specs) == 1 and specs[0].shape.rank == 3:
            hint = " Save it with a first axis for the batch."
        raise InputError(
            f"the module {handle!r} takes no images, which are one tensor (batch, height, width, 3) of numbers. It takes: "
            f"{inputs}.{hint}"
        )
    batch, *_, channels = specs[0].shape
    if channels not in (3, None):
        if specs[0].shape[1] == 3:
            kind, advice = "channels first", "Save it with a transposition from (batch, height, width, 3) in front."
        elif channels == 1:
            kind, advice = "grey images of one channel", "Save it with tf.image.rgb_to_grayscale in front."
        else:
            kind, advice = f"images of {channels} channels", "Use a module for colour images."
        raise InputError(
            f"the module {handle!r} takes {kind}, and images here have the three channels of RGB, last. It takes: "
            f"{inputs}. {advice}"
        )
    if batch is not None:
        raise InputError(
            f"the module {handle!r} takes exactly {batch} {'image' if batch == 1 else 'images'} at a time, and training needs "
            f"batches of any size. It takes: "
            f"{inputs}. Save it with a first axis of any size (None)."
        )
