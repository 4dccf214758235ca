"""Environment of a run: seeds, determinism, precision, and a record of the machine.

Takes plain values, returns context managers and records. Must not know of configs, models or data.
"""

import contextlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.keras_internals import global_seed
from kerastrain.system import resources

_RECORDED = (
    "tensorflow",
    "keras",
    "tensorflow-hub",
    "keras-tuner",
    "tensorflow-model-optimization",
    "tf-keras",
    "tf-keras-vis",
    "ai-edge-litert",
    "numpy",
)


def seed(value: int, *, deterministic: bool = False) -> None:
    """Sets the seeds of Python, NumPy and TensorFlow, from which Keras draws initial weights and dropout masks.

    Args:
        value: int in [0, 2**31), the seed.
        deterministic: bool, whether every TensorFlow operation must return the same bits in every run. This cannot be
            undone in the process. On a CPU most operations do so anyway; on a GPU some become slower and a few raise.
    """
    keras.utils.set_random_seed(value)
    global_seed.reset()  # Keras 3.12 leaves it as it is.
    if deterministic:
        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Context manager that sets Keras's global dtype policy for new layers, and restores the previous one.

    Args:
        policy: str, "float32", "mixed_bfloat16" or "mixed_float16".

    Yields:
        None.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def record() -> dict:
    """Records everything outside of config and data that the results of a run can depend on.

    Returns:
        dict of str, lists and dicts, ready for JSON: `command`, as it was typed; `git`, the commit of the working directory
        and whether files differ from it, or None outside a repository; the versions of Python, the operating system and the
        packages; the processor with its number of cores; and the devices that TensorFlow sees.
    """
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "git": _git(),
        "kerastrain": sys.modules["kerastrain"].__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": f"{resources.processor_name()}, {os.cpu_count()} cores",
        **{name: importlib.metadata.version(name) for name in _RECORDED},
        "devices": [_device(device) for device in tf.config.list_logical_devices()],
    }


def _git() -> dict | None:
    """The commit of the working directory's repository, and whether files differ from it; None without a repository."""
    try:
        commit = _git_output("rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git_output("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None  # No git, no repository, no commit yet, or a repository of another user.


def _git_output(*arguments: str) -> str:
    # Disables the fsmonitor hook, a program that the settings of the repository can name.
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _device(device: tf.config.LogicalDevice) -> str:
    name = f"{device.device_type}:{device.name}"
    if device.device_type != "GPU":
        return name
    physical = tf.config.list_physical_devices("GPU")[int(device.name.rpartition(":")[2])]
    return f"{name} ({tf.config.experimental.get_device_details(physical).get('device_name', 'unknown')})"
