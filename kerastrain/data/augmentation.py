"""Random changes to one image, drawn from a seed and nothing else.

Takes an image and a seed, gives an image of the same shape: pure functions, so that an epoch can be repeated exactly.
They run in the data pipeline, never in the model. Keras's random layers keep a generator that moves with every call,
which is why they are not used here. Must not change labels.
"""

import inspect
import math
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from kerastrain.errors import InputError, unknown

Transform = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Luma of red, green and blue (ITU-R BT.601) and the two colour axes of YIQ.
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def augment(*names: str | Transform, **arguments: Mapping[str, float]) -> Transform:
    """One transformation made of the named ones, in a fixed order whatever the order of the names.

    The order is that of `AUGMENTATIONS`, then functions of your own as given; the pixels are clipped to [0, 255] at
    the end. Each draws from its own stream: adding one leaves what the others draw unchanged. Leave "flip" out where
    mirror images are other things, as with digits and letters.

    Args:
        *names: names of `AUGMENTATIONS` at their default strengths, or functions (image, seed) -> image.
        **arguments: for a name, the arguments to change, such as `noise={"deviation": 4}`; naming it here is enough.

    Returns:
        callable (image float32 (height, width, 3) in [0, 255], seed int (2,)) -> image of the same kind.

    Raises:
        InputError: an unknown name or argument, or a strength out of its range.

    Example:
        >>> changed = augment("crop", colour={"hue": 0.0})(tf.fill((8, 8, 3), 100.0), seed=(0, 0))
        >>> changed.shape
        TensorShape([8, 8, 3])
    """
    wanted = {name: {} for name in names if not callable(name)} | arguments
    for name in wanted:
        if name not in AUGMENTATIONS:
            raise InputError(unknown("augmentation", name, AUGMENTATIONS))
    streams = [(stream, name) for stream, name in enumerate(AUGMENTATIONS) if name in wanted]
    transforms = [(stream, _made(name, wanted[name])) for stream, name in streams]
    transforms += enumerate((name for name in names if callable(name)), start=len(AUGMENTATIONS))

    def augmented(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        shape = image.shape
        for stream, transform in transforms:
            image = transform(image, tf.random.experimental.stateless_fold_in(seed, stream))
        return tf.ensure_shape(tf.clip_by_value(image, 0.0, 255.0), shape)

    return augmented


def flip(*, probability: float = 0.5) -> Transform:
    """Mirrors left and right.

    Args:
        probability: float in [0, 1].
    """
    _check_fraction("flip.probability", probability)

    def flipped(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return tf.cond(_draw(seed, 1)[0] < probability, lambda: tf.reverse(image, [1]), lambda: image)

    return flipped


def crop(*, area_fraction: float = 0.7, aspect_factor: float = 1.2) -> Transform:
    """Cuts out a rectangle and enlarges it to the whole image: changes of scale, place and proportion.

    The rectangle covers a share of the image drawn from [area_fraction, 1]; its proportion differs from the image's
    by a factor drawn log-uniformly from [1 / aspect_factor, aspect_factor], and it is cut to fit into the image.

    Args:
        area_fraction: float in (0, 1], the smallest share of the image; a changed proportion that does not fit in may
            make it 1 / aspect_factor.
        aspect_factor: float >= 1, the largest change of proportion; 1 keeps it.

    Reference: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842, section 6 (there 0.08 and 4/3).
    """
    _check_fraction("crop.area_fraction", area_fraction, positive=True)
    _check_factor("crop.aspect_factor", aspect_factor)

    def cropped(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        draws = _draw(seed, 4)
        height, width = _sides(draws[0], draws[1], (area_fraction, 1.0), aspect_factor)
        top, left = draws[2] * (1 - height), draws[3] * (1 - width)
        box = tf.stack([top, left, top + height, left + width])
        return tf.image.crop_and_resize(image[tf.newaxis], box[tf.newaxis], [0], tf.shape(image)[:2])[0]

    return cropped


def rotation(*, degrees: float = 15.0) -> Transform:
    """Turns the image about its centre; the corners are filled by reflection.

    Args:
        degrees: float in [0, 180], the largest angle to either side.
    """
    if not 0 <= degrees <= 180:
        raise InputError(f"`rotation.degrees` must lie in [0, 180]. Received: {degrees}.")

    def rotated(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        angle = (2 * _draw(seed, 1)[0] - 1) * math.radians(degrees)
        cosine, sine = tf.cos(angle), tf.sin(angle)
        y, x = (tf.cast(tf.shape(image)[0] - 1, tf.float32) / 2, tf.cast(tf.shape(image)[1] - 1, tf.float32) / 2)
        across = [cosine, -sine, x - cosine * x + sine * y]
        down = [sine, cosine, y - sine * x - cosine * y]
        return keras.ops.image.affine_transform(image, tf.stack([*across, *down, 0.0, 0.0]), fill_mode="reflect")

    return rotated


def colour(*, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2, hue: float = 0.02) -> Transform:
    """Changes light and colour by one affine map of RGB.

        pixel' = contrast * pixel @ M + (1 - contrast) * mean,  M = brightness * saturate @ turn

    where `saturate` moves from the pixel's own grey, `turn` rotates about the grey axis in YIQ, and `mean` is the
    mean grey of the image at its new brightness.

    Args:
        brightness: float in [0, 1), factor drawn from [1 - brightness, 1 + brightness].
        contrast: float in [0, 1), likewise, about the mean grey.
        saturation: float in [0, 1], likewise; 0 would be grey.
        hue: float in [0, 0.5], largest turn to either side as a fraction of the colour circle.

    Reference: Karras et al. 2020, https://arxiv.org/abs/2006.06676, appendix B (colour maps composed into one matrix).
    """
    for name, strength in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        _check_fraction(f"colour.{name}", strength)
    if not 0 <= hue <= 0.5:
        raise InputError(f"`colour.hue` must lie in [0, 0.5]. Received: {hue}.")

    def coloured(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        strengths = tf.constant([brightness, contrast, saturation, hue * 2 * math.pi])
        draws = (2 * _draw(seed, 4) - 1) * strengths
        light, spread = 1 + draws[0], 1 + draws[1]
        mean = light * tf.tensordot(tf.reduce_mean(image, axis=(0, 1)), tf.constant(_YIQ[0]), 1)
        matrix = light * spread * colour_matrix(1 + draws[2], draws[3])
        return tf.reshape(tf.reshape(image, (-1, 3)) @ matrix, tf.shape(image)) + (1 - spread) * mean

    return coloured


def colour_matrix(saturation: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """Matrix M of `pixel @ M` that keeps grey, multiplies colourfulness and turns the hue.

    Args:
        saturation: float32 scalar tensor >= 0; 1 keeps, 0 gives grey.
        angle: float32 scalar tensor in radians; a third of a circle sends red towards green, green towards blue.

    Returns:
        float32 tensor (3, 3).
    """
    to_yiq = tf.constant(_YIQ)
    cosine, sine = saturation * tf.cos(angle), saturation * tf.sin(angle)
    turn = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cosine, sine, 0.0, -sine, cosine]), (3, 3))
    return tf.transpose(tf.linalg.inv(to_yiq) @ turn @ to_yiq)


def erasing(*, probability: float = 0.5, area_fraction: float = 0.2) -> Transform:
    """Covers one rectangle with middle grey, so that no single part of the object decides.

    Args:
        probability: float in [0, 1].
        area_fraction: float in (0, 1], the largest share of the image that is covered; the smallest is a tenth of it.

    Reference: Zhong et al. 2017, https://arxiv.org/abs/1708.04896, algorithm 1 (there filled with noise).
    """
    _check_fraction("erasing.probability", probability)
    _check_fraction("erasing.area_fraction", area_fraction, positive=True)

    def erased(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        draws = _draw(seed, 5)
        sides = _sides(draws[1], draws[2], (area_fraction / 10, area_fraction), 3.0)
        rows = _covered(tf.shape(image)[0], sides[0], draws[3])
        columns = _covered(tf.shape(image)[1], sides[1], draws[4])
        covered = rows[:, tf.newaxis] & columns[tf.newaxis] & (draws[0] < probability)
        return tf.where(covered[..., tf.newaxis], 127.5, image)

    return erased


def noise(*, deviation: float = 8.0) -> Transform:
    """Adds independent Gaussian noise to every value.

    Args:
        deviation: float >= 0, the largest standard deviation in grey levels of 0 to 255; the image's own is drawn
            from [0, deviation].
    """
    if not deviation >= 0:
        raise InputError(f"`noise.deviation` must be >= 0. Received: {deviation}.")

    def noisy(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        strength = deviation * _draw(seed, 1)[0]
        each = tf.random.experimental.stateless_fold_in(seed, 0)
        return image + strength * tf.random.stateless_normal(tf.shape(image), each, alg="philox")

    return noisy


def _draw(seed: tf.Tensor, count: int) -> tf.Tensor:
    return tf.random.stateless_uniform((count,), seed, alg="philox")


def _sides(
    area_draw: tf.Tensor, aspect_draw: tf.Tensor, areas: tuple[float, float], aspect_factor: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, as shares of the image's, of a rectangle of drawn area and proportion."""
    area = areas[0] + (areas[1] - areas[0]) * area_draw
    stretch = tf.exp((aspect_draw - 0.5) * math.log(aspect_factor))
    return tf.minimum(tf.sqrt(area) / stretch, 1.0), tf.minimum(tf.sqrt(area) * stretch, 1.0)


def _covered(size: tf.Tensor, share: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    centres = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
    first = draw * (1 - share)
    return (centres >= first) & (centres < first + share)


def _made(name: str, arguments: Mapping[str, float]) -> Transform:
    known = inspect.signature(AUGMENTATIONS[name]).parameters
    for argument in arguments:
        if argument not in known:
            raise InputError(unknown(f"argument of augmentation {name!r}", argument, known))
    return AUGMENTATIONS[name](**arguments)


def _check_fraction(name: str, value: float, *, positive: bool = False) -> None:
    if not 0 <= value <= 1 or (positive and value == 0):
        raise InputError(f"`{name}` must lie in {'(' if positive else '['}0, 1]. Received: {value}.")


def _check_factor(name: str, value: float) -> None:
    if not value >= 1:
        raise InputError(f"`{name}` must be >= 1. Received: {value}.")


AUGMENTATIONS = {
    "flip": flip,
    "crop": crop,
    "rotation": rotation,
    "colour": colour,
    "erasing": erasing,
    "noise": noise,
}
