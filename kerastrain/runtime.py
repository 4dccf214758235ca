"""What a run stands on: seeds, determinism, precision, and a record of the machine.

Takes plain values, gives context managers and records; each restores what it changed. Must not know of configs,
models or data.
"""

import contextlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterator

import keras
import tensorflow as tf

_RECORDED = (
    "tensorflow",
    "keras",
    "tensorflow-hub",
    "keras-tuner",
    "tensorflow-model-optimization",
    "tf-keras-vis",
    "numpy",
)


def seed(value: int, *, deterministic: bool = False) -> None:
    """Sets the seeds of Python, NumPy and TensorFlow, from which Keras draws initial weights and dropout masks.

    Args:
        value: int in [0, 2**31).
        deterministic: bool, whether every TensorFlow operation must give the same bits on every run; cannot be taken
            back in this process. On a CPU most already do; on a GPU some become slower and a few raise.
    """
    keras.utils.set_random_seed(value)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers made in this block compute under the Keras dtype policy `policy`; the one before returns after it.

    Args:
        policy: str, "float32", "mixed_bfloat16" or "mixed_float16".
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def record() -> dict:
    """Versions and devices of this process, for the log of a run.

    Returns:
        dict of str: Python, operating system, package versions, and the devices that TensorFlow sees.
    """
    return {
        "kerastrain": sys.modules["kerastrain"].__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: importlib.metadata.version(name) for name in _RECORDED},
        "devices": [f"{device.device_type}:{device.name}" for device in tf.config.list_logical_devices()],
    }
