"""Measures how large images are before they are resized, from the beginning of some files.

Takes a store of images, returns numbers. Must not decode pixels.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kerastrain.data.image_files import decoder, file_signatures, pictures
from kerastrain.data.image_files.faults import ImageFault
from kerastrain.data.image_files.stores import ArrayImages, Store
from kerastrain.decoding import Decoding
from kerastrain.system.resources import processor_count

SAMPLE = 32
"""The largest number of images that are opened."""


def shorter_sides(images: Store) -> list[int]:
    """Measures the shorter side of images that are evenly spaced over a store.

    Args:
        images: Store.

    Returns:
        list of int, in pixels, at most `SAMPLE` of them; without the images that cannot be opened.
    """
    indices = np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(int))
    if isinstance(images, ArrayImages):
        return [min(images.pixels.shape[1:3])] * len(indices)
    return [side for side in (_shorter_side(images, int(index)) for index in indices) if side is not None]


def _shorter_side(images: Store, index: int) -> int | None:
    try:
        content = images.content(index)
        file_format = file_signatures.image_format(content)
        if file_format is None or not pictures.reads(file_format):
            return None
        with pictures.opened(content, file_format, Decoding().largest_pixels) as picture:
            return min(picture.size)
    except (ImageFault, *decoder.BOMBS, *pictures.DECODING_ERRORS):
        return None  # Reading the data reports the fault.


def sizes(images: Store) -> np.ndarray:
    """Measures all images of a store, upright.

    Args:
        images: Store of n images.

    Returns:
        int64 array (n, 2), width and height in pixels; 0 where an image cannot be opened.
    """
    if isinstance(images, ArrayImages):
        height, width = images.pixels.shape[1:3]
        return np.tile(np.array([width, height], np.int64), (len(images), 1))
    with ThreadPoolExecutor(processor_count()) as pool:
        measured = list(pool.map(lambda index: _upright_size(images, index), range(len(images))))
    return np.array(measured, np.int64).reshape(-1, 2)


def _upright_size(images: Store, index: int) -> tuple[int, int]:
    try:
        content = images.content(index)
        file_format = file_signatures.image_format(content)
        if file_format is None or not pictures.reads(file_format):
            return 0, 0
        with pictures.opened(content, file_format, Decoding().largest_pixels) as picture:
            width, height = picture.size
            return (height, width) if pictures.is_turned(picture) else (width, height)
    except (ImageFault, *decoder.BOMBS, *pictures.DECODING_ERRORS):
        return 0, 0
