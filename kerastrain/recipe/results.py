"""Evaluates a trained model on the parts of its data, and exports it to verified files."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from kerastrain import data, evaluation, export, models
from kerastrain.config import Config
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import benchmark
from kerastrain.recipe import named_predictions, requirements
from kerastrain.system import files
from kerastrain.system.resources import processor_name

logger = logging.getLogger("kerastrain")

_PROBABILITIES = {"single_label": "softmax", "multi_label": "sigmoid"}
_WHOLE = {
    "saved_model": ("saved_model", export.saved_model),
    "keras": ("model.keras", export.keras_file),
    "onnx": ("model.onnx", export.onnx),
}


@data.surface_read_errors()
def measure(
    model: keras.Model,
    config: Config,
    split: data.Split,
    *,
    on_predictions: Callable[[str, evaluation.Predictions], None] | None = None,
) -> dict[str, dict]:
    """Evaluates `model` on the parts of the data that `evaluation.sets` names.

    Args:
        model: keras.Model.
        config: Config.
        split: data.Split; parts that do not exist are skipped.
        on_predictions: callable that gets the name of each part and what the model predicted, such as to write it; None
            drops it.

    Returns:
        dict from the name of a part to its measures; see `evaluation.measures`.

    Raises:
        InputError: as for `evaluation.predict`.
    """
    predict = named_predictions.predictor(
        model, config.evaluation.batch_size, are_images=split.train.image_size is not None
    )
    measured = {}
    for name, part in split.parts.items():
        if name not in config.evaluation.sets:
            continue
        logger.info("evaluating %s: %s examples", name, f"{len(part):,}")
        predictions = predict(part)
        measured[name] = evaluation.measures(predictions)
        if on_predictions is not None:
            on_predictions(name, predictions)
    return measured


def export_all(
    model: keras.Model,
    config: Config,
    split: data.Split,
    formats: Sequence[str],
    directory: Path,
    *,
    replace: bool = False,
    operating_point: OperatingPoint | None = None,
) -> dict[Path, export.Parity]:
    """Exports `model` to each format, and compares every file with `predict` on held-out examples.

    Args:
        model: keras.Model.
        config: Config, of which `export` is used.
        split: data.Split. Files are compared on the test part, or else on the validation part, or else on the
            training part; training examples calibrate int8.
        formats: sequence of str as in `export.formats`: "saved_model", "tflite_float32", "tflite_int8", ….
        directory: Path of the folder for the files.
        replace: bool, whether existing files may be replaced.
        operating_point: OperatingPoint of the run, for `export.operating_point`; None for none.

    Returns:
        dict from the Path of each file to its export.Parity.

    Raises:
        ParityError: a file differs too much from the model; it is removed, and the files before it stay.
        FileExistsError: a file exists and `replace` is False.
        InputError: the model cannot be exported to a format.
    """
    requirements.require_formats(config, formats, model)
    exports = {}
    for name in formats:
        kind = name.removeprefix("tflite_") if name.startswith("tflite_") else "float32"
        options = {
            "samples": split.test or split.validation or split.train,
            "sample_count": config.export.samples,
            "activation": _PROBABILITIES[models.task(model)] if config.export.probabilities else None,
            "operating_point": operating_point if config.export.operating_point else None,
            "tolerance": _tolerance(kind, config.export.score_loss_fraction),
            "replace": replace,
        }
        logger.info("exporting %s", name)
        if name in _WHOLE:
            path, write = directory / _WHOLE[name][0], _WHOLE[name][1]
            exports[path] = write(model, path, **options)
        else:
            path = directory / f"model_{kind}.tflite"
            exports[path] = export.tflite(
                model,
                path,
                quantize=None if kind == "float32" else kind,
                representative=split.train,
                representative_count=config.export.representative_samples,
                **options,
            )
        logger.info("exported %s", exports[path])
    return exports


def measure_times(directory: Path) -> None:
    """Measures how long the TFLite files in a folder take for one example on this machine, and writes `latency.json` there.

    Args:
        directory: Path of the folder; nothing is written if it has no such files.
    """
    paths = sorted(directory.glob("*.tflite"))
    if paths:
        times = dict(zip((path.name for path in paths), benchmark.seconds(paths), strict=True))
        files.write_json(directory / "latency.json", {"seconds": times, "threads": 1, "processor": processor_name()})


def _tolerance(kind: str, score_loss_fraction: float | None) -> export.Tolerance:
    tolerance = export.TOLERANCES[kind]
    if score_loss_fraction is None:
        return tolerance
    return dataclasses.replace(tolerance, score_loss_fraction=score_loss_fraction)
