"""What this process may use of the machine: memory that is still free, and processors.

Takes nothing; gives numbers that respect the limits of a container. Must not import TensorFlow.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_ASSUMED_FREE_BYTES = 4 * 2**30  # Where the system does not say.


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
