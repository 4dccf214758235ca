"""Many images at once: every one is proved readable, and the pixels are kept where memory allows.

Takes a store of images, gives a uint8 array or None. Must not know labels or import TensorFlow.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kerastrain.data.image_files.stores import Store
from kerastrain.errors import InputError
from kerastrain.system.resources import available_bytes, processor_count

_NAMED_FAULTS = 3
_CHUNK = 32  # Files in one job: few enough that Ctrl-C is answered soon, many enough that jobs cost nothing.


def decode(store: Store, *, memory_fraction: float) -> np.ndarray | None:
    """Every image decoded once, on all processors.

    Args:
        store: Store of n images.
        memory_fraction: float in [0, 1], the share of `available_bytes()` that the pixels may fill.

    Returns:
        uint8 array (n, height, width, 3), or None where that needs more memory than allowed.

    Raises:
        InputError: files that cannot be read as images; counts them and names the first three with the reason.
    """
    keep = math.prod(store.shape) <= memory_fraction * available_bytes()
    images = np.empty(store.shape, np.uint8) if keep else None

    def faults(start: int) -> list[str]:
        told = []
        for index in range(start, min(start + _CHUNK, len(store))):
            try:
                image = store[np.array([index])][0]
            except (InputError, FileNotFoundError) as fault:
                told.append(str(fault))
                continue
            if keep:
                images[index] = image
        return told

    with ThreadPoolExecutor(processor_count()) as pool:
        found = [fault for told in pool.map(faults, range(0, len(store), _CHUNK)) for fault in told]
    if found:
        raise InputError(_summary(sorted(found)))
    return images


def _summary(faults: list[str]) -> str:
    if len(faults) == 1:
        return f"{faults[0]} Mend or remove the file."
    more = f" And {len(faults) - _NAMED_FAULTS} more." if len(faults) > _NAMED_FAULTS else ""
    return f"{len(faults)} files cannot be used. {' '.join(faults[:_NAMED_FAULTS])}{more} Mend or remove the files."
