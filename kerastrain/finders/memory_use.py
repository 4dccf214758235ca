"""The most memory that was in use: of the GPUs where there are any, else of this process.

Takes nothing; gives bytes. Must not know of models.
"""

import resource
import sys
from pathlib import Path

import tensorflow as tf

from kerastrain.system.resources import available_bytes

_SPARED_FRACTION = 0.1


def limit_bytes() -> int | None:
    """What may be in use at most: for a process on the CPU what it has plus 90 % of what is free, so that the system
    does not end it; None for GPUs, which say themselves when they are full.
    """
    if _gpus():
        return None
    reset_peak()
    return int(peak_bytes() + (1 - _SPARED_FRACTION) * available_bytes())


def reset_peak() -> None:
    """Lets `peak_bytes` count from now on, where the system can."""
    for gpu in _gpus():
        tf.config.experimental.reset_memory_stats(gpu)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # No Linux, or a container that forbids it: the peak is that of the whole process so far.


def peak_bytes() -> int:
    """The most bytes in use since `reset_peak`: of the fullest GPU, or resident in memory of this process."""
    if gpus := _gpus():
        return max(tf.config.experimental.get_memory_info(gpu)["peak"] for gpu in gpus)
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def current_bytes() -> int:
    """The bytes in use now: of the fullest GPU, or resident in memory of this process; without Linux its peak so far."""
    if gpus := _gpus():
        return max(tf.config.experimental.get_memory_info(gpu)["current"] for gpu in gpus)
    try:
        return _status("VmRSS")
    except OSError:
        return peak_bytes()


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _gpus() -> list[str]:
    return [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")]
