"""Memory in use and its peak: of the GPUs where there are any, otherwise of this process.

Takes nothing; returns bytes. Must not know of models.
"""

import tensorflow as tf

from kerastrain.system import resources

_SPARED_FRACTION = 0.1


def limit_bytes() -> int | None:
    """Memory that a process on the CPU may use at most, in bytes: what it uses now plus 90 % of what is free.

    Beyond that the system may kill the process. None on GPUs, where TensorFlow itself raises when the memory is full.
    """
    if _gpus():
        return None
    reset_peak()
    return int(peak_bytes() + (1 - _SPARED_FRACTION) * resources.available_bytes())


def reset_peak() -> None:
    """Restarts the measurement of `peak_bytes`; without effect on a CPU where the system does not support it."""
    for gpu in _gpus():
        tf.config.experimental.reset_memory_stats(gpu)
    resources.reset_peak_bytes()


def peak_bytes() -> int:
    """Peak memory since `reset_peak`, in bytes: of the fullest GPU, or resident memory of this process."""
    if gpus := _gpus():
        return max(tf.config.experimental.get_memory_info(gpu)["peak"] for gpu in gpus)
    return resources.peak_bytes()


def current_bytes() -> int:
    """Memory in use now, in bytes: of the fullest GPU, or resident memory of this process."""
    if gpus := _gpus():
        return max(tf.config.experimental.get_memory_info(gpu)["current"] for gpu in gpus)
    return resources.process_bytes()


def _gpus() -> list[str]:
    return [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")]
