"""Imports, without side effects, the libraries that interfere with Keras 3.

Takes nothing, returns modules. Each import leaves `tf.keras`, `os.environ` and `sys.modules` unchanged. No other module of
kerastrain may import these libraries. Measured with tensorflow-hub 0.16.1 and tensorflow-model-optimization 0.8.1.

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
    """The module `tensorflow_hub`, even with setuptools >= 82, which lacks the `pkg_resources` that it imports."""
    with _tf_keras_untouched(), _pkg_resources():
        return importlib.import_module("tensorflow_hub")


def tensorflow_hub_cache_folder() -> Path:
    """Folder of tensorflow_hub's downloads: TFHUB_CACHE_DIR, or a folder below the system's temporary one."""
    tensorflow_hub()
    return Path(importlib.import_module("tensorflow_hub.resolver").tfhub_cache_dir(use_temp=True))


def tfmot() -> types.ModuleType:
    """The module `tensorflow_model_optimization`, without its side effect of switching the whole process to Keras 2."""
    with _tf_keras_untouched():
        return importlib.import_module("tensorflow_model_optimization")


def tf_keras() -> types.ModuleType:
    """The module `tf_keras`, the Keras 2 that `tensorflow_model_optimization` is built on."""
    return importlib.import_module("tf_keras")


def keras_tuner() -> types.ModuleType:
    """The module `keras_tuner`, which would print the traceback of every trial that fails."""
    module = importlib.import_module("keras_tuner")
    importlib.import_module("keras_tuner.src.config").DEBUG = False
    return module


def tf_keras_vis() -> types.ModuleType:
    """The module `tf_keras_vis`, with its submodules for Grad-CAM and saliency maps."""
    with warnings.catch_warnings():
        # It imports `zoom` from a module that SciPy 2.0 removes; `setup.cfg` requires an older SciPy.
        warnings.filterwarnings("ignore", message="Please import `zoom`", category=DeprecationWarning)
        names = ("gradcam", "gradcam_plus_plus", "layercam", "saliency", "scorecam")
        for name in (*names, "utils.model_modifiers", "utils.scores"):
            importlib.import_module(f"tf_keras_vis.{name}")
    return sys.modules["tf_keras_vis"]


@contextlib.contextmanager
def _tf_keras_untouched() -> Iterator[None]:
    import tensorflow as tf

    # `tf.keras` is lazy: accessing it fixes the current version, which may be Keras 2 by the user's choice.
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
