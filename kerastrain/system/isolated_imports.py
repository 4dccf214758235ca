"""The four libraries that cannot simply be imported beside Keras 3, each imported without side effects.

Takes nothing, gives modules. Each import leaves `tf.keras`, `os.environ` and `sys.modules` as it found them; nothing
else in kerastrain may import these four. Measured with tensorflow-hub 0.16.1 and tensorflow-model-optimization 0.8.1.

References: https://github.com/tensorflow/hub/issues/920 (pkg_resources),
https://github.com/tensorflow/model-optimization/issues/1119 (Keras 3).
"""

import contextlib
import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

from packaging.version import parse


def tensorflow_hub() -> types.ModuleType:
    """The module `tensorflow_hub`, also where setuptools >= 82 no longer ships the `pkg_resources` that it imports."""
    with _tf_keras_untouched(), _pkg_resources():
        return importlib.import_module("tensorflow_hub")


def tensorflow_hub_cache_folder() -> Path:
    """Where tensorflow_hub keeps what it downloads: TFHUB_CACHE_DIR, or a folder in the temporary one."""
    tensorflow_hub()
    return Path(importlib.import_module("tensorflow_hub.resolver").tfhub_cache_dir(use_temp=True))


def tfmot() -> types.ModuleType:
    """The module `tensorflow_model_optimization`, without its switch of the whole process to Keras 2."""
    with _tf_keras_untouched():
        return importlib.import_module("tensorflow_model_optimization")


def tf_keras() -> types.ModuleType:
    """The module `tf_keras`, Keras 2 beside Keras 3: what `tensorflow_model_optimization` builds on."""
    return importlib.import_module("tf_keras")


def keras_tuner() -> types.ModuleType:
    """The module `keras_tuner`."""
    return importlib.import_module("keras_tuner")


def tf_keras_vis() -> types.ModuleType:
    """The module `tf_keras_vis`, with the parts that draw Grad-CAM and saliency maps."""
    with warnings.catch_warnings():
        # It takes `zoom` from a place that SciPy 2.0 closes; `setup.cfg` keeps SciPy below that.
        warnings.filterwarnings("ignore", message="Please import `zoom`", category=DeprecationWarning)
        for name in ("gradcam", "saliency", "scorecam", "utils.model_modifiers", "utils.scores"):
            importlib.import_module(f"tf_keras_vis.{name}")
    return sys.modules["tf_keras_vis"]


@contextlib.contextmanager
def _tf_keras_untouched() -> Iterator[None]:
    import tensorflow as tf

    # `tf.keras` is lazy: touched once, it stays the Keras it is now, be it Keras 2 by the user's choice.
    assert tf.keras.Model
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("TF_USE_LEGACY_KERAS", None)
        else:
            os.environ["TF_USE_LEGACY_KERAS"] = before


@contextlib.contextmanager
def _pkg_resources() -> Iterator[None]:
    if "tensorflow_hub" in sys.modules:
        yield
        return
    if importlib.util.find_spec("pkg_resources") is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            yield
        return
    sys.modules["pkg_resources"] = types.ModuleType("pkg_resources")
    sys.modules["pkg_resources"].parse_version = parse
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]
