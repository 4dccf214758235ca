"""Reads and checks the files of a run directory.

Takes the directory; returns one record of plain values, in which missing files are empty. Must not draw.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kerastrain.errors import InputError, unknown
from kerastrain.report import explained_texts, reading, time_parts

_CLASSES = ("count", "loss", "accuracy", "macro", "weighted", "classes")
_MEASURES = {
    "single_label": (*_CLASSES, "confusion", "calibration"),
    "multi_label": (*_CLASSES, "exact"),
    "regression": ("count", "r2", "outputs", "scatter"),
    "language": ("sequences", "tokens", "loss", "perplexity", "accuracy"),
}
_PARITY = ("file", "kind", "sample_count", "agreement", "largest_difference", "relative_difference", "size_bytes")
_PARITY += ("gzip_bytes", "tolerance")
MOST_PICTURES = 40
"""The largest number of heatmaps in a report, which contains their pixels."""

MOST_TEXTS = 20
"""The largest number of explained texts in a report."""

MOST_THUMBNAILS = 60
"""The largest number of small pictures of errors, and of findings in the data, in a report."""

_SHEETS = "contact_sheet"  # pictures of other pictures
_NOT_LISTED = ("report.html", "model_card.md", "tensorboard", "checkpoints", "wandb")


@dataclass(frozen=True)
class RunFiles:
    """The contents of a run directory.

    Args:
        name: str, the directory's name.
        config: str, the YAML text of `config.yaml`.
        environment: dict, the contents of `environment.json`: versions and devices.
        history: list of dict from column to str, the rows of `history.csv`.
        measures: dict from the name of a data set to its measures, from `metrics.json` and then `evaluations/*.json`.
        verdict: dict, the contents of `verdict.json`: "findings" and "sound".
        operating_point: dict, the contents of `operating_point.json`: the temperature and the thresholds.
        training_data: dict, the contents of `training_data.json`: the number of examples of each class and part, and samples.
        training_samples: bytes of the picture `training_samples.png`.
        errors: dict, the contents of `errors.json`: the worst errors and the hardest examples.
        data_check: dict, the contents of `data_check/findings.json`.
        thumbnails: dict from the path of a picture in the run that `errors` or `data_check` names to its bytes.
        folds: dict, the contents of `folds.json`: the measures of each fold of a k-fold run, and their mean.
        parities: dict from a file's path in the run to its parity record, from every `parity.json`.
        latency: dict, the contents of `exports/latency.json`: the seconds of one example in each file, and where measured.
        explanations: dict from the file name of a picture in `explanations/` to its bytes, at most `MOST_PICTURES`.
        explanation_count: int >= 0, number of pictures in `explanations/`.
        explanation_index: dict from the file name of a picture to its record in `explanations/index.json`.
        explanation_methods: dict from a method to its scores over all pictures, from `explanations/index.json`.
        explained_texts: list of dict, the first explanations of `explanations/texts.jsonl`, at most `MOST_TEXTS`.
        samples: list of dict with "prompt", "expected", "before" and "after", the contents of `samples.json` of a language model.
        start: dict, the contents of `start.json`: the run that it was trained further from, and the labels that were kept.
        quarantine: list of dict with "path", "kind" and "reason", the rows of `quarantine.csv`.
        compression: dict, the contents of `compressed/compression.json`: "results", "skipped", "choice" and "calibration".
        pareto: bytes of the picture `compressed/pareto.png`; empty if there is no such file.
        tracking: dict, the contents of `tracking.json`: the id and the link of the run in each tracker.
        profile: dict, the contents of `profile.json`: where the time went, of a run with `runtime.profile`.
        seconds: float, the time that the run took, from `finished.json`; None for a run that did not finish.
        sizes: dict from a file's path in the run to its size in bytes, without checkpoints and TensorBoard files.
    """

    name: str
    config: str
    environment: dict
    history: list[dict[str, str]]
    measures: dict[str, dict]
    verdict: dict
    operating_point: dict
    training_data: dict
    training_samples: bytes
    errors: dict
    data_check: dict
    thumbnails: dict[str, bytes]
    folds: dict
    parities: dict[str, dict]
    latency: dict
    explanations: dict[str, bytes]
    explanation_count: int
    explanation_index: dict[str, dict]
    explanation_methods: dict[str, dict]
    explained_texts: list[dict]
    samples: list[dict[str, str]]
    start: dict
    quarantine: list[dict[str, str]]
    compression: dict
    pareto: bytes
    tracking: dict
    profile: dict
    seconds: float | None
    sizes: dict[str, int]


def read(directory: Path) -> RunFiles:
    """Reads a run directory.

    Args:
        directory: Path of the run.

    Returns:
        RunFiles.

    Raises:
        FileNotFoundError: `directory` does not exist or has no `config.yaml`.
        InputError: a file has invalid content; the message names the file.
    """
    directory = run_folder(directory)
    errors = reading.json_object(directory / "errors.json")
    data_check = reading.json_object(directory / "data_check" / "findings.json")
    pictures = [path for path in sorted(directory.glob("explanations/*.png")) if not path.name.startswith(_SHEETS)]
    return RunFiles(
        name=directory.resolve().name,
        config=reading.text(directory / "config.yaml"),
        environment=reading.json_object(directory / "environment.json"),
        history=reading.table(directory / "history.csv", texts=("phase",)),
        measures=_measures(directory),
        verdict=_verdict(directory / "verdict.json"),
        operating_point=reading.json_object(directory / "operating_point.json"),
        training_data=_training_data(directory / "training_data.json"),
        training_samples=reading.content(directory / "training_samples.png"),
        errors=errors,
        data_check=data_check,
        thumbnails={
            **_thumbnails(directory, "errors", errors),
            **_thumbnails(directory, "data_check", data_check),
        },
        folds=reading.json_object(directory / "folds.json"),
        parities=dict(_parity(directory, path) for path in sorted(directory.rglob("*parity.json"))),
        latency=reading.json_object(directory / "exports" / "latency.json"),
        explanations={path.name: path.read_bytes() for path in pictures[:MOST_PICTURES]},
        explanation_count=len(pictures),
        explanation_index=_explanations(directory / "explanations" / "index.json"),
        explanation_methods=reading.json_object(directory / "explanations" / "index.json").get("methods") or {},
        explained_texts=explained_texts.read(directory / "explanations", most=MOST_TEXTS),
        samples=reading.json_object(directory / "samples.json").get("samples", []),
        start=_start(directory / "start.json"),
        quarantine=reading.text_rows(directory / "quarantine.csv", ("path", "kind", "reason")),
        compression=_compression(directory / "compressed" / "compression.json"),
        pareto=reading.content(directory / "compressed" / "pareto.png"),
        tracking=reading.json_object(directory / "tracking.json"),
        profile=reading.json_object(directory / time_parts.FILE),
        seconds=reading.json_object(directory / "finished.json").get("seconds"),
        sizes={
            path.relative_to(directory).as_posix(): path.stat().st_size
            for path in sorted(directory.rglob("*"))
            if path.is_file() and path.relative_to(directory).parts[0] not in _NOT_LISTED
        },
    )


def run_folder(path: str | os.PathLike) -> Path:
    """Returns the folder of a run, also for the path of a file in it, such as its `model.keras` or `report.html`.

    Args:
        path: path of the folder or of a file directly in it.

    Returns:
        Path of a folder that contains a `config.yaml`.

    Raises:
        FileNotFoundError: there is no run at `path`.
    """
    path = Path(path).expanduser()
    folder = path.parent if path.is_file() else path
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} is not a run directory: it has no config.yaml. Give the folder that `train` printed."
        )
    return folder


def _measures(directory: Path) -> dict[str, dict]:
    written = directory / "metrics.json"
    measures = {
        name: _require_measures(written, record, f"measures of {name!r}")
        for name, record in reading.json_object(written).items()
    }
    for path in sorted(directory.glob("evaluations/*.json")):
        record = _require_measures(path, reading.json_object(path), "measures")
        # The measures of the run's own parts stay, whatever name the other data was given.
        measures[f"{path.stem} (other data)" if path.stem in measures else path.stem] = record
    return measures


def _require_measures(path: Path, record: dict, what: str) -> dict:
    # Measures of earlier versions, which only had single_label, have no `task`.
    task = record.get("task", "single_label") if isinstance(record, dict) else "single_label"
    if task not in _MEASURES:
        raise InputError(f"`{path}`: {unknown('task', task, _MEASURES)}")
    return {"task": task, **reading.require(path, record, _MEASURES[task], what)}


def _verdict(path: Path) -> dict:
    record = reading.json_object(path)
    reading.records(path, record.get("findings"), ("kind", "sentence"), "findings")
    return record


def _training_data(path: Path) -> dict:
    record = reading.json_object(path)
    return reading.require(path, record, ("kind", "task", "parts"), "the training data") if record else {}


def _explanations(path: Path) -> dict[str, dict]:
    rows = reading.json_object(path).get("explanations")
    return {row["file"]: row for row in reading.records(path, rows, ("file",), "explanations")}


def _start(path: Path) -> dict:
    record = reading.json_object(path)
    return reading.require(path, record, ("run", "kept", "new", "dropped"), "the start of a run") if record else {}


def _compression(path: Path) -> dict:
    record = reading.json_value(path)
    if not record or isinstance(record, list):  # a list in runs of versions without budgets
        return {}
    if isinstance(record, dict):  # Files of 0.1 have other names for two of the keys.
        record = {{"rungs": "results", "left_out": "skipped"}.get(key, key): value for key, value in record.items()}
    reading.require(path, record, ("results", "skipped", "choice", "calibration"), "a compression")
    for row in record["results"]:
        keys = ("name", "validation", "test", "zeros_fraction", "size_bytes", "gzip_bytes")
        reading.require(path, row, keys, "results")
    return record


def _parity(directory: Path, path: Path) -> tuple[str, dict]:
    record = reading.require(path, reading.json_object(path), _PARITY, "a parity record")
    folder = path.parent
    if path.name == "parity.json":  # inside the exported folder, and not beside an exported file
        folder = folder.parent.parent if folder.name == "assets.extra" else folder.parent
    # Records of earlier versions have no `measure`.
    return (folder / record["file"]).relative_to(directory).as_posix(), {"measure": None, **record}


def _thumbnails(directory: Path, folder: str, record: dict) -> dict[str, bytes]:
    """Reads the pictures that a file names, by their paths in the run: `folder` or the run may be where names begin."""
    names = [name for name in _texts(record) if name.lower().endswith((".png", ".jpg", ".jpeg"))]
    found = reading.pictures(directory / folder, [name.removeprefix(f"{folder}/") for name in names], MOST_THUMBNAILS)
    return {f"{folder}/{name}": content for name, content in found.items()}


def _texts(value: object) -> Iterator[str]:
    """Yields every text of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
