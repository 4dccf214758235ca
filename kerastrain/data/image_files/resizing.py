"""Resizes a picture to the input size of a model: stretched, padded or cropped.

Takes and returns pictures of Pillow. `export.decoded_images` computes the same with TensorFlow operations.
"""

import numpy as np
from PIL import Image

from kerastrain.decoding import Resize


def resized(
    picture: Image.Image, image_size: tuple[int, int], resize: Resize = "stretch", *, full_size: tuple[int, int] = None
) -> Image.Image:
    """Resizes a picture by antialiased bilinear resampling.

    Args:
        picture: RGB picture of Pillow.
        image_size: (height, width) in pixels of the result.
        resize: "stretch", "pad" or "crop", as for `Decoding`.
        full_size: (width, height) of the picture before it was decoded at a reduced size; None for its own. It decides
            the aspect ratio.

    Returns:
        RGB picture of Pillow.
    """
    height, width = image_size
    if resize == "stretch":
        return picture.resize((width, height), Image.Resampling.BILINEAR)
    full_width, full_height = full_size or picture.size
    if resize == "crop":
        kept_width, kept_height = cropped_size(full_width, full_height, width, height)
        left, top = (full_width - kept_width) // 2, (full_height - kept_height) // 2
        across, down = picture.width / full_width, picture.height / full_height
        columns = slice(round(left * across), max(1, round((left + kept_width) * across)))
        rows = slice(round(top * down), max(1, round((top + kept_height) * down)))
        # Not Image.crop, which has a limit on pixels of its own.
        kept = Image.fromarray(np.asarray(picture)[rows, columns])
        return kept.resize((width, height), Image.Resampling.BILINEAR)
    inner_width, inner_height = padded_size(full_width, full_height, width, height)
    canvas = Image.new("RGB", (width, height))
    inner = picture.resize((inner_width, inner_height), Image.Resampling.BILINEAR)
    canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return canvas


def cropped_size(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    """Size of the largest rectangle in a picture with the aspect ratio of another size.

    Args:
        width: int >= 1, of the picture, in pixels.
        height: int >= 1, of the picture, in pixels.
        to_width: int >= 1, of the size that it is resized to.
        to_height: int >= 1, of the size that it is resized to.

    Returns:
        (width, height), whole pixels, at least 1.

    Example:
        >>> cropped_size(640, 480, 224, 224)
        (480, 480)
    """
    return min(width, max(1, height * to_width // to_height)), min(height, max(1, width * to_height // to_width))


def padded_size(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    """Size of a picture that is enlarged or reduced, with its own aspect ratio, until it just fits another size.

    Args:
        width: int >= 1, of the picture, in pixels.
        height: int >= 1, of the picture, in pixels.
        to_width: int >= 1, of the size to fit.
        to_height: int >= 1, of the size to fit.

    Returns:
        (width, height), rounded to whole pixels, at least 1.

    Example:
        >>> padded_size(640, 480, 224, 224)
        (224, 168)
    """
    inner_width = max(1, (2 * width * to_height + height) // (2 * height))
    inner_height = max(1, (2 * height * to_width + width) // (2 * width))
    return min(to_width, inner_width), min(to_height, inner_height)
