"""The space on disk that a run takes, estimated before it starts.

Takes a `Config`, and its model if there is one; returns bytes, or raises an error. Must not import TensorFlow.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kerastrain.config import Config, folds
from kerastrain.hub.bundled import bundled
from kerastrain.hub.handles import split_pin
from kerastrain.system import folders

_FORMAT_SIZES = {  # bytes of a file for each byte of float32 weights
    "tflite_float16": 0.5,
    "tflite_dynamic": 0.25,
    "tflite_int8": 0.25,
    "tflite_int16x8": 0.25,
    "tflite_int4": 0.2,
    "tflite_dynamic_int4": 0.2,
}
_OTHER_BYTES = 1_000_000  # history, logs, TensorBoard, report


def require(directory: Path, config: Config, model: Any = None) -> None:
    """Checks that the disk has room for what a run writes.

    Args:
        directory: Path of the run's folder, which may not exist yet.
        config: Config.
        model: keras.Model, compiled, with a built optimizer; None for an estimate by the files of the backbone.

    Raises:
        InputError: less is free than the estimate of the checkpoints, the model and the exported files.
    """
    folders.require_room(
        directory,
        written_bytes(config, model),
        writer="the run",
        advice="Free some space, set --run to a folder on another disk, or lower fit.checkpoints_kept.",
    )


def written_bytes(config: Config, model: Any = None) -> int:
    """Estimates what a run writes: checkpoints, the best and the last model, and the exported files.

    Args:
        config: Config.
        model: keras.Model, compiled, with a built optimizer; None for an estimate by the files of the backbone.

    Returns:
        int, bytes.
    """
    if model is None:
        weights = backbone_bytes(config.model.backbone)
        trained, slots = weights if config.fit.trains_whole else 0, 0.0
    else:
        weights, trainable = weight_bytes(model.weights), weight_bytes(model.trainable_weights)
        trained = weights if config.fit.trains_whole else trainable
        # The optimizer has as many slots for each weight in the phases in which more weights train.
        slots = weight_bytes(model.optimizer.variables) / max(trainable, 1)
    state = weights + slots * trained
    exports = exported_bytes(config.export.formats, weights)
    # One checkpoint more than is kept exists while the oldest is replaced.
    checkpoints = (config.fit.checkpoints_kept + 1) * state
    runs = config.data.folds if folds.trains_all(config) else 1
    return round(checkpoints + runs * (2 * state + exports)) + runs * _OTHER_BYTES


def exported_bytes(formats: Iterable[str], weights: int) -> float:
    """Estimates the size of exported files.

    Args:
        formats: iterable of str as in `export.formats`.
        weights: int >= 0, the size of the weights of the model in float32.

    Returns:
        float >= 0, bytes.
    """
    return sum(_FORMAT_SIZES.get(name, 1) for name in formats) * weights


def backbone_bytes(handle: str) -> int:
    """Returns the size of a backbone on this machine.

    Args:
        handle: str, as in `model.backbone`.

    Returns:
        int, bytes; 0 for what is built or downloaded.
    """
    location, _ = split_pin(handle)
    place = bundled().get(location.removeprefix("kerastrain:"), Path(location).expanduser())
    return sum(path.stat().st_size for path in (place, *place.rglob("*")) if path.is_file())


def weight_bytes(variables: Iterable) -> int:
    """Returns the size of variables in float32.

    Args:
        variables: iterable of variables with a `shape`.

    Returns:
        int, bytes.
    """
    return sum(4 * math.prod(variable.shape) for variable in variables)
