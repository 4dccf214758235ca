"""Evaluates a trained model on the parts of its data, and exports it to verified files."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kerastrain import data, evaluation, export, models
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import benchmark
from kerastrain.recipe import named_predictions, requirements
from kerastrain.recipe.backbone_features import BackboneFeatures
from kerastrain.system import files, stopwatch
from kerastrain.system.resources import processor_name

logger = logging.getLogger("kerastrain")

_PROBABILITIES = {"single_label": "softmax", "multi_label": "sigmoid"}
_FILES = {"saved_model": "saved_model", "keras": "model.keras", "onnx": "model.onnx"}


@stopwatch.timed("evaluation")
@data.surface_read_errors()
def measure(
    model: keras.Model,
    config: Config,
    split: data.Split,
    *,
    features: BackboneFeatures | None = None,
    on_predictions: Callable[[str, evaluation.Predictions], None] | None = None,
) -> dict[str, dict]:
    """Evaluates `model` on the parts of the data that `evaluation.sets` names.

    Args:
        model: keras.Model.
        config: Config.
        split: data.Split; parts that do not exist are skipped.
        features: BackboneFeatures of `model`, which keep those of a sample of each part; None to keep none.
        on_predictions: callable that gets the name of each part and what the model predicted, such as to write it; None
            drops it.

    Returns:
        dict from the name of a part to its measures; see `evaluation.measures`.

    Raises:
        InputError: as for `evaluation.predict`.
    """
    features = features or BackboneFeatures(model, config)
    predict = named_predictions.predictor(features, are_images=split.train.image_size is not None)
    measured = {}
    for name, part in split.parts.items():
        if name not in config.evaluation.sets:
            continue
        logger.info("evaluating %s: %s examples", name, f"{len(part):,}")
        predictions = predict(name, part)
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
        ParityError: a file differs too much from the model; it is removed, and the others stay.
        FileExistsError: a file exists and `replace` is False.
        InputError: the model cannot be exported to a format.
    """
    exports, errors = export_each(
        model, config, split, formats, directory, replace=replace, operating_point=operating_point
    )
    raise_first(errors)
    return exports


def export_each(
    model: keras.Model,
    config: Config,
    split: data.Split,
    formats: Sequence[str],
    directory: Path,
    *,
    replace: bool = False,
    operating_point: OperatingPoint | None = None,
) -> tuple[dict[Path, export.Parity], dict[str, Exception]]:
    """Exports as `export_all`; a format that fails costs only itself.

    Args:
        model: as for `export_all`.
        config: as for `export_all`.
        split: as for `export_all`.
        formats: as for `export_all`.
        directory: as for `export_all`.
        replace: as for `export_all`.
        operating_point: as for `export_all`.

    Returns:
        tuple of a dict from the Path of each file to its export.Parity, and a dict from the name of each format that failed to
        its InputError or OSError, such as that of a full disk.

    Raises:
        InputError: the model cannot be exported to one of the formats; nothing is written.
    """
    options = {"replace": replace, "operating_point": operating_point}
    with exporting(model, config, split, formats, directory, **options) as finish:
        return finish()


@contextlib.contextmanager
def exporting(
    model: keras.Model,
    config: Config,
    split: data.Split,
    formats: Sequence[str],
    directory: Path,
    *,
    process: export.ServingProcess | None = None,
    replace: bool = False,
    operating_point: OperatingPoint | None = None,
    outputs: Callable[[], np.ndarray | None] | None = None,
) -> Iterator[Callable[[], tuple[dict[Path, export.Parity], dict[str, Exception]]]]:
    """Context manager that begins to export. The model must not change in it; files that are not finished at its end are removed.

    Args:
        model: as for `export_all`.
        config: as for `export_all`.
        split: as for `export_all`.
        formats: as for `export_all`.
        directory: as for `export_all`.
        process: export.ServingProcess that runs SavedModels, and converts TFLite files in the background; None for one's own,
            which does not convert.
        replace: as for `export_all`.
        operating_point: as for `export_all`.
        outputs: as for `export.Session`, of the part `compared_part`; None to run the model.

    Yields:
        Callable that waits for the files and returns what `export_each` does.

    Raises:
        InputError: as for `export_each`.
    """
    requirements.require_formats(config, formats, model)
    pending, parities, errors = {}, {}, {}
    with export.Session(
        model,
        samples=split.parts[compared_part(split)],
        sample_count=config.export.samples,
        outputs=outputs,
        activation=_PROBABILITIES[models.task(model)] if config.export.probabilities else None,
        operating_point=operating_point if config.export.operating_point else None,
        process=process,
        background=process is not None,
    ) as session:
        for name in formats:
            with _recording(errors, name), stopwatch.part(f"export {name}"):
                logger.info("exporting %s", name)
                pending[name] = _begin(session, name, config, split, directory, replace)

        def finish() -> tuple[dict[Path, export.Parity], dict[str, Exception]]:
            for name, each in pending.items():
                with _recording(errors, name), stopwatch.part(f"export {name}"):
                    parities[name] = each.result()
                    logger.info("exported %s", parities[name])
            exports = {directory / file_name(name): parities[name] for name in formats if name in parities}
            return exports, {name: errors[name] for name in formats if name in errors}

        yield finish


def raise_first(errors: Mapping[str, Exception]) -> None:
    """Raises the error of the first format that failed, and logs those of the others; a full disk is reported once.

    Args:
        errors: mapping from the name of each format that failed to its error; empty to do nothing.
    """
    if not errors:
        return
    (_, first), *others = errors.items()
    for name, error in others:
        if not (isinstance(first, OSError) and isinstance(error, OSError)):
            logger.warning("not exported to %s: %s", name, error)
    raise first


def compared_part(split: data.Split) -> str:
    """The name of the part of the data on which files are compared with the model.

    Args:
        split: data.Split.

    Returns:
        str, the first of "test", "validation" and "train" that there is.
    """
    return next(name for name in ("test", "validation", "train") if name in split.parts)


def _begin(
    session: export.Session, name: str, config: Config, split: data.Split, directory: Path, replace: bool
) -> export.Pending:
    kind, options = _kind(name), {"replace": replace}
    options["tolerance"] = _tolerance(kind, config.export.score_loss_fraction)
    path = directory / file_name(name)
    if name in _FILES:
        write = {"saved_model": session.saved_model, "keras": session.keras_file, "onnx": session.onnx}[name]
        return write(path, **options)
    return session.tflite(
        path,
        quantize=None if kind == "float32" else kind,
        representative=split.train,
        representative_count=config.export.representative_samples,
        **options,
    )


def file_name(name: str) -> str:
    """The name of the file or folder of a format.

    Args:
        name: str as in `export.formats`.

    Returns:
        str, such as "model_int8.tflite".
    """
    return _FILES.get(name, f"model_{_kind(name)}.tflite")


def _kind(name: str) -> str:
    return name.removeprefix("tflite_") if name.startswith("tflite_") else "float32"


@contextlib.contextmanager
def _recording(errors: dict[str, Exception], name: str) -> Iterator[None]:
    """Records the error of a format, so that the others are exported all the same."""
    try:
        yield
    except (InputError, OSError) as error:
        errors[name] = error


@stopwatch.timed("export times")
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
