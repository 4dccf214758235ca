"""Decodes an image file to uint8 RGB of a given size, or raises `ImageFault`.

Takes a path, returns a NumPy array. Training, evaluation and prediction decode with the same function, so that a model
sees the same pixels in all of them. Must not import TensorFlow.
"""

import errno
import io
import math
import os
import stat
import struct
import zlib

import numpy as np
from PIL import Image

from kerastrain.data.image_files import file_signatures
from kerastrain.errors import InputError

LARGEST_FILE_BYTES = 2**30

# What Pillow raises for broken files besides its own errors; found by changing bytes of real files at random.
_DECODING_ERRORS = (
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
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_NOT_A_FILE = "it is a pipe, a socket or a device, not a file"
_CUT_OFF = ("truncat", "eof", "unexpected end", "not enough data", "incomplete")

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


class ImageFault(InputError):
    """A file cannot be used as an image.

    Args:
        path: path of the file.
        kind: str, a key of `quarantine.KINDS` such as "truncated".
        reason: str, the rest of a sentence about the file, such as "the file is empty".
    """

    def __init__(self, path: str | os.PathLike, kind: str, reason: str):
        self.kind, self.reason = kind, reason
        super().__init__(f"cannot read {os.fspath(path)!r} as an image: {reason}.")


def load_image(path: str | os.PathLike, image_size: tuple[int, int]) -> np.ndarray:
    """Decodes an image file, upright, as RGB of exactly `image_size`.

    The first bytes of the file determine its format, never its name. The EXIF orientation is applied. Of an animation or
    a file of several pictures, the first is decoded. Transparent pixels are shown on white. Values of 16 bits keep their
    upper 8, which maps the whole range to [0, 255]. Colour profiles are ignored. The picture is stretched to `image_size`
    by antialiased bilinear resampling; a JPEG far larger than that is decoded at 1/2, 1/4 or 1/8 of its size, never below
    twice `image_size`.

    Args:
        path: path of a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file of at most 1 GiB and `PIL.Image.MAX_IMAGE_PIXELS`
            (89,478,485) pixels.
        image_size: (height, width) in pixels, both int >= 1.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ImageFault: the file is empty, damaged, too large, not an image, or not a regular file. It is an InputError.

    Example:
        >>> load_image("photo.jpg", (224, 224)).shape  # doctest: +SKIP
        (224, 224, 3)
    """
    return decode(path, read(path), image_size)


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


def decode_content(name: str, content: bytes, image_size: tuple[int, int]) -> np.ndarray:
    """Decodes an image file that is stored inside another file, as `load_image` does.

    Args:
        name: str, name of the image in messages.
        content: bytes of an image file.
        image_size: (height, width) in pixels, both int >= 1.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        ImageFault: the content is empty, damaged, too large, or not an image.
    """
    _check_head(name, content[: file_signatures.HEAD_BYTES], len(content))
    return decode(name, content, image_size)


def decode(path: str | os.PathLike, content: bytes, image_size: tuple[int, int]) -> np.ndarray:
    """Decodes the content of an image file, as `load_image` does.

    Args:
        path: path of the file, for messages.
        content: bytes of the file, as returned by `read`.
        image_size: (height, width) in pixels, both int >= 1.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        ImageFault: the content is damaged, has too many pixels, or pixels of unknown range.
    """
    height, width = image_size
    file_format = file_signatures.image_format(content)
    try:
        with Image.open(io.BytesIO(content), formats=[file_format]) as image:
            if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            image.draft(None, (2 * max(image_size), 2 * max(image_size)))
            image.load()  # Reads the EXIF of a PNG, and turns a TIFF upright.
            turn = _UPRIGHT.get(_orientation(image))
            upright = image if turn is None else image.transpose(turn)
            return np.asarray(_rgb(path, upright).resize((width, height), Image.Resampling.BILINEAR))
    except _BOMBS as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,} pixels, the limit PIL.Image.MAX_IMAGE_PIXELS"
        raise ImageFault(path, "too large", f"its picture has more than {limit}") from error
    except ImageFault:
        raise
    except _DECODING_ERRORS as error:
        raise ImageFault(path, *_kind_and_reason(file_format, content, error)) from error


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
    if file_signatures.image_format(head) is None:
        raise ImageFault(path, "no image", f"it is {file_signatures.description(head)}")
    if size_bytes > LARGEST_FILE_BYTES:
        raise ImageFault(path, "too large", f"it has {size_bytes:,} bytes, and the limit is {LARGEST_FILE_BYTES:,}")


def _opener(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait forever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except _DECODING_ERRORS:
        return None  # The picture can still be used if its EXIF data are broken.


def _rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_integers(path, image)
    if image.mode in ("F", "LAB"):
        pixels = "floating-point numbers of unknown range" if image.mode == "F" else "CIELAB colours"
        raise ImageFault(path, "unsupported", f"its pixels are {pixels}")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_integers(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageFault(path, "unsupported", "its pixels are integers outside 0 to 65535, of unknown range")
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def _kind_and_reason(file_format: str, content: bytes, error: Exception) -> tuple[str, str]:
    """The arguments `kind` and `reason` of `ImageFault` for an error of the decoder."""
    shortened = file_format == "WEBP" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    message = str(error).rstrip(".")
    if shortened or any(word in message.lower() for word in _CUT_OFF):
        return "truncated", f"its {file_format} data end before the picture does"
    if isinstance(error, Image.UnidentifiedImageError) or not message:
        return "damaged", f"it starts like a {file_format} file, but the rest is not one"
    return "damaged", f"its {file_format} data are damaged ({message})"
