"""Memory and processors of this machine: free memory, memory of this process, the processor's name and features.

Takes nothing and returns plain numbers and strings. The free memory and the processor count respect the limits of a
container. The only module that reads /proc or getrusage for these. Must not import TensorFlow.
"""

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_ASSUMED_FREE_BYTES = 4 * 2**30  # Where there is no /proc/meminfo.
_PROC = Path("/proc")


def available_bytes() -> int:
    """Memory that this process can still fill, in bytes: the free memory of the machine, or less in a container."""
    return min([_free_bytes(), *_container_bytes()])


def gpu_bytes() -> int | None:
    """Memory of the smallest GPU that this process may use, in bytes, as nvidia-smi tells it; None without a GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    sizes = [int(line) for line in answer.stdout.split() if line.isdigit()]
    return min(sizes) * 2**20 if answer.returncode == 0 and sizes else None


def process_bytes() -> int:
    """Resident memory of this process, in bytes; where the system has no /proc, the peak so far."""
    try:
        return _status_bytes("VmRSS")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """Highest resident memory of this process, in bytes, since `reset_peak_bytes` or since the process started."""
    try:
        return _status_bytes("VmHWM")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB.


def reset_peak_bytes() -> bool:
    """Restarts the measurement of `peak_bytes` at the memory that is resident now.

    Returns:
        bool, False where this is not possible: outside Linux, or in a container that forbids it. `peak_bytes` then
        remains the peak since the process started.

    Reference: `/proc/pid/clear_refs` in proc(5), https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
    """
    try:
        (_PROC / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def process_age_seconds() -> float:
    """Wall-clock time since this process was started, in seconds; its processor time where the system has no /proc."""
    try:
        # The name of the program, which may contain spaces and brackets, is the second field.
        fields = (_PROC / "self" / "stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, float((_PROC / "uptime").read_text().split()[0]) - started)
    except OSError:
        return time.process_time()


def processor_count() -> int:
    """Processors that this process may run on, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Model name of the processor, or its architecture where the system does not name the model."""
    return _processor_field("model name") or platform.processor() or platform.machine()


def processor_flags() -> str:
    """Instruction set extensions of the processor, separated by spaces, such as "avx2 avx512_bf16"; "" if unknown."""
    return _processor_field("flags") or _processor_field("Features")  # x86 or Arm


def _free_bytes() -> int:
    try:
        return _kernel_table(_PROC / "meminfo")["MemAvailable:"] * 1024
    except FileNotFoundError:
        return _ASSUMED_FREE_BYTES


def _container_bytes(root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Memory left below the limit of cgroup version 2 or 1; file pages that the kernel would reclaim count as free."""
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


def _status_bytes(key: str) -> int:
    lines = (_PROC / "self" / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _processor_field(name: str) -> str:
    """Value of the first line `name : value` of /proc/cpuinfo, or ""."""
    cpuinfo = _PROC / "cpuinfo"
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name), "")
