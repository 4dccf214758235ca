"""Changes of where things are: mirror images, crops and rotations, all of them together one resampling.

Takes strengths, gives `GeometricTransform`s; their product takes each pixel of the result to its place. Each image is read
once, however many warps there are, so that it is blurred once and the edge that a rotation shows is the photograph's.
"""

import math

import tensorflow as tf

from kerastrain.data.augmentation.philox import rounded
from kerastrain.data.augmentation.transforms import GeometricTransform, check_fraction, check_range


def flip(*, probability: float = 0.5, vertical_probability: float = 0.0) -> GeometricTransform:
    """Mirrors left and right, and top and bottom where that is asked for.

    Args:
        probability: float in [0, 1], of a mirror image.
        vertical_probability: float in [0, 1], of standing on the head, as suits views from above or by microscope.
    """
    check_fraction("flip.probability", probability)
    check_fraction("flip.vertical_probability", vertical_probability)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        across, down = _chance(draws[:, 0], probability), _chance(draws[:, 1], vertical_probability)
        return matrix((1 - 2 * across, 0.0, across * (width - 1)), (0.0, 1 - 2 * down, down * (height - 1)))

    return GeometricTransform(2, matrices, stays_inside=True)


def crop(*, shift_fraction: float = 0.125) -> GeometricTransform:
    """Cuts a window of the image's size, moved by whole pixels; beyond the edge it shows the reflection.

    Args:
        shift_fraction: float in [0, 1], the largest move to each side as a share of it; 4 of 32 pixels by default.

    Reference: He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2 (there filled with zeros).
    """
    check_fraction("crop.shift_fraction", shift_fraction)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        # Every whole number of pixels from -limit to limit is equally likely.
        limits = tf.floor(shift_fraction * tf.stack([width, height]))
        shifts = tf.floor(draws * (2 * limits + 1)) - limits
        return matrix((1.0, 0.0, shifts[:, 0]), (0.0, 1.0, shifts[:, 1]))

    return GeometricTransform(2, matrices, stays_inside=False)


def resized_crop(*, area_fraction: float = 0.7, aspect_factor: float = 1.2) -> GeometricTransform:
    """Cuts out a rectangle and enlarges it to the whole image: changes of scale, place and proportion.

    The rectangle covers a share of the image drawn from [area_fraction, 1]; its proportion differs from the image's by a
    factor drawn log-uniformly from [1 / aspect_factor, aspect_factor], and it is cut to fit into the image.

    Args:
        area_fraction: float in (0, 1], the smallest share of the image; a changed proportion that does not fit in may
            make it 1 / aspect_factor.
        aspect_factor: float >= 1, the largest change of proportion; 1 keeps it.

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
    """Turns the image about its centre; the corners are filled by reflection.

    Args:
        degrees: float in [0, 180], the largest angle to either side.
    """
    check_range("rotation.degrees", degrees, 0, 180)

    def matrices(draws: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        angle = (2 * draws[:, 0] - 1) * math.radians(degrees)
        return about_centre(turned(angle), height, width)

    return GeometricTransform(1, matrices, stays_inside=False)


def turned(angle: tf.Tensor) -> tf.Tensor:
    """Matrices that turn an image counter-clockwise by `angle`, float32 (b,) in radians, about its top left corner."""
    cosine, sine = rounded(tf.cos, angle), rounded(tf.sin, angle)
    return matrix((cosine, -sine, 0.0), (sine, cosine, 0.0))


def about_centre(matrices: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """The same changes, about the centre of the image in place of its top left corner."""
    x, y = (width - 1) / 2, (height - 1) / 2
    return matrix((1.0, 0.0, x), (0.0, 1.0, y)) @ matrices @ matrix((1.0, 0.0, -x), (0.0, 1.0, -y))


def matrix(across: tuple, down: tuple) -> tf.Tensor:
    """float32 (b, 3, 3) from the numbers, scalar or (b,), of its first two rows; (1, 3, 3) where all are scalar."""
    numbers = [tf.convert_to_tensor(value, tf.float32) for value in (*across, *down, 0.0, 0.0, 1.0)]
    nothing = tf.zeros_like(next((values for values in numbers if values.shape.rank == 1), tf.zeros(1)))
    return tf.reshape(tf.stack([nothing + values for values in numbers], axis=1), (-1, 3, 3))


def resampled(images: tf.Tensor, matrices: tf.Tensor, *, stays_inside: bool) -> tf.Tensor:
    """The images, each value found between four pixels at the place where its matrix says.

    Args:
        images: uint8 or float32 (b, h, w, 3).
        matrices: float32 (b, 3, 3), from pixels (x, y, 1) of the result to pixels of the image.
        stays_inside: bool, as of `GeometricTransform`: then the work is done by `tf.image.crop_and_resize`.

    Returns:
        float32 (b, h, w, 3); beyond the edge stands the reflection, "d c b a | a b c d | d c b a".
    """
    if not stays_inside:
        shape = tf.TensorSpec(images.shape[1:], tf.float32)
        return tf.map_fn(lambda pair: _read_between(*pair), (images, matrices), fn_output_signature=shape)
    size = tf.shape(images)[1:3]
    last = tf.cast(tf.maximum(size - 1, 1), tf.float32)
    scales, starts = (
        tf.stack([matrices[:, 1, 1], matrices[:, 0, 0]], 1),
        tf.stack([matrices[:, 1, 2], matrices[:, 0, 2]], 1),
    )
    # A rectangle at the edge must not cross it by rounding: crop_and_resize would put a black line there.
    margin = tf.where(tf.abs(scales) < 1, 1e-6, 0.0)
    begin = tf.clip_by_value(starts / last, margin, 1 - margin)
    end = tf.clip_by_value(starts / last + scales, margin, 1 - margin)
    images = tf.cast(images, tf.float32)  # which is faster than crop_and_resize of uint8
    return tf.image.crop_and_resize(images, tf.concat([begin, end], axis=1), tf.range(tf.shape(images)[0]), size)


def sides(
    area_draw: tf.Tensor, aspect_draw: tf.Tensor, areas: tuple[float, float], aspect_factor: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, as shares of the image's, of rectangles of drawn area and proportion."""
    area = areas[0] + (areas[1] - areas[0]) * area_draw
    stretch = rounded(lambda draws: tf.exp((draws - 0.5) * math.log(aspect_factor)), aspect_draw)
    return tf.minimum(tf.sqrt(area) / stretch, 1.0), tf.minimum(tf.sqrt(area) * stretch, 1.0)


# Compiled, for it takes a fraction of the time of `keras.ops.image.affine_transform`: `python benchmarks/input_pipeline.py
# --augment rotation` times both. One image at a time, so that it is compiled once for all sizes of a batch, and no value
# depends on the batch.
@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _read_between(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """One image (h, w, 3) resampled at the places that its matrix (3, 3) gives, whether they lie in it or not."""
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
    upper, lower = (one + right * (other - one) for one, other in (first, second))
    return upper + below * (lower - upper)


def _mirrored(places: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """int32, the pixels of a side of `size` that stand at whole float32 places within or beyond it."""
    sides = 2.0 * tf.cast(size, tf.float32)
    inside = places - sides * tf.floor((places + 0.5) / sides)  # half a pixel from where rounding would count
    return tf.cast(tf.minimum(inside, sides - 1 - inside), tf.int32)


def _chance(draws: tf.Tensor, probability: float) -> tf.Tensor:
    return tf.cast(draws < probability, tf.float32)
