"""Reads every image of a store on all processors, to find those that cannot be read and the range of their values.

Takes a store of images that are not files of their own; returns `Quarantined` records. Must not know labels or import
TensorFlow.
"""

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kerastrain.data.image_files import decoder, pixel_ranges
from kerastrain.data.image_files.faults import ImageFault
from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.stores import Store
from kerastrain.system.resources import processor_count

_CHUNK = 32  # Files in one job: few enough that Ctrl-C is answered soon, many enough that jobs cost nothing.


def faults(store: Store) -> dict[int, Quarantined]:
    """Decodes every image of a store that is not image files once, on all processors, and finds those that cannot be.

    Args:
        store: Store of n images, which caches what is decoded if there is room.

    Returns:
        dict from the index of each unreadable image to Quarantined.
    """

    def try_chunk(start: int) -> dict[int, Quarantined]:
        found = {}
        for index in range(start, min(start + _CHUNK, len(store))):
            try:
                store[np.array([index])]
            except ImageFault as error:
                found[index] = Quarantined(error.path, error.kind, error.reason)
            except FileNotFoundError as error:
                found[index] = Quarantined(f"image {index}", "unreadable", str(error).rstrip("."))
        return found

    with ThreadPoolExecutor(processor_count()) as pool:
        chunks = list(pool.map(try_chunk, range(0, len(store), _CHUNK)))
    return {index: fault for chunk in chunks for index, fault in chunk.items()}


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
        extents = {}
        for index, name in names.items():
            with contextlib.suppress(ImageFault, FileNotFoundError):  # `faults` finds them
                extents[name] = decoder.deep_extent(name, store.content(index))
        return {name: extent for name, extent in extents.items() if extent is not None}

    with ThreadPoolExecutor(processor_count()) as pool:
        extents = {}
        for chunk in pool.map(measure_chunk, range(0, len(store), _CHUNK)):
            extents |= chunk
    pixel_range, notes = pixel_ranges.of_files(extents, store.decoding.pixel_range, len(store))
    return dataclasses.replace(store, decoding=dataclasses.replace(store.decoding, pixel_range=pixel_range)), notes
