"""Many images at once: every one is proved readable, and the pixels are kept where memory allows.

Takes a store of images, gives a uint8 array or None. Must not know labels or import TensorFlow.
"""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kerastrain.data.stores import Store
from kerastrain.errors import InputError

_NAMED_FAULTS = 3
_CHUNK = 32  # Files in one job: few enough that Ctrl-C is answered soon, many enough that jobs cost nothing.
_ASSUMED_FREE_BYTES = 4 * 2**30  # Where the system does not say.


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


def available_bytes() -> int:
    """Memory that this process can still fill, in bytes: what the machine has free, or less in a container."""
    return min([_free_bytes(), *_container_bytes()])


def processor_count() -> int:
    """Processors that this process may run on, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_bytes() -> int:
    try:
        return _kernel_table(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    except FileNotFoundError:
        return _ASSUMED_FREE_BYTES


def _container_bytes(root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """What the limit of cgroup version 2 or 1 leaves, not counting file pages that the kernel would give back."""
    for limit, used, table, reclaimable in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            left = int((root / limit).read_text()) - int((root / used).read_text())
            yield left + _kernel_table(root / table)[reclaimable]
        except (FileNotFoundError, ValueError):  # No such controller, or the limit is the word "max".
            continue


def _kernel_table(path: Path) -> dict[str, int]:
    return {line.split()[0]: int(line.split()[1]) for line in path.read_text().splitlines()}


def _summary(faults: list[str]) -> str:
    if len(faults) == 1:
        return f"{faults[0]} Mend or remove the file."
    more = f" And {len(faults) - _NAMED_FAULTS} more." if len(faults) > _NAMED_FAULTS else ""
    return f"{len(faults)} files cannot be used. {' '.join(faults[:_NAMED_FAULTS])}{more} Mend or remove the files."
