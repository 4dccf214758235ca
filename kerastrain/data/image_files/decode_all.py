"""Decodes every image of a store on all processors, to find those that cannot be read.

Takes a store of images, returns a uint8 array, or None if the pixels need too much memory. Must not know labels or import
TensorFlow.
"""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kerastrain.data.image_files import decoder, pixel_ranges
from kerastrain.data.image_files.stores import Store
from kerastrain.errors import InputError
from kerastrain.system.resources import available_bytes, processor_count

_NAMED = 3
_CHUNK = 32  # Files in one job: few enough that Ctrl-C is answered soon, many enough that jobs cost nothing.


def decode(store: Store, *, memory_fraction: float) -> np.ndarray | None:
    """Decodes every image once, on all processors.

    Args:
        store: Store of n images.
        memory_fraction: float in [0, 1], the fraction of `available_bytes()` that the pixels may fill.

    Returns:
        uint8 array (n, height, width, 3) in [0, 255], or None if that needs more memory than allowed.

    Raises:
        InputError: files cannot be read as images. The message counts them and names the first three with the reason.
    """
    fits = math.prod(store.shape) <= memory_fraction * available_bytes()
    images = np.empty(store.shape, np.uint8) if fits else None

    def decode_chunk(start: int) -> list[str]:
        messages = []
        for index in range(start, min(start + _CHUNK, len(store))):
            try:
                image = store[np.array([index])][0]
            except (InputError, FileNotFoundError) as error:
                messages.append(str(error))
                continue
            if fits:
                images[index] = image
        return messages

    with ThreadPoolExecutor(processor_count()) as pool:
        messages = [message for chunk in pool.map(decode_chunk, range(0, len(store), _CHUNK)) for message in chunk]
    if messages:
        raise InputError(_summary(sorted(messages)))
    return images


def with_pixel_range(store: Store) -> tuple[Store, tuple[str, ...]]:
    """Finds black and white of the images of more than 8 bits in a store, on all processors.

    Args:
        store: Store of n images with `decoding`.

    Returns:
        Tuple of the store with the range in its `decoding`, unchanged if it has one or has no such images; and of a tuple
        of str, what was found out.

    Raises:
        InputError: as for `pixel_ranges.of_files`.
    """

    def measure_chunk(start: int) -> dict[str, pixel_ranges.Extent]:
        names = {index: f"image {index}" for index in range(start, min(start + _CHUNK, len(store)))}
        extents = {name: decoder.deep_extent(name, store.content(index)) for index, name in names.items()}
        return {name: extent for name, extent in extents.items() if extent is not None}

    with ThreadPoolExecutor(processor_count()) as pool:
        extents = {}
        for chunk in pool.map(measure_chunk, range(0, len(store), _CHUNK)):
            extents |= chunk
    pixel_range, notes = pixel_ranges.of_files(extents, store.decoding.pixel_range, len(store))
    return dataclasses.replace(store, decoding=dataclasses.replace(store.decoding, pixel_range=pixel_range)), notes


def _summary(messages: list[str]) -> str:
    if len(messages) == 1:
        return f"{messages[0]} Repair or remove the file."
    more = f" And {len(messages) - _NAMED:,} more." if len(messages) > _NAMED else ""
    return (
        f"{len(messages):,} files cannot be read as images. {' '.join(messages[:_NAMED])}{more} Repair or remove the "
        "files."
    )
