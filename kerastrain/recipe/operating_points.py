"""Chooses the operating point of a run on its validation part, and measures the other parts with it.

Takes the folder of a run, whose `predictions/` are read; writes `operating_point.json`. Must not run the model, and must not
choose on test examples. Must not import TensorFlow.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from kerastrain import objectives
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.evaluation import operating_point, predictions
from kerastrain.evaluation.operating_point import FILE, OperatingPoint
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

PART = "validation"
"""The part that an operating point is chosen on."""


def is_wanted(config: Config) -> bool:
    """Whether a config asks for an operating point.

    Args:
        config: Config.

    Returns:
        bool.
    """
    return config.evaluation.threshold is not None or config.evaluation.temperature


def require(config: Config, labels: Sequence[str]) -> None:
    """Checks that the operating point that a config asks for can be chosen for its labels.

    Args:
        config: Config.
        labels: sequence of str, the names of the classes, labels or numbers of the data.

    Raises:
        InputError: `evaluation.threshold` or `evaluation.positive` does not fit them.
    """
    settings = config.evaluation
    objective = None if settings.threshold is None else objectives.parse(settings.threshold)
    for key, positive in (("threshold", None), ("positive", settings.positive)):
        try:
            operating_point.require(
                labels, config.data.task, objective, temperature=settings.temperature, positive=positive
            )
        except InputError as error:
            raise InputError(f"`evaluation.{key}`: {error}") from None


def require_for_export(directory: Path, config: Config) -> None:
    """Checks that a finished run has the operating point that its exported files are to carry.

    Args:
        directory: Path of the run.
        config: Config with the settings of the export.

    Raises:
        InputError: it has none.
    """
    if config.export.operating_point and not (directory / FILE).is_file():
        raise InputError(
            f"export.operating_point needs the operating point of the run. Received: {str(directory)!r}, without {FILE}. Choose "
            f"one: `kerastrain evaluate {directory} --threshold f1` or `--temperature`."
        )


def has_predictions(directory: Path) -> bool:
    """Whether a run has the predictions that an operating point is chosen on.

    Args:
        directory: Path of the run.

    Returns:
        bool.
    """
    return (directory / predictions.FOLDER / f"{PART}.npz").is_file()


def require_choice(directory: Path, config: Config, *, on_other_data: bool, replace: bool) -> None:
    """Checks that an operating point may be chosen for a finished run.

    Args:
        directory: Path of the run.
        config: Config of the run, with what is wanted.
        on_other_data: bool, whether it is asked for together with data other than the run's own.
        replace: bool, whether one that was chosen for something else may be replaced.

    Raises:
        InputError: it may not, or it is not clear what is wanted.
        FileExistsError: the run has one that was chosen for something else, and `replace` is False.
    """
    if config.is_language or not is_wanted(config):
        raise InputError(
            "an operating point needs evaluation.threshold or evaluation.temperature=true, and a model that classifies. "
            "Received: neither."
        )
    if on_other_data:
        raise InputError(
            f"an operating point is chosen on the {PART} part of the run's own data. Received: other data. Choose it first, and "
            "evaluate them afterwards."
        )
    if (directory / "labels.txt").is_file():
        require(config, (directory / "labels.txt").read_text(encoding="utf-8").splitlines())
    before = read(directory)
    if before is not None and not replace and before.get("wanted") != _wanted(config):
        objective = before.get("objective") or "a temperature"
        raise FileExistsError(
            f"'{directory / FILE}' holds an operating point for {objective}, and is not overwritten. Use --replace."
        )


def _wanted(config: Config) -> dict:
    settings = config.evaluation
    return {"threshold": settings.threshold, "temperature": settings.temperature, "positive": settings.positive}


def choose(directory: Path, config: Config) -> dict:
    """Chooses an operating point on the validation predictions of a run, and writes it to `operating_point.json`.

    Args:
        directory: Path of the run.
        config: Config, of which `evaluation` says what is wanted.

    Returns:
        dict, the content of the file: "temperature", "thresholds" (by label), "reject_below", "objective", "positive", "wanted"
        (the keys of `evaluation`), "chosen_on", "measures" (of each part as from `compared`), and "notes", sentences about what
        could not be chosen.

    Raises:
        InputError: the run has no predictions of its validation part, or nothing could be chosen.
        WriteError: the folder cannot be written to.
    """
    folder, settings = directory / predictions.FOLDER, config.evaluation
    if not has_predictions(directory):
        raise InputError(
            f"an operating point is chosen on the {PART} part. Received: {str(directory)!r}, which has no predictions of such "
            f"a part. If it has validation examples, `kerastrain evaluate {directory}` writes them."
        )
    parts = {PART: predictions.read(folder / f"{PART}.npz")}
    for name in ("train", "test"):
        if name in settings.sets and (folder / f"{name}.npz").is_file():
            parts[name] = predictions.read(folder / f"{name}.npz")
    point, notes = operating_point.choose(
        parts[PART], settings.threshold, temperature=settings.temperature, positive=settings.positive
    )
    if point == OperatingPoint():
        raise InputError(f"no operating point was chosen on {PART}: {' '.join(notes)}")
    record = {
        **dataclasses.asdict(point),
        "objective": settings.threshold,
        "wanted": _wanted(config),
        "positive": next(iter(point.thresholds), None) if parts[PART].task == "single_label" else None,
        "chosen_on": PART,
        "measures": {name: compared(part, point) for name, part in parts.items()},
        "notes": notes,
    }
    files.write_json(directory / FILE, record)
    return record


def compared(predicted: predictions.Predictions, point: OperatingPoint) -> dict[str, dict]:
    """Measures predictions at an operating point and without it.

    Args:
        predicted: Predictions.
        point: OperatingPoint.

    Returns:
        dict with "with" and "without", each as from `evaluation.operating_point.measure`.
    """
    without = operating_point.measure(predicted, OperatingPoint(), labels=tuple(point.thresholds))
    return {"with": operating_point.measure(predicted, point), "without": without}


def choose_if_wanted(directory: Path, config: Config) -> None:
    """Chooses the operating point that the config of a run asks for, and logs it and what could not be chosen.

    Args:
        directory: Path of the run.
        config: Config.

    Raises:
        WriteError: the folder cannot be written to.
    """
    if not is_wanted(config):
        return
    try:
        record = choose(directory, config)
    except InputError as error:  # A trained run is not lost for it.
        logger.warning("%s", error)
        return
    point = OperatingPoint(record["temperature"], record["thresholds"], record["reject_below"])
    logger.info("operating point, chosen on %s: %s", PART, point)
    for note in record["notes"]:
        logger.warning("operating point: %s", note)


def read(directory: Path) -> dict | None:
    """Reads the whole record of the operating point of a run.

    Args:
        directory: Path of the run.

    Returns:
        dict as from `choose`; None if there is none, or it is damaged.
    """
    try:
        record = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
