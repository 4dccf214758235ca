"""One image file as an array: every odd kind of file ends as uint8 RGB of one size, or as an `InputError`.

Takes a path, gives a NumPy array. The same function decodes for training, evaluation and prediction, so that a model
never meets pixels at serving that training did not know. Must not import TensorFlow.
"""

import errno
import os
import struct

import numpy as np
from PIL import Image, ImageOps

from kerastrain.errors import InputError

# "JPEG" covers MPO, which many phones write. Formats that start other programs (EPS) stay out.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_DECODING_FAULTS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def load_image(path: str | os.PathLike, image_size: tuple[int, int]) -> np.ndarray:
    """The picture in a file, upright, as RGB of exactly `image_size`.

    EXIF orientation is applied, an animation gives its first frame, transparency shows white, 16-bit grey is scaled
    to 8 bits. The picture is stretched to `image_size` by antialiased bilinear resampling; JPEG files far larger than
    that are decoded at 1/2, 1/4 or 1/8 of their size, never below twice `image_size`.

    Args:
        path: path of a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file.
        image_size: (height, width) in pixels, both > 0.

    Returns:
        uint8 array (height, width, 3) in [0, 255], RGB.

    Raises:
        FileNotFoundError: there is no file at `path`.
        InputError: the file is empty, broken, no image, or a folder.

    Example:
        >>> load_image("photo.jpg", (224, 224)).shape  # doctest: +SKIP
        (224, 224, 3)
    """
    height, width = image_size
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft(None, (2 * max(image_size), 2 * max(image_size)))
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_rgb(upright).resize((width, height), Image.Resampling.BILINEAR))
    except FileNotFoundError:
        raise FileNotFoundError(f"no image at {os.fspath(path)!r}: there is no such file.") from None
    except _DECODING_FAULTS as fault:
        raise InputError(f"cannot read {os.fspath(path)!r} as an image: {_reason(path, fault)}.") from fault


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, np.int64).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range no one can know")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _reason(path: str | os.PathLike, fault: Exception) -> str:
    if os.path.isdir(path):
        return "it is a folder"
    if isinstance(fault, OSError) and fault.errno in (errno.EACCES, errno.EPERM):
        return "permission denied"
    if os.path.getsize(path) == 0:
        return "the file is empty"
    if isinstance(fault, Image.UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    return str(fault).rstrip(".") or type(fault).__name__
