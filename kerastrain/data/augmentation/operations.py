"""The fourteen operations that RandAugment and AugMix choose from, a different one for each image.

Takes images, the index of an operation and an amount for each, returns images. The images are grouped by operation, so
that each image is processed once. Values stay in [0, 255].

The operations are those of PIL's `ImageOps` and `ImageEnhance`, except that the image is reflected beyond its edge instead
of filled with black. Keras's RandAugment and AugMix choose one operation for a whole batch; of the layers that they call,
Equalization merges the histograms of the batch, RandomSharpness darkens the edge, and AutoContrast fails on an empty
batch.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from kerastrain.data.augmentation.geometric import about_centre, matrix, resampled, turned
from kerastrain.data.augmentation.photometric import recoloured

_GEOMETRIC = ("shear_x", "shear_y", "shift_x", "shift_y", "rotation")
_COLOURS = ("brightness", "contrast", "saturation")

# The largest changes of Cubuk et al. 2019, as torchvision implements them.
_SHEAR, _SHIFT_FRACTION, _RADIANS, _ENHANCEMENT, _DROPPED_BITS = 0.3, 150 / 331, math.radians(30), 0.9, 4.0


def applied(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Applies one operation to each image.

    Args:
        images: float32 (b, h, w, 3) in [0, 255].
        choices: int32 (b,), indices into `OPERATIONS`.
        amounts: float32 (b,) in [-1, 1], fractions of the operation's largest change, with the direction. "posterize" and
            "solarize" ignore the sign; "autocontrast", "equalize" and "identity" ignore the amount.

    Returns:
        float32 (b, h, w, 3) in [0, 255].
    """
    functions = list(dict.fromkeys(_FUNCTIONS.values()))
    groups = tf.gather([functions.index(function) for function in _FUNCTIONS.values()], choices)
    parts = [
        tf.dynamic_partition(values, groups, len(functions))
        for values in (images, choices, amounts, tf.range(tf.shape(images)[0]))
    ]
    changed = [function(*part[:3]) for function, part in zip(functions, zip(*parts, strict=True), strict=True)]
    return tf.ensure_shape(tf.reshape(tf.dynamic_stitch(parts[3], changed), tf.shape(images)), images.shape)


def _same(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    return images


def _transformed(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    shear_x, shear_y, shift_x, shift_y, angle = (_where(choices, name, amounts, 0.0) for name in _GEOMETRIC)
    height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
    sheared = matrix((1.0, _SHEAR * shear_x, 0.0), (_SHEAR * shear_y, 1.0, 0.0))
    moved = matrix((1.0, 0.0, _SHIFT_FRACTION * width * shift_x), (0.0, 1.0, _SHIFT_FRACTION * height * shift_y))
    matrices = about_centre(turned(_RADIANS * angle) @ sheared, height, width) @ moved
    return resampled(images, matrices, stays_inside=False)


def _coloured(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    light, spread, saturation = (1 + _ENHANCEMENT * _where(choices, name, amounts, 0.0) for name in _COLOURS)
    return recoloured(images, light, spread, saturation, tf.zeros_like(amounts))


def _sharpened(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32)[:, :, tf.newaxis, tf.newaxis] / 13
    smooth = tf.nn.depthwise_conv2d(images, tf.tile(kernel, (1, 1, 3, 1)), (1, 1, 1, 1), "SAME")
    rows, columns = (_inner(tf.shape(images)[axis]) for axis in (1, 2))
    strength = (
        _ENHANCEMENT
        * amounts[:, tf.newaxis, tf.newaxis, tf.newaxis]
        * rows[:, tf.newaxis, tf.newaxis]
        * columns[:, tf.newaxis]
    )
    return tf.clip_by_value(images + strength * (images - smooth), 0.0, 255.0)


def _posterized(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    step = (2 ** tf.round(_DROPPED_BITS * tf.abs(amounts)))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    changes = tf.cast(step > 1, tf.float32)
    return tf.floor(images / step) * (step * changes) + images * (1 - changes)


def _solarized(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    threshold = 256 * (1 - tf.abs(amounts))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return images + tf.cast(images >= threshold, tf.float32) * (255 - 2 * images)


def _stretched(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    low, high = (reduce(images, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    flat = low == high  # A channel with a single value stays unchanged.
    stretched = (images - tf.where(flat, 0.0, low)) * (255 / tf.where(flat, 255.0, high - low))
    return tf.minimum(stretched, 255.0)


def _equalized(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(images)
    histograms = shape[0] * 3
    levels = tf.cast(tf.round(images), tf.int32)
    bins = levels + 256 * (3 * tf.range(shape[0])[:, tf.newaxis, tf.newaxis, tf.newaxis] + tf.range(3))
    ones = tf.ones((tf.size(bins),), tf.int32)
    counts = tf.reshape(tf.math.unsorted_segment_sum(ones, tf.reshape(bins, (-1,)), 256 * histograms), (-1, 256))
    # As in PIL, each of 255 steps gets the same number of pixels, not counting those of the brightest level.
    brightest = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), axis=1)
    step = (shape[1] * shape[2] - tf.gather(counts, brightest, batch_dims=1)) // 255
    table = (step[:, tf.newaxis] // 2 + tf.cumsum(counts, axis=1, exclusive=True)) // tf.maximum(step, 1)[:, tf.newaxis]
    table = tf.where(step[:, tf.newaxis] > 0, tf.minimum(table, 255), tf.range(256))
    return tf.cast(tf.gather(tf.reshape(table, (-1,)), bins), tf.float32)


def _where(choices: tf.Tensor, name: str, amounts: tf.Tensor, other: float) -> tf.Tensor:
    return tf.where(choices == OPERATIONS.index(name), amounts, other)


def _inner(size: tf.Tensor) -> tf.Tensor:
    """float32 (size,), 0 for the first and the last pixel, which PIL's filters do not change, else 1."""
    positions = tf.range(size)
    return tf.cast((positions > 0) & (positions < size - 1), tf.float32)


_FUNCTIONS: dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "identity": _same,
    "sharpness": _sharpened,
    "posterize": _posterized,
    "solarize": _solarized,
    "autocontrast": _stretched,
    "equalize": _equalized,
    **dict.fromkeys(_COLOURS, _coloured),
    **dict.fromkeys(_GEOMETRIC, _transformed),
}
OPERATIONS = tuple(_FUNCTIONS)
# Hendrycks et al. exclude the others, which resemble the corruptions that measure robustness.
AUGMIX_OPERATIONS = ("posterize", "solarize", "autocontrast", "equalize", *_GEOMETRIC)
