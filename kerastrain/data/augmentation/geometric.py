"""Geometric augmentations: flips, crops and rotations, composed into a single resampling.

Takes strengths, returns `GeometricTransform`s. The product of their matrices maps each pixel of the result to a position
in the image. Each image is resampled once, however many transforms there are, so that it is blurred once, and what a
rotation shows beyond the edge is a reflection of the original image.
"""

import math

import tensorflow as tf

from kerastrain.data.augmentation.philox import rounded
from kerastrain.data.augmentation.transforms import GeometricTransform, check_fraction, check_range


def flip(*, probability: float = 0.5, vertical_probability: float = 0.0) -> GeometricTransform:
    """Flips images horizontally and, if asked for, vertically.

    Args:
        probability: float in [0, 1], the probability of a horizontal flip.
        vertical_probability: float in [0, 1], the probability of a vertical flip, for images without an upright
            orientation such as aerial or microscope images.

    Returns:
        GeometricTransform.

    Raises:
        InputError: a probability is outside [0, 1].
    """
    check_fraction("flip.probability", probability)
    check_fraction("flip.vertical_probability", vertical_probability)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        across, down = _chance(draws[:, 0], probability), _chance(draws[:, 1], vertical_probability)
        return matrix((1 - 2 * across, 0.0, across * (width - 1)), (0.0, 1 - 2 * down, down * (height - 1)))

    return GeometricTransform(2, matrices, stays_inside=True)


def crop(*, shift_fraction: float = 0.125) -> GeometricTransform:
    """Shifts images by whole pixels; beyond the edge the image is reflected.

    Args:
        shift_fraction: float in [0, 1], the largest shift in each direction as a fraction of the side; 0.125 is 4 of 32
            pixels.

    Returns:
        GeometricTransform.

    Raises:
        InputError: `shift_fraction` is outside [0, 1].

    Reference: He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2 (there padded with zeros).
    """
    check_fraction("crop.shift_fraction", shift_fraction)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        # Uniform over the integers from -limit to limit.
        limits = tf.floor(shift_fraction * tf.stack([width, height]))
        shifts = tf.floor(draws * (2 * limits + 1)) - limits
        return matrix((1.0, 0.0, shifts[:, 0]), (0.0, 1.0, shifts[:, 1]))

    return GeometricTransform(2, matrices, stays_inside=False)


def resized_crop(*, area_fraction: float = 0.7, aspect_factor: float = 1.2) -> GeometricTransform:
    """Crops a rectangle and resizes it to the whole image, which changes scale, position and aspect ratio.

    The rectangle covers a fraction of the image drawn from [area_fraction, 1]. Its aspect ratio differs from the image's by
    a factor drawn log-uniformly from [1 / aspect_factor, aspect_factor]. A rectangle that does not fit is cut to the image.

    Args:
        area_fraction: float in (0, 1], the smallest fraction of the image that the rectangle covers before it is cut to the
            image; a cut rectangle covers at least 1 / aspect_factor.
        aspect_factor: float >= 1, the largest change of the aspect ratio; 1 keeps it.

    Returns:
        GeometricTransform.

    Raises:
        InputError: `area_fraction` is outside (0, 1], or `aspect_factor` is less than 1 or infinite.

    Reference: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842, section 6 (there 0.08 and 4/3).
    """
    check_fraction("resized_crop.area_fraction", area_fraction, positive=True)
    check_range("resized_crop.aspect_factor", aspect_factor, 1)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        down, across = sides(draws[:, 0], draws[:, 1], (area_fraction, 1.0), aspect_factor)
        left, top = draws[:, 3] * (1 - across) * (width - 1), draws[:, 2] * (1 - down) * (height - 1)
        return matrix((across, 0.0, left), (0.0, down, top))

    return GeometricTransform(4, matrices, stays_inside=True)


def rotation(*, degrees: float = 15.0) -> GeometricTransform:
    """Rotates images about their centre; the corners are filled by reflection.

    Args:
        degrees: float in [0, 180], the largest angle in either direction.

    Returns:
        GeometricTransform.

    Raises:
        InputError: `degrees` is outside [0, 180].
    """
    check_range("rotation.degrees", degrees, 0, 180)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        angle = (2 * draws[:, 0] - 1) * math.radians(degrees)
        return about_centre(turned(angle), height, width)

    return GeometricTransform(1, matrices, stays_inside=False)


def turned(angle: tf.Tensor) -> tf.Tensor:
    """Matrices that rotate an image counter-clockwise about its top left corner.

    Args:
        angle: float32 (b,) in radians.

    Returns:
        float32 (b, 3, 3), as in `GeometricTransform`.
    """
    cosine, sine = rounded(tf.cos, angle), rounded(tf.sin, angle)
    return matrix((cosine, -sine, 0.0), (sine, cosine, 0.0))


def about_centre(matrices: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Applies transforms about the centre of the image instead of its top left corner.

    Args:
        matrices: float32 (b, 3, 3), as in `GeometricTransform`.
        height: float32 scalar, in pixels.
        width: float32 scalar, in pixels.

    Returns:
        float32 (b, 3, 3).
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    return matrix((1.0, 0.0, x), (0.0, 1.0, y)) @ matrices @ matrix((1.0, 0.0, -x), (0.0, 1.0, -y))


def matrix(across: tuple, down: tuple) -> tf.Tensor:
    """Builds matrices of affine maps from their first two rows; the third is (0, 0, 1).

    Args:
        across: three float scalars or float32 (b,), the first row, which gives x.
        down: three float scalars or float32 (b,), the second row, which gives y.

    Returns:
        float32 (b, 3, 3), or (1, 3, 3) if all entries are scalars.
    """
    entries = [tf.convert_to_tensor(value, tf.float32) for value in (*across, *down, 0.0, 0.0, 1.0)]
    zeros = tf.zeros_like(next((values for values in entries if values.shape.rank == 1), tf.zeros(1)))
    return tf.reshape(tf.stack([zeros + values for values in entries], axis=1), (-1, 3, 3))


def resampled(images: tf.Tensor, matrices: tf.Tensor, *, stays_inside: bool) -> tf.Tensor:
    """Transforms images by bilinear interpolation.

    Args:
        images: uint8 or float32 (b, h, w, 3).
        matrices: float32 (b, 3, 3), from pixels (x, y, 1) of the result to pixels of the image.
        stays_inside: bool, as in `GeometricTransform`; if True, `tf.image.crop_and_resize` does the work.

    Returns:
        float32 (b, h, w, 3). Beyond the edge the image is reflected: "d c b a | a b c d | d c b a".
    """
    if not stays_inside:
        shape = tf.TensorSpec(images.shape[1:], tf.float32)
        return tf.map_fn(lambda pair: _interpolated(*pair), (images, matrices), fn_output_signature=shape)
    size = tf.shape(images)[1:3]
    last = tf.cast(tf.maximum(size - 1, 1), tf.float32)
    scales, starts = (
        tf.stack([matrices[:, 1, 1], matrices[:, 0, 0]], 1),
        tf.stack([matrices[:, 1, 2], matrices[:, 0, 2]], 1),
    )
    # Rounding must not move a rectangle at the edge across it: crop_and_resize would draw a black line there.
    margin = tf.where(tf.abs(scales) < 1, 1e-6, 0.0)
    begin = tf.clip_by_value(starts / last, margin, 1 - margin)
    end = tf.clip_by_value(starts / last + scales, margin, 1 - margin)
    images = tf.cast(images, tf.float32)  # Faster than crop_and_resize of uint8.
    return tf.image.crop_and_resize(images, tf.concat([begin, end], axis=1), tf.range(tf.shape(images)[0]), size)


def sides(
    area_draw: tf.Tensor, aspect_draw: tf.Tensor, areas: tuple[float, float], aspect_factor: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sides of rectangles of random area and aspect ratio, cut to the image.

    Args:
        area_draw: float32 (b,) in [0, 1), random numbers for the area.
        aspect_draw: float32 (b,) in [0, 1), random numbers for the aspect ratio.
        areas: (smallest, largest) area, floats in (0, 1], as fractions of the image.
        aspect_factor: float >= 1, the largest change of the image's aspect ratio.

    Returns:
        (height, width), each float32 (b,) in (0, 1], as fractions of the image's sides.
    """
    area = areas[0] + (areas[1] - areas[0]) * area_draw
    stretch = rounded(lambda draws: tf.exp((draws - 0.5) * math.log(aspect_factor)), aspect_draw)
    return tf.minimum(tf.sqrt(area) / stretch, 1.0), tf.minimum(tf.sqrt(area) * stretch, 1.0)


# Compiled, which takes a fraction of the time of `keras.ops.image.affine_transform`: `python benchmarks/input_pipeline.py
# --augment rotation` times both. One image at a time, so that a single compilation serves all batch sizes, and no value
# depends on the batch.
@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _interpolated(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """One image (h, w, 3), resampled at the positions that its matrix (3, 3) gives, inside or outside of it."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    row, column = tf.cast(tf.range(height), tf.float32)[:, tf.newaxis], tf.cast(tf.range(width), tf.float32)
    x, y = (matrix[axis, 0] * column + (matrix[axis, 1] * row + matrix[axis, 2]) for axis in (0, 1))
    left, top = tf.floor(x), tf.floor(y)
    right, below = ((values - whole)[..., tf.newaxis] for values, whole in ((x, left), (y, top)))
    pixels = tf.reshape(image, (-1, 3))
    first, second = (
        [tf.gather(pixels, _mirrored(line, height) * width + _mirrored(place, width)) for place in (left, left + 1)]
        for line in (top, top + 1)
    )
    first, second = ([tf.cast(values, tf.float32) for values in pair] for pair in (first, second))
    upper, lower = (near + right * (far - near) for near, far in (first, second))
    return upper + below * (lower - upper)


def _mirrored(positions: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """int32, the indices in [0, size) of the pixels that reflection shows at whole float32 positions, inside or outside."""
    period = 2.0 * tf.cast(size, tf.float32)
    inside = positions - period * tf.floor((positions + 0.5) / period)  # + 0.5 keeps the quotient off whole numbers
    return tf.cast(tf.minimum(inside, period - 1 - inside), tf.int32)


def _chance(draws: tf.Tensor, probability: float) -> tf.Tensor:
    return tf.cast(draws < probability, tf.float32)
