"""Reads and checks the files of a run directory.

Takes the directory; returns one record of plain values, in which missing files are empty. Must not draw.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kerastrain.errors import InputError, unknown
from kerastrain.report import explained_texts

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

_NOT_LISTED = ("report.html", "tensorboard", "checkpoints")


@dataclass(frozen=True)
class RunFiles:
    """The contents of a run directory.

    Args:
        name: str, the directory's name.
        config: str, the YAML text of `config.yaml`.
        environment: dict, the contents of `environment.json`: versions and devices.
        history: list of dict from column to str, the rows of `history.csv`.
        measures: dict from the name of a data set to its measures, from `metrics.json` and then `evaluations/*.json`.
        parities: dict from a file's path in the run to its parity record, from every `parity.json`.
        explanations: dict from the file name of a picture in `explanations/` to its PNG bytes, at most `MOST_PICTURES`.
        explanation_count: int >= 0, number of pictures in `explanations/`.
        explained_texts: list of dict, the first explanations of `explanations/texts.jsonl`, at most `MOST_TEXTS`.
        samples: list of dict with "prompt", "expected", "before" and "after", the contents of `samples.json` of a language model.
        start: dict, the contents of `start.json`: the run that it was trained further from, and the labels that were kept.
        quarantine: list of dict with "path", "kind" and "reason", the rows of `quarantine.csv`.
        compression: dict, the contents of `compressed/compression.json`: "results", "skipped", "choice" and "calibration".
        pareto: bytes of the picture `compressed/pareto.png`; empty if there is no such file.
        sizes: dict from a file's path in the run to its size in bytes, without checkpoints and TensorBoard files.
    """

    name: str
    config: str
    environment: dict
    history: list[dict[str, str]]
    measures: dict[str, dict]
    parities: dict[str, dict]
    explanations: dict[str, bytes]
    explanation_count: int
    explained_texts: list[dict]
    samples: list[dict[str, str]]
    start: dict
    quarantine: list[dict[str, str]]
    compression: dict
    pareto: bytes
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
    written = directory / "metrics.json"
    measures = {
        name: _require_measures(written, record, f"measures of {name!r}") for name, record in _json(written).items()
    }
    for path in sorted(directory.glob("evaluations/*.json")):
        record = _require_measures(path, _json(path), "measures")
        # The measures of the run's own parts stay, whatever name the other data was given.
        measures[f"{path.stem} (other data)" if path.stem in measures else path.stem] = record
    pictures = sorted(directory.glob("explanations/*.png"))
    return RunFiles(
        name=directory.resolve().name,
        config=_text(directory / "config.yaml"),
        environment=_json(directory / "environment.json"),
        history=_rows(directory / "history.csv"),
        measures=measures,
        parities=dict(_parity(directory, path) for path in sorted(directory.rglob("*parity.json"))),
        explanations={path.name: path.read_bytes() for path in pictures[:MOST_PICTURES]},
        explanation_count=len(pictures),
        explained_texts=explained_texts.read(directory / "explanations", most=MOST_TEXTS),
        samples=_json(directory / "samples.json").get("samples", []),
        start=_start(directory / "start.json"),
        quarantine=_quarantine(directory / "quarantine.csv"),
        compression=_compression(directory / "compressed" / "compression.json"),
        pareto=_bytes(directory / "compressed" / "pareto.png"),
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


def _start(path: Path) -> dict:
    record = _json(path)
    return _require(path, record, ("run", "kept", "new", "dropped"), "the start of a run") if record else {}


def _compression(path: Path) -> dict:
    if not path.is_file() or _text(path).startswith("["):  # a list in runs of versions without budgets
        return {}
    record = _json(path)
    if isinstance(record, dict):  # Files of 0.1 have other names for two of the keys.
        record = {{"rungs": "results", "left_out": "skipped"}.get(key, key): value for key, value in record.items()}
    _require(path, record, ("results", "skipped", "choice", "calibration"), "a compression")
    for row in record["results"]:
        _require(path, row, ("name", "validation", "test", "zeros_fraction", "size_bytes", "gzip_bytes"), "results")
    return record


def _parity(directory: Path, path: Path) -> tuple[str, dict]:
    record = _require(path, _json(path), _PARITY, "a parity record")
    folder = path.parent
    if path.name == "parity.json":  # inside the exported folder, and not beside an exported file
        folder = folder.parent.parent if folder.name == "assets.extra" else folder.parent
    # Records of earlier versions have no `measure`.
    return (folder / record["file"]).relative_to(directory).as_posix(), {"measure": None, **record}


def _require_measures(path: Path, record: dict, what: str) -> dict:
    # Measures of earlier versions, which only had single_label, have no `task`.
    task = record.get("task", "single_label") if isinstance(record, dict) else "single_label"
    if task not in _MEASURES:
        raise InputError(f"`{path}`: {unknown('task', task, _MEASURES)}")
    return {"task": task, **_require(path, record, _MEASURES[task], what)}


def _require(path: Path, record: dict, keys: tuple[str, ...], what: str) -> dict:
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise InputError(
            f"`{path}` must contain {what} with {', '.join(keys)}. Missing: {', '.join(missing)}. Write the file again "
            "with this version of kerastrain, or remove it."
        )
    return record


def _rows(path: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(_text(path).splitlines()))
    for row in rows:
        for column, value in row.items():
            if column != "phase":
                _number(path, column, value)
    return rows


def _quarantine(path: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(_text(path).splitlines()))
    for row in rows:
        _require(path, row, ("path", "kind", "reason"), "columns")
    return rows


def _number(path: Path, column: str, value: str) -> None:
    try:
        float(value or "nan")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{path}` must have numbers in its column {column!r}. Received: {value!r}. Repair the file, or remove it."
        ) from error


def _json(path: Path) -> dict:
    try:
        value = json.loads(_text(path) or "{}")
    except json.JSONDecodeError as error:
        raise InputError(f"`{path}` must be JSON. Received: {error}. Repair the file, or remove it.") from error
    if not isinstance(value, dict):
        raise InputError(
            f"`{path}` must be a JSON object. Received: {type(value).__name__}. Repair the file, or remove it."
        )
    return value


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _text(path: Path) -> str:
    """Returns the text of a file, or "" if it does not exist."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` must be UTF-8 text. Received: {error}. Repair the file, or remove it.") from error
