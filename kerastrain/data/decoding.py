"""Many image files at once: every file is proved readable, and the pixels are kept where memory allows.

Takes paths, gives uint8 arrays or None. Must not know labels or import TensorFlow.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kerastrain.data.images import load_image
from kerastrain.errors import InputError

_NAMED_FAULTS = 3


def decode(
    parts: Mapping[str, tuple[str, ...]], image_size: tuple[int, int], *, memory_fraction: float
) -> dict[str, np.ndarray | None]:
    """Every file of every part, decoded once on all processors.

    Args:
        parts: dict from a name to the paths of that part.
        image_size: (height, width) in pixels.
        memory_fraction: float in [0, 1], the share of `available_bytes()` that the pixels of all parts may fill.

    Returns:
        dict from each name to a uint8 array (n, height, width, 3), or to None for all where they do not fit.

    Raises:
        InputError: files that cannot be read as images; counts them and names the first three with the reason.
    """
    height, width = image_size
    needed = sum(len(paths) for paths in parts.values()) * height * width * 3
    keep = needed <= memory_fraction * available_bytes()
    images = {
        name: np.empty((len(paths), height, width, 3), np.uint8) if keep else None for name, paths in parts.items()
    }

    def check(job: tuple[str, int]) -> str | None:
        name, index = job
        try:
            image = load_image(parts[name][index], image_size)
        except (InputError, FileNotFoundError) as fault:
            return str(fault)
        if keep:
            images[name][index] = image
        return None

    jobs = [(name, index) for name, paths in parts.items() for index in range(len(paths))]
    with ThreadPoolExecutor(processor_count()) as pool:
        faults = [fault for fault in pool.map(check, jobs) if fault]
    if faults:
        raise InputError(_told(sorted(faults)))
    return images


def available_bytes() -> int:
    """Memory that this process can still fill, in bytes: what the machine has free, or less in a container."""
    return min(_free_bytes(), *_container_bytes(), key=int)


def processor_count() -> int:
    """Processors that this process may run on, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except FileNotFoundError:  # Not Linux: there half of the memory is taken to be free.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _container_bytes() -> Iterator[int]:
    groups = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limit, used in groups:
        try:
            yield int(Path("/sys/fs/cgroup", limit).read_text()) - int(Path("/sys/fs/cgroup", used).read_text())
        except (FileNotFoundError, ValueError):  # No such controller, or the limit is the word "max".
            continue


def _told(faults: list[str]) -> str:
    if len(faults) == 1:
        return f"{faults[0]} Mend or remove the file."
    more = f" And {len(faults) - _NAMED_FAULTS} more." if len(faults) > _NAMED_FAULTS else ""
    return f"{len(faults)} files cannot be used. {' '.join(faults[:_NAMED_FAULTS])}{more} Mend or remove the files."
