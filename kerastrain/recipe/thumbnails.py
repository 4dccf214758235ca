"""Small pictures for reports.

Takes pixels, returns files in memory. Must not write.
"""

import io

import numpy as np
from PIL import Image

_PIXELS = 96


def thumbnail(image: np.ndarray) -> bytes:
    """Encodes a small version of a picture; a picture that is small already keeps its size.

    Args:
        image: uint8 (height, width, 3).

    Returns:
        bytes of a JPEG file of at most 96 pixels a side.
    """
    picture, content = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((_PIXELS, _PIXELS))
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()
