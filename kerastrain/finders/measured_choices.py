"""Remembers what was measured about train steps, so that the next run of the same model on this machine need not measure.

Takes and returns records that JSON can represent, one file for each subject in `measured_steps` in the user's cache folder. A
file that is missing, damaged or of another subject counts as nothing measured, and one that cannot be written costs a warning.
Must not measure, and must not know of configs.
"""

import hashlib
import importlib.metadata
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.finders.acceleration import precisions
from kerastrain.system import files, resources, user_folders

logger = logging.getLogger("kerastrain")

_SETTINGS = ("XLA_FLAGS", "TF_XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS")
_PACKAGES = ("kerastrain", "tensorflow", "keras")


def folder() -> Path:
    """The folder with the records, which may be removed at any time.

    Returns:
        Path, which need not exist.

    Raises:
        RuntimeError: the user's home folder is unknown.
    """
    return user_folders.cache_folder() / "measured_steps"


def machine() -> dict:
    """Returns what the time of a step depends on besides the model: devices, cores, versions, and settings of TensorFlow.

    Returns:
        dict that JSON can represent.
    """
    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return {
        "processor": resources.processor_name(),
        "precisions": dict(precisions()),  # A virtual machine may lack features of its processor.
        "cores": resources.processor_count(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "gpus": [str(each.get("device_name", "GPU")) for each in details],
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "environment": {name: os.environ.get(name, "") for name in _SETTINGS},
    }


def described(layer: keras.Layer) -> dict:
    """Returns what the time of a step depends on in a model or layer: its architecture, and the shapes of its weights.

    Args:
        layer: keras.Layer or keras.Model, built.

    Returns:
        dict with "architecture", a checksum of its config, and "weights", a list of [shape, dtype, whether it trains].
    """
    text = json.dumps(keras.saving.serialize_keras_object(layer), sort_keys=True, default=str)
    weights = [[list(weight.shape), str(weight.dtype), bool(weight.trainable)] for weight in layer.weights]
    return {"architecture": hashlib.sha256(text.encode()).hexdigest(), "weights": weights}


def recall(subject: Mapping) -> dict | None:
    """Reads what is remembered about a subject.

    Args:
        subject: mapping of what JSON can represent: everything that the measured times depend on.

    Returns:
        dict with "timings", a list of dicts with "name", "step_seconds" (float > 0, seconds) and "reason", the first of which
        has a time; and "chosen", a dict of what was chosen by them, which is empty if only the first was measured. None if
        nothing is remembered.
    """
    try:
        content = json.loads(_path(subject).read_bytes())
        if content["subject"] != _plain(subject):
            return None
        record = {"timings": content["timings"], "chosen": content["chosen"]}
        return record if _is_record(record) else None
    except (OSError, RuntimeError, ValueError, LookupError, TypeError):
        return None


def remember(subject: Mapping, record: Mapping) -> None:
    """Writes what was measured about a subject, whole or not at all; logs a warning if that is impossible.

    Args:
        subject: mapping as for `recall`.
        record: mapping with "timings" and "chosen", as `recall` returns them.
    """
    try:
        files.write_json(_path(subject), {"subject": _plain(subject), **record})
    except (OSError, RuntimeError) as error:  # no home folder, no space, or no permission to write
        logger.warning("what was measured is not remembered for later runs: %s", error)


def _path(subject: Mapping) -> Path:
    digest = hashlib.sha256(json.dumps(_plain(subject), sort_keys=True).encode()).hexdigest()
    return folder() / f"{digest[:32]}.json"


def _plain(subject: Mapping) -> dict:
    """The subject as it is read from its file, with lists in place of tuples."""
    return json.loads(json.dumps(subject))


def _is_record(record: Mapping) -> bool:
    timings, chosen = record["timings"], record["chosen"]
    are_timings = all(isinstance(timing["name"], str) and _is_time(timing["step_seconds"]) for timing in timings)
    return bool(timings) and are_timings and timings[0]["step_seconds"] is not None and isinstance(chosen, dict)


def _is_time(seconds: object) -> bool:
    return seconds is None or (isinstance(seconds, float | int) and 0 < seconds < math.inf)
