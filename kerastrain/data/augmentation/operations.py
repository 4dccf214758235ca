"""The fourteen operations that RandAugment and AugMix choose from, each image under its own.

Takes images, the number of an operation and an amount for each; gives images. They are sorted by operation, so that each
image is worked on once. Values stay in [0, 255].

Rules are those of PIL's `ImageOps` and `ImageEnhance`, but for what lies beyond the edge, which is the reflection and not
black. Keras's RandAugment and AugMix choose one operation for a whole batch; of the layers that they call, Equalization
joins the histograms of the batch, RandomSharpness darkens the edge, and AutoContrast fails on a batch of no images.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from kerastrain.data.augmentation.geometric import about_centre, matrix, resampled, turned
from kerastrain.data.augmentation.photometric import recoloured

_WARPS = ("shear_x", "shear_y", "shift_x", "shift_y", "rotation")
_COLOURS = ("brightness", "contrast", "saturation")

# The largest changes: those of Cubuk et al. 2019 as torchvision gives them.
_SHEAR, _SHIFT_FRACTION, _RADIANS, _ENHANCEMENT, _DROPPED_BITS = 0.3, 150 / 331, math.radians(30), 0.9, 4.0


def applied(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """The images, each changed by the operation chosen for it.

    Args:
        images: float32 (b, h, w, 3) in [0, 255].
        choices: int32 (b,), numbers of `OPERATIONS`.
        amounts: float32 (b,) in [-1, 1], shares of the operation's largest change, with the direction; "posterize" and
            "solarize" have none, and "autocontrast" and "equalize" have one strength.

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


def _warped(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    shear_x, shear_y, shift_x, shift_y, angle = (_where(choices, name, amounts, 0.0) for name in _WARPS)
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
    share = (
        _ENHANCEMENT
        * amounts[:, tf.newaxis, tf.newaxis, tf.newaxis]
        * rows[:, tf.newaxis, tf.newaxis]
        * columns[:, tf.newaxis]
    )
    return tf.clip_by_value(images + share * (images - smooth), 0.0, 255.0)


def _posterized(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    step = (2 ** tf.round(_DROPPED_BITS * tf.abs(amounts)))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    changes = tf.cast(step > 1, tf.float32)
    return tf.floor(images / step) * (step * changes) + images * (1 - changes)


def _solarized(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    threshold = 256 * (1 - tf.abs(amounts))[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return images + tf.cast(images >= threshold, tf.float32) * (255 - 2 * images)


def _stretched(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    low, high = (reduce(images, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    flat = low == high  # a channel of one value stays as it is
    stretched = (images - tf.where(flat, 0.0, low)) * (255 / tf.where(flat, 255.0, high - low))
    return tf.minimum(stretched, 255.0)


def _equalized(images: tf.Tensor, choices: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(images)
    histograms = shape[0] * 3
    levels = tf.cast(tf.round(images), tf.int32)
    places = levels + 256 * (3 * tf.range(shape[0])[:, tf.newaxis, tf.newaxis, tf.newaxis] + tf.range(3))
    ones = tf.ones((tf.size(places),), tf.int32)
    counts = tf.reshape(tf.math.unsorted_segment_sum(ones, tf.reshape(places, (-1,)), 256 * histograms), (-1, 256))
    # PIL's table: as many pixels to each of 255 steps, those of the brightest level not counted.
    brightest = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), axis=1)
    step = (shape[1] * shape[2] - tf.gather(counts, brightest, batch_dims=1)) // 255
    table = (step[:, tf.newaxis] // 2 + tf.cumsum(counts, axis=1, exclusive=True)) // tf.maximum(step, 1)[:, tf.newaxis]
    table = tf.where(step[:, tf.newaxis] > 0, tf.minimum(table, 255), tf.range(256))
    return tf.cast(tf.gather(tf.reshape(table, (-1,)), places), tf.float32)


def _where(choices: tf.Tensor, name: str, amounts: tf.Tensor, other: float) -> tf.Tensor:
    return tf.where(choices == OPERATIONS.index(name), amounts, other)


def _inner(size: tf.Tensor) -> tf.Tensor:
    """float32 (size,), 0 for the first and the last pixel, which PIL's filters leave as they are."""
    places = tf.range(size)
    return tf.cast((places > 0) & (places < size - 1), tf.float32)


_FUNCTIONS: dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "identity": _same,
    "sharpness": _sharpened,
    "posterize": _posterized,
    "solarize": _solarized,
    "autocontrast": _stretched,
    "equalize": _equalized,
    **dict.fromkeys(_COLOURS, _coloured),
    **dict.fromkeys(_WARPS, _warped),
}
OPERATIONS = tuple(_FUNCTIONS)
# Those that Hendrycks et al. keep: the others resemble the corruptions on which robustness is measured.
AUGMIX_OPERATIONS = ("posterize", "solarize", "autocontrast", "equalize", *_WARPS)
