"""What a trained model comes to: measures of the data's parts, and checked files that ship."""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import data, evaluation, export, models
from kerastrain.config import Config

logger = logging.getLogger("kerastrain")

_PROBABILITIES = {"single_label": "softmax", "multi_label": "sigmoid"}


@data.plain_errors()
def measure(model: keras.Model, config: Config, split: data.Split) -> dict[str, dict]:
    """The measures of `model` on the parts of `split` that `evaluation.sets` names, by name."""
    sets = {name: part for name, part in split.parts.items() if name in config.evaluation.sets}
    return evaluation.report(
        model, {name: data.batches(part, config.evaluation.batch_size) for name, part in sets.items()}
    )


def export_all(
    model: keras.Model,
    config: Config,
    split: data.Split,
    formats: Sequence[str],
    directory: Path,
    *,
    replace: bool = False,
) -> dict[Path, export.Parity]:
    """Writes `model` in each of `formats` into `directory`, every file checked against `predict` on held-out images.

    Args:
        model: keras.Model.
        config: Config, for the numbers of samples and whether files answer probabilities.
        split: data.Split; validation images are compared on, training images calibrate int8.
        formats: names as in `export.formats`: "saved_model", "tflite_float32", "tflite_int8", ….
        directory: folder for the files.
        replace: bool, whether files that exist may be replaced.

    Returns:
        dict from the Path of each file to its Parity.
    """
    options = {
        "samples": split.test or split.validation,
        "sample_count": config.export.samples,
        "activation": _PROBABILITIES[models.task(model)] if config.export.probabilities else None,
        "replace": replace,
    }
    exports = {}
    for name in formats:
        if name == "saved_model":
            path = directory / "saved_model"
            exports[path] = export.saved_model(model, path, **options)
        else:
            path, quantize = directory / f"{name.replace('tflite', 'model')}.tflite", name.removeprefix("tflite_")
            exports[path] = export.tflite(
                model,
                path,
                quantize=None if quantize == "float32" else quantize,
                representative=split.train,
                representative_count=config.export.representative_samples,
                **options,
            )
        logger.info("exported %s", exports[path])
    return exports
