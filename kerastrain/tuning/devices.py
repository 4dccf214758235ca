"""Divides the cores and the GPUs of this machine among processes that train at the same time.

Takes the number of processes; returns what each of them may use, and applies it inside such a process, before TensorFlow's
first operation. Must not start TensorFlow in the process that divides.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kerastrain.errors import InputError, counted
from kerastrain.system import resources


@dataclass(frozen=True)
class Devices:
    """What one process may use.

    Args:
        cores: tuple of int, the numbers of its cores; None for all of them.
        gpus: tuple of str, its GPUs as in CUDA_VISIBLE_DEVICES; None to leave that variable as it is.
    """

    cores: tuple[int, ...] | None = None
    gpus: tuple[str, ...] | None = None


def require_cores(workers: int) -> None:
    """Checks that there is a core for each worker; works without TensorFlow.

    Args:
        workers: int, the number of processes.

    Raises:
        InputError: `workers` is less than 1 or more than the cores that this process may use.
    """
    cores = resources.processor_count()
    if not 1 <= workers <= cores:
        raise InputError(
            f"`workers` must be at least 1 and at most the number of cores, {cores}. Received: {workers}. Each worker trains on "
            "its own cores."
        )


def divide(workers: int, *, environment: Mapping[str, str] = os.environ) -> list[Devices]:
    """Divides the cores and the GPUs of this machine evenly.

    Args:
        workers: int >= 1, the number of processes.
        environment: mapping from str to str, whose CUDA_VISIBLE_DEVICES names the GPUs that may be divided.

    Returns:
        list of `workers` Devices.

    Raises:
        InputError: there are more workers than cores, or than GPUs if there are any.
    """
    require_cores(workers)
    if workers == 1:
        return [Devices()]
    gpus = _gpus(environment)
    if gpus and workers > len(gpus):
        raise InputError(
            f"`workers` must be at most the number of GPUs, {len(gpus)}. Received: {workers}. Each worker trains on its own "
            "GPU; to train on the CPU, set CUDA_VISIBLE_DEVICES to -1."
        )
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return [
        Devices(
            None if cores is None else tuple(cores[_start(cores, n, workers) : _start(cores, n + 1, workers)]),
            tuple(gpus[_start(gpus, n, workers) : _start(gpus, n + 1, workers)]) if gpus else None,
        )
        for n in range(workers)
    ]


def apply(devices: Devices) -> None:
    """Confines this process to its devices; call it before TensorFlow's first operation.

    Args:
        devices: Devices.
    """
    if devices.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices.gpus)
    if devices.cores is None:
        return
    os.sched_setaffinity(0, devices.cores)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(len(devices.cores))
    tf.config.threading.set_inter_op_parallelism_threads(len(devices.cores))


def describe(shares: list[Devices]) -> str:
    """Describes the division in a clause.

    Args:
        shares: list of Devices, as from `divide`.

    Returns:
        str, such as "2 workers of 4 cores each".
    """
    if len(shares) == 1:
        return "1 worker"
    parts = []
    for kind in ("gpus", "cores"):
        numbers = sorted({len(getattr(share, kind)) for share in shares if getattr(share, kind) is not None})
        if numbers:  # two if they cannot be divided evenly
            words = counted(numbers[-1], {"gpus": "GPUs"}.get(kind, kind))
            parts.append(words if len(numbers) == 1 else f"{numbers[0]} or {words}")
    return f"{len(shares)} workers" + (f" of {' and '.join(parts)} each" if parts else "")


def _start(items: list, number: int, workers: int) -> int:
    return len(items) * number // workers


def _gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    if environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    import tensorflow as tf

    count = len(tf.config.list_physical_devices("GPU"))
    named = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] or [str(number) for number in range(count)]
