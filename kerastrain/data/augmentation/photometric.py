"""Photometric augmentations: colour jitter, blur, random erasing, noise.

Takes strengths, returns `PhotometricTransform`s. Values stay in [0, 255].
"""

import functools
import math

import numpy as np
import tensorflow as tf

from kerastrain.data.augmentation.geometric import sides
from kerastrain.data.augmentation.philox import rounded
from kerastrain.data.augmentation.transforms import PhotometricTransform, check_fraction, check_range

# Luma of red, green and blue (ITU-R BT.601) and the two colour axes of YIQ.
_YIQ = np.array(((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)))
_GREY = 127.5
_TABLE = (2**16, 64)


def colour(
    *, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2, hue: float = 0.02
) -> PhotometricTransform:
    """Colour jitter: changes brightness, contrast, saturation and hue by one affine map of RGB.

    Keras's RandomColorJitter makes the four changes in sequence, each over the whole batch, the hue through HSV.

    Args:
        brightness: float in [0, 1]; the factor is drawn from [1 - brightness, 1 + brightness].
        contrast: float in [0, 1]; the factor, about the mean grey, is drawn from [1 - contrast, 1 + contrast].
        saturation: float in [0, 1]; the factor is drawn from [1 - saturation, 1 + saturation], and 0 gives grey.
        hue: float in [0, 0.5], the largest rotation in either direction as a fraction of the colour circle.

    Returns:
        PhotometricTransform.

    Raises:
        InputError: an argument is outside its range.

    Reference: Karras et al. 2020, https://arxiv.org/abs/2006.06676, appendix B (colour maps composed into one matrix).
    """
    for name, strength in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        check_fraction(f"colour.{name}", strength)
    check_range("colour.hue", hue, 0, 0.5)

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        strengths = tf.constant([brightness, contrast, saturation, hue * 2 * math.pi])
        lighter, steeper, richer, angle = tf.unstack((2 * draws - 1) * strengths, axis=1)
        return recoloured(images, 1 + lighter, 1 + steeper, 1 + richer, angle)

    return PhotometricTransform(4, change)


def recoloured(
    images: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor, saturation: tf.Tensor, angle: tf.Tensor
) -> tf.Tensor:
    """Applies an affine map of RGB to each image.

        pixel' = contrast * pixel @ M + (1 - contrast) * mean,  M = brightness * saturate @ turn

    where `saturate` scales the difference from the pixel's grey, `turn` rotates about the grey axis in YIQ, and `mean` is
    the mean grey of the image at its new brightness.

    Args:
        images: float32 (b, h, w, 3) in [0, 255].
        brightness: float32 (b,) >= 0.
        contrast: float32 (b,) >= 0.
        saturation: float32 (b,) >= 0; 1 keeps the saturation, 0 gives grey.
        angle: float32 (b,) in radians, see `colour_matrix`.

    Returns:
        float32 (b, h, w, 3) in [0, 255].
    """
    mean = brightness * tf.tensordot(tf.reduce_mean(images, axis=(1, 2)), tf.constant(_YIQ[0], tf.float32), 1)
    matrices = (brightness * contrast)[:, tf.newaxis, tf.newaxis] * colour_matrix(saturation, angle)
    shape = tf.shape(images)
    mapped = tf.reshape(images, (shape[0], shape[1] * shape[2], 3)) @ matrices
    mapped += ((1 - contrast) * mean)[:, tf.newaxis, tf.newaxis]
    return tf.reshape(tf.clip_by_value(mapped, 0.0, 255.0), shape)


def colour_matrix(saturation: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """Matrices M of `pixel @ M` that keep grey, multiply the saturation and rotate the hue.

    Args:
        saturation: float32 (b,) >= 0; 1 keeps the saturation, 0 gives grey.
        angle: float32 (b,) in radians; a third of a circle moves red towards green, and green towards blue.

    Returns:
        float32 (b, 3, 3).
    """
    cosine, sine = saturation * rounded(tf.cos, angle), saturation * rounded(tf.sin, angle)
    one, zero = tf.ones_like(angle), tf.zeros_like(angle)
    turn = tf.reshape(tf.stack([one, zero, zero, zero, cosine, sine, zero, -sine, cosine], axis=1), (-1, 3, 3))
    to, back = tf.constant(_YIQ.T, tf.float32), tf.constant(np.linalg.inv(_YIQ).T, tf.float32)
    return to @ tf.transpose(turn, (0, 2, 1)) @ back


def blur(*, probability: float = 0.5, stddev_pixels: float = 1.0) -> PhotometricTransform:
    """Blurs each image by a Gaussian of its own width; beyond the edge the image is reflected.

    Keras's RandomGaussianBlur draws one standard deviation for the whole batch, and pads with black.

    Args:
        probability: float in [0, 1], the probability that an image is blurred.
        stddev_pixels: float in [0, 100], the largest standard deviation in pixels; that of an image is drawn from
            [0, stddev_pixels].

    Returns:
        PhotometricTransform.

    Raises:
        InputError: an argument is outside its range.

    Reference: Chen et al. 2020, https://arxiv.org/abs/2002.05709, appendix A.
    """
    check_fraction("blur.probability", probability)
    check_range("blur.stddev_pixels", stddev_pixels, 0, 100)
    radius = math.ceil(3 * stddev_pixels)

    def blurred(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, stddev = pair
        offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
        weights = tf.nn.softmax(-0.5 * (offsets / tf.maximum(stddev, 1e-3)) ** 2)
        kernel = tf.tile(weights[:, tf.newaxis, tf.newaxis, tf.newaxis], (1, 1, 3, 1))
        values = _reflected(_reflected(image, radius, 0), radius, 1)[tf.newaxis]
        for separable in (kernel, tf.transpose(kernel, (1, 0, 2, 3))):
            values = tf.nn.depthwise_conv2d(values, separable, (1, 1, 1, 1), "VALID")
        return values[0]

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        stddevs = tf.where(draws[:, 0] < probability, draws[:, 1] * stddev_pixels, 0.0)
        blurred_or_same = lambda pair: tf.cond(pair[1] > 0, lambda: blurred(pair), lambda: pair[0])
        return tf.map_fn(
            blurred_or_same, (images, stddevs), fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32)
        )

    return PhotometricTransform(2, change)


def erasing(*, probability: float = 0.5, area_fraction: float = 0.2) -> PhotometricTransform:
    """Random erasing: covers a rectangle with middle grey, so that no prediction depends on a single part of an object.

    Keras's RandomErasing fills with noise of standard deviation 255, most of which is clipped to black or white.

    Args:
        probability: float in [0, 1], the probability that an image is changed.
        area_fraction: float in (0, 1], the largest fraction of the image that is covered; the smallest is a tenth of it.

    Returns:
        PhotometricTransform.

    Raises:
        InputError: an argument is outside its range.

    Reference: Zhong et al. 2017, https://arxiv.org/abs/1708.04896, algorithm 1 (there filled with noise).
    """
    check_fraction("erasing.probability", probability)
    check_fraction("erasing.area_fraction", area_fraction, positive=True)

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        down, across = sides(draws[:, 1], draws[:, 2], (area_fraction / 10, area_fraction), 3.0)
        amount = tf.cast(draws[:, 0] < probability, tf.float32)
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        rows = covered(height, draws[:, 3] * (1 - down), down) * amount[:, tf.newaxis]
        return pasted(images, _GREY, rows, covered(width, draws[:, 4] * (1 - across), across))

    return PhotometricTransform(5, change)


def noise(*, stddev: float = 8.0) -> PhotometricTransform:
    """Adds independent Gaussian noise to every value.

    The noise comes from a table of 2**22 values that is drawn once; each image starts at a random position of it. That
    takes a tenth of the time of drawing new values, which would be the slowest step of an augmentation. Keras's
    GaussianNoise accepts standard deviations up to 1 only.

    Args:
        stddev: float >= 0, the largest standard deviation in grey levels of 0 to 255; that of an image is drawn from
            [0, stddev].

    Returns:
        PhotometricTransform.

    Raises:
        InputError: `stddev` is negative or infinite.

    Reference: Salimans et al. 2017, https://arxiv.org/abs/1703.03864, section 2.1 (the shared noise table).
    """
    check_range("noise.stddev", stddev, 0)
    table = _noise_table()

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        count = tf.reduce_prod(tf.shape(images)[1:])
        first = tf.cast(draws[:, 1] * _TABLE[0], tf.int32)
        rows = (first[:, tf.newaxis] + tf.range(-(-count // _TABLE[1]))) % _TABLE[0]
        values = tf.reshape(tf.gather(table, rows), (tf.shape(images)[0], -1))[:, :count]
        signed = stddev * draws[:, 0] * tf.where(draws[:, 2] < 0.5, 1.0, -1.0)
        changed = images + signed[:, tf.newaxis, tf.newaxis, tf.newaxis] * tf.reshape(values, tf.shape(images))
        return tf.clip_by_value(changed, 0.0, 255.0)

    return PhotometricTransform(3, change)


def covered(size: tf.Tensor, first: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Which pixels of a side lie in an interval.

    Args:
        size: int32 scalar, pixels of the side.
        first: float32 (b,), start of the interval as a fraction of the side.
        share: float32 (b,), length of the interval as a fraction of the side.

    Returns:
        float32 (b, size), 1 where the pixel's centre is in [first, first + share), else 0.
    """
    centres = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
    first, share = first[:, tf.newaxis], share[:, tf.newaxis]
    return tf.cast((centres >= first) & (centres < first + share), tf.float32)


def pasted(images: tf.Tensor, others: tf.Tensor | float, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Blends images with others, with a weight for each pixel; takes a third of the time of `tf.where`.

    Args:
        images: float32 (b, h, w, 3).
        others: float32 (b, h, w, 3), or a float for all values.
        rows: float32 (b, h) in [0, 1].
        columns: float32 (b, w) in [0, 1]; the weight of `others` at a pixel is its row's times its column's.

    Returns:
        float32 (b, h, w, 3).
    """
    shape = tf.shape(images)
    flat = (shape[0], shape[1], shape[2] * shape[3])
    share = rows[:, :, tf.newaxis] * tf.repeat(columns, shape[3], axis=1)[:, tf.newaxis]
    others = tf.reshape(others, flat) if tf.is_tensor(others) else others
    return tf.reshape(tf.reshape(images, flat) * (1 - share) + others * share, shape)


def _reflected(image: tf.Tensor, radius: int, axis: int) -> tf.Tensor:
    """The image with `radius` more pixels at both ends of an axis: "symmetric" padding, also of more than the image."""
    size = tf.shape(image)[axis]
    positions = tf.range(-radius, size + radius) % (2 * size)
    return tf.gather(image, tf.minimum(positions, 2 * size - 1 - positions), axis=axis)


@functools.lru_cache(maxsize=1)
def _noise_table() -> tf.Tensor:
    # Created eagerly and on the CPU, where the pipeline runs, even if it is first needed while a function is traced.
    with tf.init_scope(), tf.device("CPU"):
        return tf.random.stateless_normal(_TABLE, (0, 0), alg="philox")
