"""A network from raw pixels to features, as all kinds of image backbones are loaded.

Takes a layer, its preprocessing and what is known about it; returns a `Backbone`. Must not know of handles, heads or
labels.
"""

import dataclasses
import logging
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kerastrain.backbones import pixel_range
from kerastrain.backbones.pixel_range import PixelRange
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer

logger = logging.getLogger("kerastrain")

DEFAULT_SIZE = (224, 224)
"""Height and width in pixels for a network that accepts any image size and has no card."""


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
        pixel_range: PixelRange, how sure `value_range` is and why; None for keras.applications, where it is fixed.
        warnings: tuple of str, a sentence for each thing about the backbone that is probably not meant.
    """

    handle: str
    layer: keras.Layer
    preprocessing: tuple[keras.Layer, ...]
    image_size: tuple[int, int]
    value_range: tuple[float, float] | None
    feature_maps: str | None = None
    pixel_range: PixelRange | None = None
    warnings: tuple[str, ...] = ()

    def log(self) -> None:
        """Logs the range of pixel values that was found, and the warnings, to the logger "kerastrain"."""
        found = self.pixel_range
        if found is not None and found.certainty in ("certain", "likely"):
            expects = "expects" if found.certainty == "certain" else "probably expects"
            logger.info("backbone: %s pixels in %s: %s", expects, pixel_range.text(found.value_range), found.reason)
        for warning in self.warnings:
            logger.warning("backbone: %s", warning)

    def hardly_varying(self, images: np.ndarray) -> str | None:
        """Warns if the features of real images are nearly the same for all of them, so that no head can learn from them.

        Args:
            images: array (n, height, width, 3) in [0, 255], some of the training images.

        Returns:
            str, a sentence; None if the features vary, or the images do not.
        """
        if self.value_range is None or len(images) < 2 or np.ptp(np.asarray(images, np.float32), axis=0).max() < 8:
            return None
        result = pixel_range.hardly_vary(features_of(self.handle, self.layer), images, self.value_range)
        if result is None:
            return None
        spread, better, times = result
        chosen = pixel_range.text(self.value_range)
        start = f"the features of {self.handle!r} hardly vary over the training images under model.value_range={chosen}"
        if better is None:
            return f"{start} (relative spread {spread:.2g}), nor under another range: no head can learn from them"
        return (
            f"{start} (relative spread {spread:.2g}), and {pixel_range.rounded(times)} times more under "
            f"{pixel_range.text(better)}: set model.value_range={pixel_range.text(better).replace(' ', '')}"
        )


def scaling(value_range: tuple[float, float]) -> keras.layers.Rescaling:
    """The layer that scales pixels in [0, 255] to a range.

    Args:
        value_range: (low, high) with low < high.

    Returns:
        keras.layers.Rescaling.

    Raises:
        InputError: the range does not rise.
    """
    low, high = map(float, value_range)
    if not low < high:
        raise InputError(f"`value_range` must rise. Received: ({low:g}, {high:g}).")
    return keras.layers.Rescaling((high - low) / 255, offset=low, name="preprocessing")


def features_of(handle: str, layer: keras.Layer) -> Callable[[np.ndarray], np.ndarray]:
    """The function from scaled pixels to the mean of the features over each image.

    Args:
        handle: str, the backbone's handle, for messages.
        layer: keras.Layer from pixels to features or maps.

    Returns:
        callable from float32 array (n, height, width, 3) to float32 array (n, features). It raises an InputError if the
        layer cannot be run on these images or has several outputs.
    """

    def features(pixels: np.ndarray) -> np.ndarray:
        try:
            outputs = layer.infer(pixels) if isinstance(layer, HubLayer) else layer(pixels, training=False)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split()).partition(" Received args")[0][:200].rstrip(".")
            raise InputError(
                f"the backbone {handle!r} cannot be run on images of {pixels.shape[1]} by {pixels.shape[2]} pixels: {reason}."
            ) from error
        values = keras.tree.flatten(outputs)
        if len(values) != 1:
            names = f" out of {', '.join(sorted(outputs))}" if isinstance(outputs, dict) else ""
            raise InputError(
                f"the backbone {handle!r} has {len(values)} outputs: choose the features with `model.output_key`{names}."
            )
        array = np.asarray(tf.cast(values[0], tf.float32))
        return array.mean(axis=tuple(range(1, array.ndim - 1)))

    return features


def range_warnings(handle: str, found: PixelRange, default: tuple[float, float], convention: str) -> list[str]:
    """The warning about a range that is a convention only.

    Args:
        handle: str, the backbone's handle.
        found: PixelRange.
        default: (low, high), the range by convention.
        convention: str, the convention in words.

    Returns:
        list of at most one str.
    """
    if found.certainty != "unknown":
        return []
    source = f", {convention}" if found.value_range == default else ""
    return [
        f"which pixel values {handle!r} expects is not known: {found.reason}. It gets {pixel_range.text(found.value_range)}"
        f"{source}. Set model.value_range to [0, 1], [-1, 1] or [0, 255], as its documentation says"
    ]


def with_default_size(fixed: tuple[int | None, int | None]) -> tuple[int, int]:
    """Fills in the sides of a size that may be any.

    Args:
        fixed: (height, width) in pixels, None for any.

    Returns:
        (height, width) in pixels.
    """
    return tuple(side or default for side, default in zip(fixed, DEFAULT_SIZE, strict=True))


def accepts(fixed: tuple[int | None, int | None], size: tuple[int, int]) -> bool:
    """Whether a network that accepts `fixed` accepts images of a size.

    Args:
        fixed: (height, width) in pixels, None for any.
        size: (height, width) in pixels.
    """
    return all(side is None or side == requested for side, requested in zip(fixed, size, strict=True))
