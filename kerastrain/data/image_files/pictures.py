"""Opens the content of an image file with Pillow: the picture upright, and all bits of images of more than 8 bits.

Takes bytes, returns a picture of Pillow or an array. Must not scale or resize.
"""

import contextlib
import functools
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from importlib import metadata

import numpy as np
import PIL
from PIL import Image, ImageFile, features

from kerastrain.data.image_files.faults import ImageFault
from kerastrain.system.optional_imports import need

# What Pillow raises for broken files besides its own errors; found by changing bytes of real files at random.
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)

# EXIF tag 274, the orientation of the camera, and the operation that turns the picture upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLANAR_CONFIGURATION = 284
_LIMIT = threading.Lock()

# Pillow has no mode for several channels of 16 bits and reads their upper bytes. Read in the other byte order, the same
# file gives the lower ones. "LA;16B" has no other order; as RGBA, its four bytes are the two of grey and those of alpha.
_LOWER_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("L", "B"), ("B", "L"), ("N", "B" if np.little_endian else "L"))
} | {"LA;16B": "RGBA"}


def reads(file_format: str) -> bool:
    """Whether files of a format can be read in this environment.

    Args:
        file_format: str, one of `file_signatures.FORMATS`.

    Returns:
        bool.
    """
    if file_format == "AVIF":
        return "avif" in features.modules and bool(features.check("avif"))  # Pillow below 11.3 does not know it.
    return file_format != "HEIF" or _registered_heif()


def versions() -> str:
    """The versions of the libraries that decode, which decide what can be read and how."""
    try:
        heif = metadata.version("pillow-heif")
    except metadata.PackageNotFoundError:
        heif = None
    return f"{PIL.__version__} {reads('AVIF')} {heif}"


@contextlib.contextmanager
def opened(content: bytes, file_format: str, largest_pixels: float) -> Iterator[ImageFile.ImageFile]:
    """Opens a file without decoding it.

    Args:
        content: bytes of the file.
        file_format: str, one of `file_signatures.FORMATS` for which `reads` is True.
        largest_pixels: float, the largest number of pixels that Pillow may not refuse.

    Yields:
        PIL.ImageFile.ImageFile.
    """
    with _allowed(largest_pixels):
        image = Image.open(io.BytesIO(content), formats=[file_format])
    with image:
        yield image


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an opened file has more than 8 bits, and its bits are read.

    Args:
        image: PIL.ImageFile.ImageFile from `opened`.

    Returns:
        bool.
    """
    return image.mode.startswith(("I", "F")) or _raw_mode(image) in _LOWER_BYTES


def is_turned(image: ImageFile.ImageFile) -> bool:
    """Whether width and height of an opened file are exchanged when it is shown upright.

    Args:
        image: PIL.ImageFile.ImageFile from `opened`.

    Returns:
        bool.
    """
    try:
        return image.getexif().get(_ORIENTATION, 1) >= 5
    except DECODING_ERRORS:
        return False  # As `_upright` treats broken EXIF data.


def loaded(path: str, content: bytes, file_format: str, image: ImageFile.ImageFile) -> Image.Image | np.ndarray:
    """Decodes an opened file.

    Args:
        path: str, path of the file, for messages.
        content: bytes of the file.
        file_format: str, one of `file_signatures.FORMATS`.
        image: PIL.ImageFile.ImageFile from `opened`.

    Returns:
        PIL.Image.Image of 8 bits, upright; or for more bits an array, upright, (height, width) of integers or floats, or
        uint16 (height, width, 2, 3 or 4) for grey with alpha, RGB, and RGB with alpha.

    Raises:
        ImageFault: the pixels cannot be interpreted.
    """
    raw_mode, pixels = _raw_mode(image), image.width * image.height
    if raw_mode not in _LOWER_BYTES:
        with _allowed(pixels):  # Only large pictures wait for each other.
            image.load()  # Reads the EXIF of a PNG, and turns a TIFF upright.
        upright = _upright(image)
        return np.asarray(upright) if upright.mode.startswith(("I", "F")) else upright
    if getattr(image, "tag_v2", {}).get(_PLANAR_CONFIGURATION) == 2:
        raise ImageFault(path, "unsupported", "its channels of 16 bits are stored one after the other (planar)")
    with opened(content, file_format, pixels) as other, _allowed(pixels):
        other.tile = [_with_raw_mode(tile, _LOWER_BYTES[raw_mode]) for tile in other.tile]
        image.load()
        other.load()
        upper, lower = (np.asarray(_upright(one)).astype(np.uint16) for one in (image, other))
    if raw_mode == "LA;16B":
        return lower[..., ::2] << 8 | lower[..., 1::2]
    return upper << 8 | lower


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments = image.tile[0].args if image.tile else ""
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else ""


def _with_raw_mode(tile, raw_mode: str):
    return tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION))
    except DECODING_ERRORS:
        turn = None  # The picture can still be used if its EXIF data are broken.
    return image if turn is None else image.transpose(turn)


@contextlib.contextmanager
def _allowed(pixels: float) -> Iterator[None]:
    """Raises Pillow's limit, which holds for the whole process, if a larger one was chosen."""
    if Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@functools.cache
def _registered_heif() -> bool:
    """Registers the plugin of the extra `heic`, if it is installed."""
    try:
        library = need("pillow_heif", extra="heic", to="read HEIC images")
    except ImportError:
        return False
    library.register_heif_opener()
    return True
