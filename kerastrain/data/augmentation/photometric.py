"""Changes of values: light and colour, blur, a covered rectangle, noise.

Takes strengths, gives `PhotometricTransform`s. Values stay in [0, 255].
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
    """Colour jitter: changes light and colour by one affine map of RGB.

    Keras's RandomColorJitter makes the four changes one after the other, each over the whole batch, the hue by way of HSV.

    Args:
        brightness: float in [0, 1], factor drawn from [1 - brightness, 1 + brightness].
        contrast: float in [0, 1], likewise, about the mean grey.
        saturation: float in [0, 1], likewise; 0 would be grey.
        hue: float in [0, 0.5], largest turn to either side as a fraction of the colour circle.

    Reference: Karras et al. 2020, https://arxiv.org/abs/2006.06676, appendix B (colour maps composed into one matrix).
    """
    for name, strength in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        check_fraction(f"colour.{name}", strength)
    check_range("colour.hue", hue, 0, 0.5)

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        strengths = tf.constant([brightness, contrast, saturation, hue * 2 * math.pi])
        light, spread, saturated, angle = tf.unstack((2 * draws - 1) * strengths, axis=1)
        return recoloured(images, 1 + light, 1 + spread, 1 + saturated, angle)

    return PhotometricTransform(4, change)


def recoloured(
    images: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor, saturation: tf.Tensor, angle: tf.Tensor
) -> tf.Tensor:
    """Images under one affine map of RGB each.

        pixel' = contrast * pixel @ M + (1 - contrast) * mean,  M = brightness * saturate @ turn

    where `saturate` moves from the pixel's own grey, `turn` rotates about the grey axis in YIQ, and `mean` is the mean
    grey of the image at its new brightness.

    Args:
        images: float32 (b, h, w, 3) in [0, 255].
        brightness: float32 (b,) >= 0.
        contrast: float32 (b,) >= 0.
        saturation: float32 (b,) >= 0; 1 keeps, 0 gives grey.
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
    """Matrices M of `pixel @ M` that keep grey, multiply colourfulness and turn the hue.

    Args:
        saturation: float32 (b,) >= 0; 1 keeps, 0 gives grey.
        angle: float32 (b,) in radians; a third of a circle sends red towards green, green towards blue.

    Returns:
        float32 (b, 3, 3).
    """
    cosine, sine = saturation * rounded(tf.cos, angle), saturation * rounded(tf.sin, angle)
    one, none = tf.ones_like(angle), tf.zeros_like(angle)
    turn = tf.reshape(tf.stack([one, none, none, none, cosine, sine, none, -sine, cosine], axis=1), (-1, 3, 3))
    to, back = tf.constant(_YIQ.T, tf.float32), tf.constant(np.linalg.inv(_YIQ).T, tf.float32)
    return to @ tf.transpose(turn, (0, 2, 1)) @ back


def blur(*, probability: float = 0.5, stddev_pixels: float = 1.0) -> PhotometricTransform:
    """Blurs by a Gaussian, each image by its own; beyond the edge stands the reflection.

    Keras's RandomGaussianBlur draws one stddev for the whole batch and fills the edge with black.

    Args:
        probability: float in [0, 1].
        stddev_pixels: float > 0, the largest standard deviation in pixels; the image's own is drawn from
            [0, stddev_pixels].

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
        for one in (kernel, tf.transpose(kernel, (1, 0, 2, 3))):
            values = tf.nn.depthwise_conv2d(values, one, (1, 1, 1, 1), "VALID")
        return values[0]

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        deviations = tf.where(draws[:, 0] < probability, draws[:, 1] * stddev_pixels, 0.0)
        each = lambda pair: tf.cond(pair[1] > 0, lambda: blurred(pair), lambda: pair[0])
        return tf.map_fn(each, (images, deviations), fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))

    return PhotometricTransform(2, change)


def erasing(*, probability: float = 0.5, area_fraction: float = 0.2) -> PhotometricTransform:
    """Covers one rectangle with middle grey, so that no single part of the object decides.

    Keras's RandomErasing fills with noise of stddev 255, which is black and white for the most part.

    Args:
        probability: float in [0, 1].
        area_fraction: float in (0, 1], the largest share of the image that is covered; the smallest is a tenth of it.

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

    The values come from a table of 2**22 that is drawn once; an image takes those from a place of its own on. That costs a
    tenth of drawing them anew, for which other changes wait longest. Keras's GaussianNoise takes deviations up to 1 alone.

    Args:
        stddev: float >= 0, the largest standard deviation in grey levels of 0 to 255; the image's own is drawn
            from [0, stddev].

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
    """float32 (b, size), 1 where a pixel's centre lies in [first, first + share), both (b,) and shares of the side."""
    centres = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
    first, share = first[:, tf.newaxis], share[:, tf.newaxis]
    return tf.cast((centres >= first) & (centres < first + share), tf.float32)


def pasted(images: tf.Tensor, others: tf.Tensor | float, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """`others` over the images, each by rows * columns of it; rows float32 (b, h), columns (b, w), in [0, 1].

    By arithmetic, in a third of the time that `tf.where` takes.
    """
    shape = tf.shape(images)
    flat = (shape[0], shape[1], shape[2] * shape[3])
    share = rows[:, :, tf.newaxis] * tf.repeat(columns, shape[3], axis=1)[:, tf.newaxis]
    others = tf.reshape(others, flat) if tf.is_tensor(others) else others
    return tf.reshape(tf.reshape(images, flat) * (1 - share) + others * share, shape)


def _reflected(image: tf.Tensor, radius: int, axis: int) -> tf.Tensor:
    """The image with `radius` more pixels at both ends of an axis; "symmetric" padding, at any size of the image."""
    size = tf.shape(image)[axis]
    places = tf.range(-radius, size + radius) % (2 * size)
    return tf.gather(image, tf.minimum(places, 2 * size - 1 - places), axis=axis)


@functools.lru_cache(maxsize=1)
def _noise_table() -> tf.Tensor:
    # Eager, and beside the pipeline that reads it, also where the first to ask is a function being traced.
    with tf.init_scope(), tf.device("CPU"):
        return tf.random.stateless_normal(_TABLE, (0, 0), alg="philox")
