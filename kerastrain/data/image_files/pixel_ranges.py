"""Which values are black and white in images of more than 8 bits, found from the data or refused.

Takes the smallest and the largest value of a whole data set, because a single dark image says nothing about the scale; and
arrays, which are scaled to 8 bits. Must not open files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kerastrain.errors import InputError

WHOLE = (0.0, 65535.0)  # Of 16 bits.

_DEPTHS = (10, 12, 14, 16)  # Of sensors, in bits.
_ROUNDING = 1e-3  # Of values that were computed, such as 1.0000001.


@dataclass(frozen=True)
class Extent:
    """The smallest and the largest value of some pixels.

    Args:
        low: float, the smallest value; NaN or infinite if a value is.
        high: float, the largest value.
        is_integer: bool, whether the values are integers.
    """

    low: float
    high: float
    is_integer: bool


def extent(values: np.ndarray) -> Extent:
    """Measures pixels.

    Args:
        values: numeric array with at least one value.

    Returns:
        Extent.
    """
    return Extent(float(values.min()), float(values.max()), values.dtype.kind in "iub")


def found(pixels: Extent, where: str) -> tuple[float, float]:
    """Finds the values of black and white from all pixels of a data set.

    | values | black and white |
    |---|---|
    | integers up to 1 | 0 and 1 |
    | integers up to 255, the largest above 127 | 0 and 255 |
    | integers up to 65535 | 0 and the largest number of 10, 12, 14 or 16 bits, whatever suffices |
    | floats in [0, 1] | 0 and 1 |
    | floats in [-1, 1], not all within [-0.5, 0.5] | -1 and 1 |
    | floats in [0, 255], the largest above 127 | 0 and 255 |

    Args:
        pixels: Extent of the data set.
        where: str, the data set in messages.

    Returns:
        (black, white), two floats.

    Raises:
        InputError: the scale cannot be known; the message lists the choices.

    Example:
        >>> found(Extent(3, 4012, True), "the files"), found(Extent(-0.9, 0.8, False), "the array")
        ((0.0, 4095.0), (-1.0, 1.0))
    """
    low, high = pixels.low, pixels.high
    if not np.isfinite([low, high]).all():
        raise InputError(
            f"the pixels of {where} must be finite. Received: NaN or infinite values. Remove those images."
        )
    if low >= 0 and (high == 0 or 127 < high <= 255):
        return 0.0, 255.0
    if pixels.is_integer and low >= 0:
        if high == 1:
            return 0.0, 1.0
        if 255 < high <= WHOLE[1]:
            return 0.0, float(white(high))
    if not pixels.is_integer and high <= 1 + _ROUNDING:
        if low >= -_ROUNDING:
            return 0.0, 1.0
        if low >= -1 - _ROUNDING and max(-low, high) > 0.5:
            return -1.0, 1.0
    raise InputError(_unknown(pixels, where))


def white(high: float) -> int:
    """The largest number of the depth that integers have.

    Args:
        high: float in [0, 65535], the largest of them.

    Returns:
        int, 1023, 4095, 16383 or 65535.
    """
    return next(2**bits - 1 for bits in _DEPTHS if high < 2**bits)


def check(pixels: Extent, pixel_range: Sequence[float], where: str) -> None:
    """Raises if values are so far from black and white that these must belong to other data.

    Args:
        pixels: Extent of an image or of a data set.
        pixel_range: (black, white).
        where: str, the pixels in messages.

    Raises:
        InputError: a value is not finite, or further beyond black or white than they are from each other; or all are floats
            within 1/1024 of black.
    """
    black, white = pixel_range
    width = white - black
    is_scaled_otherwise = not pixels.is_integer and black < pixels.high < black + width / 1024
    if is_scaled_otherwise or not (black - width <= pixels.low and pixels.high <= white + width):
        raise InputError(
            f"the pixels of {where} must fit `pixel_range`, black {black:g} and white {white:g}. Received: "
            f"{reach(pixels)}. Scale them alike, or change `pixel_range` (data.pixel_range)."
        )


def check_contrast(pixels: Extent, pixel_range: Sequence[float], where: str) -> None:
    """Raises if a whole data set would be black or white.

    Args:
        pixels: Extent of the data set.
        pixel_range: (black, white).
        where: str, the data set in messages.

    Raises:
        InputError: as for `check`, or all values lie within 1/128 of the range.
    """
    check(pixels, pixel_range, where)
    black, white = pixel_range
    if 0 < pixels.high - pixels.low < (white - black) / 128:
        raise InputError(
            f"the pixels of {where} must use `pixel_range`, black {black:g} and white {white:g}. Received: "
            f"{reach(pixels)}, so every image would have one colour. Scale them alike, or change `pixel_range` "
            "(data.pixel_range)."
        )


def of_files(
    extents: Mapping[str, Extent], pixel_range: tuple[float, float] | None, count: int
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Finds black and white of image files, or checks those that were given.

    Args:
        extents: mapping from the path of each file of more than 8 bits to its Extent.
        pixel_range: (black, white) as given, or None.
        count: int, the number of all files.

    Returns:
        Tuple of (black, white), or None if no file has more than 8 bits and none were given; and of a tuple of str, what
        was found out.

    Raises:
        InputError: the scale cannot be known, there are integers and floats, or the pixels do not use `pixel_range`.
    """
    if not extents:
        return pixel_range, ()
    first = next(iter(extents))
    where = f"{len(extents):,} image files of more than 8 bits, such as {first!r},"
    if len({one.is_integer for one in extents.values()}) > 1 and pixel_range is None:
        raise InputError(
            f"images of more than 8 bits must be integers or floats. Received: both, in {where.rstrip(',')}. Convert some "
            "of them, or choose `pixel_range` (data.pixel_range)."
        )
    together = Extent(
        min(one.low for one in extents.values()),
        max(one.high for one in extents.values()),
        all(one.is_integer for one in extents.values()),
    )
    black, white = found(together, where) if pixel_range is None else pixel_range
    check_contrast(together, (black, white), where)
    note = f"{len(extents):,} of {count:,} images have {reach(together)}: {black:g} is black and {white:g} white"
    return (black, white), (note,)


def scaled(values: np.ndarray, pixel_range: Sequence[float]) -> np.ndarray:
    """Scales pixels to 8 bits.

        round(255 * (value - black) / (white - black)), limited to [0, 255]

    For the whole range of 16-bit integers it is the upper 8 bits.

    Args:
        values: integer or float array of any shape.
        pixel_range: (black, white).

    Returns:
        uint8 array of the same shape.
    """
    if tuple(pixel_range) == WHOLE and values.dtype.kind in "iu":
        return (np.clip(values, 0, WHOLE[1]).astype(np.int64) >> 8).astype(np.uint8)
    black, white = pixel_range
    precise = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64)
    return np.rint(np.clip((precise - black) * (255 / (white - black)), 0, 255)).astype(np.uint8)


def reach(pixels: Extent) -> str:
    """Describes pixels.

    Args:
        pixels: Extent.

    Returns:
        str, such as "integers from 0 to 4012".
    """
    return f"{'integers' if pixels.is_integer else 'floats'} from {pixels.low:.6g} to {pixels.high:.6g}"


def _unknown(pixels: Extent, where: str) -> str:
    low, high = pixels.low, pixels.high
    choices = [f"[{min(low, 0):g}, {high:g}] if {high:g} is white"]
    if low >= 0:
        choices += ["[0, 255] if they are dark images of 8 bits"] * (high <= 255)
    elif pixels.is_integer and low >= -128 and high <= 127:
        choices = ["[-128, 127] if 128 was subtracted; if they are uint8 in the wrong type, view them as uint8"]
    elif max(-low, high) <= 0.5 + _ROUNDING:
        choices = ["[-0.5, 0.5] if 0.5 was subtracted", "[-1, 1] if their contrast is low"]
    else:
        choices = [f"[{low:g}, {high:g}] if these are black and white"]
        choices += ["[0, 1] if what is beyond was caused by resampling"] * (low > -0.5 and high < 1.5)
        choices += ["or give the images as they were before they were standardized"] * (not pixels.is_integer)
    return (
        f"it cannot be known which values of {where} are black and white. Received: {reach(pixels)}. Choose "
        f"`pixel_range` (data.pixel_range): {'; '.join(choices)}."
    )
