"""Arrays as images: any type, scale and order of axes becomes uint8 grey or RGB images, or is refused.

Takes arrays, returns arrays and notes about how they were understood. Must not know targets.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from kerastrain.data.image_files import pixel_ranges
from kerastrain.data.image_files.pixel_ranges import Extent
from kerastrain.errors import InputError

_BLOCK_BYTES = 2**26  # Scaled at once, so that a large array of float64 is not copied as a whole.
_CHANNELS = (1, 3, 4)
_DARK = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Pixels:
    """Images and how they were understood.

    Args:
        values: uint8 array (n, height, width) of grey or (n, height, width, 3) of RGB images.
        pixel_range: (black, white) of the original values; None for uint8.
        notes: tuple of str.
    """

    values: np.ndarray
    pixel_range: tuple[float, float] | None
    notes: tuple[str, ...]


def are_images(array: np.ndarray) -> bool:
    """Whether an array can only be meant as images.

    Args:
        array: array (n, ...).

    Returns:
        bool, True for numbers of shape (n, height, width), or with 1, 3 or 4 channels at either end.
    """
    if array.dtype.kind not in "biuf":
        return False
    return array.ndim == 3 or (array.ndim == 4 and bool({array.shape[1], array.shape[3]} & set(_CHANNELS)))


def object_hint(array: np.ndarray) -> str:
    """What to do about images that are Python objects.

    Args:
        array: array.

    Returns:
        str that starts with a space; empty for an array of another type.
    """
    if array.dtype == object:
        return (
            " Images of one size make an array of numbers: numpy.stack(images). Images of several sizes must be files."
        )
    return ""


def pixels(array: np.ndarray, pixel_range: Sequence[float] | None = None, *, where: str) -> Pixels:
    """Converts an array to images of 8 bits.

    | array | images |
    |---|---|
    | (n, height, width), (n, height, width, 1) | grey |
    | (n, height, width, 3) | RGB |
    | (n, height, width, 4) | RGB with opacity, on white |
    | (n, 1, 3 or 4, height, width) | as above, the channels moved to the end |
    | bool | black and white |
    | uint8 | in [0, 255]; only 0 and 1 are black and white |
    | other integers and floats | scaled by `pixel_range`, or by `pixel_ranges.found` |

    Args:
        array: array of numbers, as above.
        pixel_range: (black, white), the values that become 0 and 255; None finds them. Ignored for uint8 and bool.
        where: str, the array in messages.

    Returns:
        Pixels. RGB images of uint8 are not copied.

    Raises:
        InputError: the array has another shape or type, NaN, or values of unknown scale.
    """
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where} must hold numbers to be images. Received: {array.dtype}.{object_hint(array)}")
    array, notes = _channels_last(array, where)
    if 0 in array.shape:
        return Pixels(np.zeros(array.shape, np.uint8), None, ())
    has_opacity = array.ndim == 4 and array.shape[3] == 4
    colours = array[..., :3] if has_opacity else array
    pixel_range, scale_notes = _range(colours, pixel_range, where)
    values = array if array.dtype == np.uint8 and pixel_range is None else _scaled(array, pixel_range or (0, 255))
    if has_opacity:
        values = _on_white(values)
    return Pixels(
        values, None if array.dtype.kind == "b" or array.dtype == np.uint8 else pixel_range, notes + scale_notes
    )


def _channels_last(array: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array as (n, height, width) or (n, height, width, 3 or 4)."""
    notes = ()
    if array.ndim == 4 and array.shape[3] not in _CHANNELS and array.shape[1] in _CHANNELS:
        notes = (f"the channels of {where} come first, {_shape(array.shape[1:])}, and are moved to the end",)
        array = np.moveaxis(array, 1, 3)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 3:
        return array, notes
    if array.ndim != 4 or array.shape[3] not in _CHANNELS:
        raise InputError(
            f"{where} must have the shape (n, height, width) of grey images, or (n, height, width, 3) of RGB images. "
            f"Received: {_shape(array.shape)}. {_shape_hint(array.shape)}"
        )
    if array.shape[3] == 4:
        notes += (f"the fourth channel of {where} counts as opacity: the pictures are shown on white",)
    return array, notes


def _range(
    array: np.ndarray, pixel_range: Sequence[float] | None, where: str
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Black and white of the values; None for uint8 in [0, 255]."""
    extent = _extent(array, where)
    name = array.dtype.name
    if array.dtype == np.uint8:
        if extent.high == 1:
            return (0.0, 1.0), (f"{where} are {name} of 0 and 1 only: 0 is black and 1 white",)
        dark = f"the largest of {where} is {extent.high:.0f} of 255, so the images are dark; if it is white, scale them"
        return None, (dark,) if 0 < extent.high < _DARK else ()
    if array.dtype.kind == "b":
        return (0.0, 1.0), (f"{where} are {name}: False is black and True white",)
    if pixel_range is None:
        black, white = pixel_ranges.found(extent, where)
    else:
        black, white = pixel_range
        pixel_ranges.check_contrast(extent, pixel_range, where)
    digits = ".6g" if extent.is_integer else ".3g"
    values = f"{name} from {extent.low:{digits}} to {extent.high:{digits}}"
    return (black, white), (f"{where} are {values}: {black:g} is black and {white:g} white",)


def _extent(array: np.ndarray, where: str) -> Extent:
    extents = [pixel_ranges.extent(block) for block in _blocks(array)]
    if not np.isfinite([(extent.low, extent.high) for extent in extents]).all():
        rows = [index for index, image in enumerate(array) if not np.isfinite(image).all()]
        some = ", ".join(map(str, rows[:3])) + (", …" if len(rows) > 3 else "")
        raise InputError(
            f"{where} must hold finite numbers. Received: NaN or infinite numbers in {len(rows):,} of {len(array):,} images, "
            f"at index {some}. Remove those images, or replace the numbers."
        )
    return Extent(min(extent.low for extent in extents), max(extent.high for extent in extents), extents[0].is_integer)


def _scaled(array: np.ndarray, pixel_range: Sequence[float]) -> np.ndarray:
    scaled = np.empty(array.shape, np.uint8)
    start = 0
    for block in _blocks(array):
        numbers = block.astype(np.uint8) if block.dtype.kind == "b" else block
        scaled[start : start + len(block)] = pixel_ranges.scaled(numbers, pixel_range)
        start += len(block)
    return scaled


def _on_white(values: np.ndarray) -> np.ndarray:
    shown = np.empty((*values.shape[:3], 3), np.uint8)
    start = 0
    for block in _blocks(values):
        opacity = block[..., 3:].astype(np.float32) / 255
        shown[start : start + len(block)] = np.rint(block[..., :3] * opacity + 255 * (1 - opacity))
        start += len(block)
    return shown


def _blocks(array: np.ndarray):
    rows = max(1, _BLOCK_BYTES // max(1, array.nbytes // len(array)))
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _shape_hint(shape: Sequence[int]) -> str:
    if len(shape) == 2:
        grey, colour = math.isqrt(shape[1]), math.isqrt(shape[1] // 3)
        if grey**2 == shape[1]:
            return f"If each row is a flattened image, reshape them: inputs.reshape(-1, {grey}, {grey})."
        if 3 * colour**2 == shape[1]:
            return (
                f"If each row is a flattened image, reshape them: inputs.reshape(-1, {colour}, {colour}, 3), or "
                f"inputs.reshape(-1, 3, {colour}, {colour}) if all red values come first."
            )
        return "If each row is a flattened image, reshape it to (n, height, width)."
    if len(shape) == 4:
        return "Choose or compute three channels."
    return "Volumes and films are not supported: choose one slice or picture of each." if len(shape) > 4 else ""
