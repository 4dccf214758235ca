"""One image file as an array: every odd kind of file ends as uint8 RGB of one size, or as an `ImageFault`.

Takes a path, gives a NumPy array. The same function decodes for training, evaluation and prediction, so that a model
never meets pixels at serving that training did not know. Must not import TensorFlow.
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

# What Pillow raises over broken files, besides its own errors; found by changing bytes of real files at random.
_DECODING_FAULTS = (
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
_NO_FILE = "it is a pipe, a socket or a device and no file"
_CUT_OFF = ("truncat", "eof", "unexpected end", "not enough data", "incomplete")

# EXIF tag 274: which way the camera was held, and what turns the picture upright.
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
    """A file that cannot be used as an image.

    Args:
        path: path of the file.
        kind: str, a key of `quarantine.KINDS` such as "truncated".
        reason: str, the rest of a sentence, such as "the file is empty".
    """

    def __init__(self, path: str | os.PathLike, kind: str, reason: str):
        self.kind, self.reason = kind, reason
        super().__init__(f"cannot read {os.fspath(path)!r} as an image: {reason}.")


def load_image(path: str | os.PathLike, image_size: tuple[int, int]) -> np.ndarray:
    """The picture in a file, upright, as RGB of exactly `image_size`.

    What the file is follows from its first bytes, never from its name. EXIF orientation is applied; an animation or a
    file of several pictures gives its first; transparency shows white; of 16 bits the upper 8 are kept, which maps the
    whole range to [0, 255]; colour profiles are ignored. The picture is stretched to `image_size` by antialiased
    bilinear resampling; JPEG files far larger than that are decoded at 1/2, 1/4 or 1/8 of their size, never below twice
    `image_size`.

    Args:
        path: path of a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file of at most 1 GiB and `PIL.Image.MAX_IMAGE_PIXELS`
            (89,478,485) pixels.
        image_size: (height, width) in pixels, both > 0.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ImageFault: the file is empty, broken, too large, no image, or no file; an InputError.

    Example:
        >>> load_image("photo.jpg", (224, 224)).shape  # doctest: +SKIP
        (224, 224, 3)
    """
    return decode(path, read(path), image_size)


def read(path: str | os.PathLike) -> bytes:
    """The content of an image file, of which no more than the beginning is read where that shows no image.

    Raises:
        FileNotFoundError, ImageFault: as for `load_image`, but for what only decoding shows.
    """
    try:
        with open(path, "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageFault(path, "unreadable", _NO_FILE)
            head = file.read(file_signatures.HEAD_BYTES)
            _check_head(path, head, status.st_size)
            return head + file.read()
    except FileNotFoundError as fault:
        if os.path.islink(path):
            raise ImageFault(path, "unreadable", access_reason(path, fault)) from None
        raise FileNotFoundError(f"no image at {os.fspath(path)!r}: there is no such file.") from None
    except OSError as fault:
        raise ImageFault(path, "unreadable", access_reason(path, fault)) from fault


def decode_content(name: str, content: bytes, image_size: tuple[int, int]) -> np.ndarray:
    """The picture in the bytes of a file that lies inside another, as `load_image` says.

    Args:
        name: str, what messages call it.
        content: the bytes of an image file.
        image_size: (height, width) in pixels, both > 0.

    Raises:
        ImageFault: as for `load_image`.
    """
    _check_head(name, content[: file_signatures.HEAD_BYTES], len(content))
    return decode(name, content, image_size)


def decode(path: str | os.PathLike, content: bytes, image_size: tuple[int, int]) -> np.ndarray:
    """The picture in `content`, which `read` gave for `path`, as `load_image` says.

    Raises:
        ImageFault: the content is broken or too large.
    """
    height, width = image_size
    file_format = file_signatures.image_format(content)
    try:
        with Image.open(io.BytesIO(content), formats=[file_format]) as image:
            if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            image.draft(None, (2 * max(image_size), 2 * max(image_size)))
            image.load()  # Only now is the EXIF of a PNG known, and a TIFF has been turned.
            turn = _UPRIGHT.get(_orientation(image))
            upright = image if turn is None else image.transpose(turn)
            return np.asarray(_rgb(path, upright).resize((width, height), Image.Resampling.BILINEAR))
    except _BOMBS as fault:
        limit = f"{Image.MAX_IMAGE_PIXELS:,} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
        raise ImageFault(path, "too large", f"its picture has more than {limit}, which is not decoded") from fault
    except ImageFault:
        raise
    except _DECODING_FAULTS as fault:
        raise ImageFault(path, *_broken(file_format, content, fault)) from fault


def access_reason(path: str | os.PathLike, fault: OSError) -> str:
    """Why the file at `path` could not be opened, as the rest of a sentence."""
    if isinstance(fault, FileNotFoundError):
        return (
            f"it is a link to {os.readlink(path)!r}, which is not there" if os.path.islink(path) else "it is not there"
        )
    if isinstance(fault, IsADirectoryError):
        return "it is a link to a folder, which is not followed" if os.path.islink(path) else "it is a folder"
    if fault.errno == errno.ELOOP:
        return "it is a link that leads back to itself"
    if fault.errno == errno.ENXIO:
        return _NO_FILE
    return (os.strerror(fault.errno) if fault.errno else str(fault)).lower()


def _check_head(path: str | os.PathLike, head: bytes, size_bytes: int) -> None:
    if not head:
        raise ImageFault(path, "empty", "the file is empty")
    if file_signatures.image_format(head) is None:
        raise ImageFault(path, "no image", f"it is {file_signatures.description(head)}")
    if size_bytes > LARGEST_FILE_BYTES:
        raise ImageFault(path, "too large", f"it has {size_bytes:,} bytes, and the limit is {LARGEST_FILE_BYTES:,}")


def _opener(path: str, flags: int) -> int:
    # Opening a pipe that nobody writes to would wait for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except _DECODING_FAULTS:
        return None  # A broken note about a picture does not make the picture worse.


def _rgb(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_whole_numbers(path, image)
    if image.mode in ("F", "LAB"):
        what = "floating-point numbers, whose range no one can know" if image.mode == "F" else "CIELAB colours"
        raise ImageFault(path, "unsupported", f"its pixels are {what}")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_whole_numbers(path: str | os.PathLike, image: Image.Image) -> Image.Image:
    numbers = np.asarray(image)
    if numbers.min() < 0 or numbers.max() > 65535:
        reason = "its pixels are whole numbers outside of 0 to 65535, whose range no one can know"
        raise ImageFault(path, "unsupported", reason)
    return Image.fromarray((numbers >> 8).astype(np.uint8)).convert("RGB")


def _broken(file_format: str, content: bytes, fault: Exception) -> tuple[str, str]:
    """The kind and the reason of what a decoder could not finish."""
    shortened = file_format == "WEBP" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    said = str(fault).rstrip(".")
    if shortened or any(word in said.lower() for word in _CUT_OFF):
        return "truncated", f"its {file_format} data end before the picture does"
    if isinstance(fault, Image.UnidentifiedImageError) or not said:
        return "damaged", f"it begins like a {file_format} file and does not go on like one"
    return "damaged", f"its {file_format} data are damaged ({said})"
