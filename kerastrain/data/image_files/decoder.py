"""Decodes an image file to uint8 RGB of a given size, or raises `ImageFault`.

Takes a path, returns a NumPy array. Training, evaluation and prediction decode with the same function, so that a model
sees the same pixels in all of them. Must not import TensorFlow.
"""

import errno
import os
import stat

import numpy as np
from PIL import Image

from kerastrain.data.image_files import file_signatures, pictures, pixel_ranges
from kerastrain.data.image_files.faults import ImageFault
from kerastrain.data.image_files.pixel_ranges import Extent
from kerastrain.data.image_files.resizing import resized
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError

__all__ = ["ImageFault", "access_reason", "decode", "decode_content", "deep_extent", "examine", "load_image", "read"]

LARGEST_FILE_BYTES = 2**30

BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_NOT_A_FILE = "it is a pipe, a socket or a device, not a file"
_CUT_OFF = ("truncat", "eof", "unexpected end", "not enough data", "incomplete")
_MISSING_DECODERS = {
    "AVIF": "it is an AVIF image, which Pillow reads from 11.3 on: pip install --upgrade pillow",
    "HEIF": "it is a HEIC image, which needs pillow-heif: pip install 'kerastrain[heic]'",
}
_DIMMEST_WHITE = 4095  # The largest value of 12 bits: an image of 16 bits below it is nearly black or has fewer bits.


def load_image(path: str | os.PathLike, image_size: tuple[int, int], decoding: Decoding | None = None) -> np.ndarray:
    """Decodes an image file, upright, as RGB of exactly `image_size`.

    The first bytes of the file determine its format, never its name. The EXIF orientation is applied. Of an animation or
    a file of several pictures, the first is decoded. Transparent pixels are shown on white. Values of more than 8 bits are
    scaled by `decoding.pixel_range`, and without it by the whole range of 16 bits. Colour profiles are ignored. The
    picture is resized by antialiased bilinear resampling; a JPEG far larger than `image_size` is decoded at 1/2, 1/4 or
    1/8 of its size, never below twice `image_size`.

    Args:
        path: path of an AVIF, BMP, GIF, HEIC (extra `heic`), JPEG, PNG, PPM, TIFF or WebP file of at most 1 GiB.
        image_size: (height, width) in pixels, both int >= 1.
        decoding: Decoding, such as `models.decoding(model)`; None to stretch pictures of at most 89 megapixels.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ImageFault: the file is empty, damaged, too large, not an image, of unknown scale, or not a regular file. It is an
            InputError.

    Example:
        >>> load_image("photo.jpg", (224, 224)).shape  # doctest: +SKIP
        (224, 224, 3)
    """
    return decode(path, read(path), image_size, decoding)


def read(path: str | os.PathLike) -> bytes:
    """Reads an image file without decoding it; reads only its beginning if that is not the beginning of an image.

    Args:
        path: path of the file.

    Returns:
        bytes of the file.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ImageFault: the file is empty, too large, does not start like an image, or is not a regular file.
    """
    try:
        with open(path, "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageFault(path, "unreadable", _NOT_A_FILE)
            head = file.read(file_signatures.HEAD_BYTES)
            _check_head(path, head, status.st_size)
            return head + file.read()
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise ImageFault(path, "unreadable", access_reason(path, error)) from None
        raise FileNotFoundError(f"no image at {os.fspath(path)!r}: there is no such file.") from None
    except OSError as error:
        raise ImageFault(path, "unreadable", access_reason(path, error)) from error


def decode_content(
    name: str, content: bytes, image_size: tuple[int, int], decoding: Decoding | None = None
) -> np.ndarray:
    """Decodes an image file that is stored inside another file, as `load_image` does.

    Args:
        name: str, name of the image in messages.
        content: bytes of an image file.
        image_size: (height, width) in pixels, both int >= 1.
        decoding: as for `load_image`.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        ImageFault: the content is empty, damaged, too large, not an image, or of unknown scale.
    """
    _check_head(name, content[: file_signatures.HEAD_BYTES], len(content))
    return decode(name, content, image_size, decoding)


def decode(
    path: str | os.PathLike, content: bytes, image_size: tuple[int, int], decoding: Decoding | None = None
) -> np.ndarray:
    """Decodes the content of an image file, as `load_image` does.

    Args:
        path: path of the file, for messages.
        content: bytes of the file, as returned by `read`.
        image_size: (height, width) in pixels, both int >= 1.
        decoding: as for `load_image`.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        ImageFault: the content is damaged, has too many pixels, or pixels of unknown range.
    """
    decoding = decoding or Decoding()
    picture, full_size = _picture(path, content, image_size, decoding)
    if isinstance(picture, np.ndarray):
        picture = _eight_bits(path, picture, decoding)
    return np.asarray(resized(picture, image_size, decoding.resize, full_size=full_size))


def examine(
    path: str | os.PathLike, content: bytes, image_size: tuple[int, int], decoding: Decoding | None = None
) -> tuple[np.ndarray | None, Extent | None]:
    """Decodes the content of an image file, unless its scale has to be found from all files first.

    Args:
        path: path of the file, for messages.
        content: bytes of the file, as returned by `read`.
        image_size: (height, width) in pixels, both int >= 1.
        decoding: as for `load_image`.

    Returns:
        Tuple of the image as from `decode`, or None if it has more than 8 bits and `decoding` has no range; and the Extent
        of its pixels, or None if it has 8 bits.

    Raises:
        ImageFault: as for `decode`.
    """
    decoding = decoding or Decoding()
    picture, full_size = _picture(path, content, image_size, decoding)
    extent = None
    if isinstance(picture, np.ndarray):
        extent = _extent(path, picture, decoding)
        if decoding.pixel_range is None:
            return None, extent
        picture = _eight_bits(path, picture, decoding)
    return np.asarray(resized(picture, image_size, decoding.resize, full_size=full_size)), extent


def deep_extent(name: str, content: bytes) -> Extent | None:
    """Measures the pixels of an image file if it has more than 8 bits; decodes nothing else.

    Args:
        name: str, name of the image in messages.
        content: bytes of an image file.

    Returns:
        Extent; None for 8 bits, or if the content is not an image that can be decoded.
    """
    try:
        _check_head(name, content[: file_signatures.HEAD_BYTES], len(content))
        with pictures.opened(content, file_signatures.image_format(content), Decoding().largest_pixels) as image:
            is_deep = pictures.is_deep(image)
        return examine(name, content, (1, 1))[1] if is_deep else None
    except (ImageFault, *BOMBS, *pictures.DECODING_ERRORS):
        return None  # Decoding it reports the fault.


def access_reason(path: str | os.PathLike, error: OSError) -> str:
    """Explains why a file could not be opened.

    Args:
        path: path of the file.
        error: OSError that opening it, or asking for its status, raised.

    Returns:
        str, the rest of a sentence about the file, such as "permission denied".
    """
    if isinstance(error, FileNotFoundError):
        return f"it is a link to {os.readlink(path)!r}, which is missing" if os.path.islink(path) else "it is missing"
    if isinstance(error, IsADirectoryError):
        return "it is a link to a folder, which is not followed" if os.path.islink(path) else "it is a folder"
    if error.errno == errno.ELOOP:
        return "it is a link that leads back to itself"
    if error.errno == errno.ENXIO:
        return _NOT_A_FILE
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _check_head(path: str | os.PathLike, head: bytes, size_bytes: int) -> None:
    if not head:
        raise ImageFault(path, "empty", "the file is empty")
    file_format = file_signatures.image_format(head)
    if file_format is None:
        raise ImageFault(path, "no image", f"it is {file_signatures.description(head)}")
    if not pictures.reads(file_format):
        raise ImageFault(path, "no image", _MISSING_DECODERS[file_format])
    if size_bytes > LARGEST_FILE_BYTES:
        raise ImageFault(path, "too large", f"it has {size_bytes:,} bytes, and the limit is {LARGEST_FILE_BYTES:,}")


def _opener(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait forever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _picture(
    path: str | os.PathLike, content: bytes, image_size: tuple[int, int], decoding: Decoding
) -> tuple[Image.Image | np.ndarray, tuple[int, int]]:
    """RGB picture, or array of more than 8 bits, and its (width, height) before it was decoded at a reduced size."""
    file_format = file_signatures.image_format(content)
    limit = decoding.largest_pixels
    try:
        with pictures.opened(content, file_format, limit) as image:
            width, height = image.size
            if width * height > limit:
                raise ImageFault(path, "too large", _too_large(decoding))
            if file_format == "JPEG":
                image.draft(None, (2 * max(image_size), 2 * max(image_size)))
            drafted_size = image.size
            picture = pictures.loaded(path, content, file_format, image)
            if isinstance(picture, np.ndarray):
                return picture, picture.shape[1::-1]
            if drafted_size == (width, height):
                return _rgb(path, picture), picture.size
            return _rgb(path, picture), (width, height) if picture.size == drafted_size else (height, width)
    except BOMBS as error:
        raise ImageFault(path, "too large", _too_large(decoding)) from error
    except ImageFault:
        raise
    except pictures.DECODING_ERRORS as error:
        raise ImageFault(path, *_kind_and_reason(file_format, content, error)) from error


def _too_large(decoding: Decoding) -> str:
    return (
        f"its picture has more than {decoding.largest_megapixels:,.4g} megapixels. If the memory suffices, raise "
        "`largest_megapixels` (data.largest_megapixels)"
    )


def _rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        raise ImageFault(path, "unsupported", "its pixels are CIELAB colours")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _extent(path: str | os.PathLike, values: np.ndarray, decoding: Decoding) -> Extent:
    """Extent of pixels of more than 8 bits, without their opacity."""
    has_opacity = values.ndim == 3 and values.shape[2] in (2, 4)
    extent = pixel_ranges.extent(values[..., :-1] if has_opacity else values)
    if not np.isfinite([extent.low, extent.high]).all():
        raise ImageFault(path, "unsupported", "its pixels include NaN or infinite numbers")
    if decoding.pixel_range is None and extent.is_integer and not 0 <= extent.low <= extent.high <= 65535:
        reason = f"its pixels are integers from {extent.low:g} to {extent.high:g}, outside 0 to 65535"
        raise ImageFault(path, "unsupported", f"{reason}. Choose `pixel_range` (data.pixel_range)")
    return extent


def _eight_bits(path: str | os.PathLike, values: np.ndarray, decoding: Decoding) -> Image.Image:
    """RGB picture of pixels of more than 8 bits."""
    extent = _extent(path, values, decoding)
    try:
        pixel_range = _own_range(extent) if decoding.pixel_range is None else decoding.pixel_range
        pixel_ranges.check(extent, pixel_range, "the picture")
    except InputError as error:
        raise ImageFault(path, "unsupported", str(error).rstrip(".")) from None
    if values.ndim == 2:
        return Image.fromarray(pixel_ranges.scaled(values, pixel_range)).convert("RGB")
    if values.shape[2] == 3:
        return Image.fromarray(pixel_ranges.scaled(values, pixel_range))
    colours = Image.fromarray(pixel_ranges.scaled(values[..., :-1].squeeze(), pixel_range)).convert("RGB")
    colours.putalpha(Image.fromarray(pixel_ranges.scaled(values[..., -1], pixel_ranges.WHOLE)))
    return _rgb(path, colours)


def _own_range(extent: Extent) -> tuple[float, float]:
    """Black and white of a single file."""
    if not extent.is_integer:
        return pixel_ranges.found(extent, "the picture")
    if 0 < extent.high <= _DIMMEST_WHITE:
        raise InputError(
            f"its pixels of 16 bits reach {extent.high:g}, and one file does not tell whether white is "
            f"{pixel_ranges.white(extent.high)} or 65535. Choose `pixel_range` (data.pixel_range), or convert it "
            "to 8 bits."
        )
    return pixel_ranges.WHOLE


def _kind_and_reason(file_format: str, content: bytes, error: Exception) -> tuple[str, str]:
    """The arguments `kind` and `reason` of `ImageFault` for an error of the decoder."""
    shortened = file_format == "WEBP" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    message = str(error).rstrip(".")
    if shortened or any(word in message.lower() for word in _CUT_OFF):
        return "truncated", f"its {file_format} data end before the picture does"
    if isinstance(error, Image.UnidentifiedImageError) or not message:
        return "damaged", f"it starts like a {file_format} file, but the rest is not one"
    return "damaged", f"its {file_format} data are damaged ({message})"
