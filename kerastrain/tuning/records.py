"""What is known of a search, for people and programs that read it: `trials.json` and `trials.csv`.

Takes the folder of a search: its journal and the `trial.json` of each trial; writes the two files, each complete or not at all.
Must not change the journal, and must not import TensorFlow or keras_tuner.
"""

import csv
import datetime
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from kerastrain.errors import InputError
from kerastrain.system import files
from kerastrain.tuning import assignments, journal, recorded_space, trial_records, winner
from kerastrain.tuning.search_state import Point, SearchState
from kerastrain.tuning.settings import Settings
from kerastrain.tuning.space import Space

FILE, TABLE = "trials.json", "trials.csv"
TEST_FILE = "test.json"
"""The file that says when the test part was measured with the winner, which was trained again for that."""


def write(directory: str | Path) -> dict[str, Any]:
    """Writes `trials.json` and `trials.csv`.

    Args:
        directory: path of the search folder.

    Returns:
        dict, the content of `trials.json`.

    Raises:
        InputError: there is no search in the folder, or its journal is damaged.
        WriteError: the disk is full or read-only.
    """
    directory = Path(directory)
    record = collect(directory)
    files.write_json(directory / FILE, record)
    files.write_text(directory / TABLE, _table(record))
    return record


def read(directory: str | Path) -> dict[str, Any]:
    """Reads `trials.json`.

    Args:
        directory: path of the search folder.

    Returns:
        dict.

    Raises:
        InputError: there is none.
    """
    path = Path(directory) / FILE
    if not path.is_file():
        raise InputError(f"'{directory}' must be the folder of a search. Received: a folder without {FILE}.")
    return files.read_json(path)


def collect(directory: Path) -> dict[str, Any]:
    """Collects what is known of a search.

    Args:
        directory: Path of the search folder.

    Returns:
        dict, the content of `trials.json`.

    Raises:
        InputError: there is no search in the folder, or its journal is damaged.
    """
    events, state = journal.read(directory), SearchState()
    if not events:
        raise InputError(f"'{directory}' must be the folder of a search. Received: a folder without {journal.FILE}.")
    settings, space = Settings.from_dict(events[0]["settings"]), Space.from_dict(events[0]["space"])
    for event in events:
        state.apply(event)
    objectives = [
        {"measure": objective.name, "direction": objective.direction, "epoch": objective.epoch}
        for objective in settings.objectives
    ]
    record = {
        "algorithm": settings.algorithm,
        "objectives": objectives,
        "space": {key: _as_in_search_file(entry) for key, entry in space.to_dict()["parameters"].items()},
        "constraints": list(space.constraints),
        "seed": settings.seed,
        "state": state.status,
        "reason": state.reason,
        "trials_planned": events[0]["planned"],
        "max_epochs": settings.max_epochs,
        "best": None,
        "pareto": [],
        "seconds": _seconds(events),
        "trials": [_trial(directory, settings, point, state.status) for point in state.points.values()],
        "test": _json(directory / TEST_FILE) or None,
    }
    best = winner.choose(record)
    record["best"] = best and best.point
    if len(objectives) > 1:
        record["pareto"] = list(winner.pareto(record["trials"], objectives))
    return record


def _as_in_search_file(entry: Mapping[str, Any]) -> Any:
    """The description of a key in its shortest form."""
    if "choices" in entry and not entry["when"]:
        return entry["choices"]
    return {name: value for name, value in entry.items() if not (value is None or value is False or value == {})}


def _trial(directory: Path, settings: Settings, point: Point, search_status: str) -> dict[str, Any]:
    seeds = sorted({training.seed for training in point.trainings})
    folders = [_json(directory / assignments.folder(point.number, seed) / trial_records.FILE) for seed in seeds]
    first, last = settings.objectives[0].name, point.of_seed(0)[-1]
    results = [_last_result(point, seed) for seed in seeds]
    scores = [_finite(result.get(first)) for result in results]
    known = [score for score in scores if score is not None]
    curve = {**point.curve(first), **{epoch: value for epoch, value in folders[0].get("curve", [])}}
    epochs = [
        max(folder.get("epochs", 0), *(training.last_epoch for training in point.of_seed(seed)))
        for seed, folder in zip(seeds, folders, strict=True)
    ]
    return {
        "point": point.number,
        "folder": assignments.folder(point.number),
        "values": dict(point.values),
        "status": _status(point, search_status),
        "score": fmean(known) if known else None,
        "scores": scores,
        "measures": _means(
            [{**result, **folder.get("measures", {})} for result, folder in zip(results, folders, strict=True)]
        ),
        "epochs": sum(epochs),
        "curve": [[epoch, _finite(curve[epoch])] for epoch in sorted(curve)],
        "seconds": round(
            sum(_trained_seconds(point, seed, folder) for seed, folder in zip(seeds, folders, strict=True)), 3
        ),
        "started": point.trainings[0].started,
        "reason": last.reason,
    }


def _last_result(point: Point, seed: int) -> Mapping[str, float]:
    """The objectives of a training that has ended without a failure; empty for others."""
    return {} if point.of_seed(seed)[-1].status == "failed" else point.result(seed)


def _status(point: Point, search_status: str) -> str:
    """What became of a point; one that a search has left behind is pruned."""
    if point.status == "paused" and search_status == "finished":
        return "pruned"
    is_running = any(training.status == "running" for training in point.trainings)
    if is_running:
        return "paused" if search_status == "stopped" else "running"
    return point.status


def _means(measures: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each measure over the seeds that have it."""
    names = dict.fromkeys(name for entry in measures for name in entry)
    values = {name: [v for entry in measures if (v := _finite(entry.get(name))) is not None] for name in names}
    return {name: fmean(known) for name, known in values.items() if known}


def _trained_seconds(point: Point, seed: int, folder: Mapping[str, Any]) -> float:
    """The seconds that a training took: as its processes measured, else from its start to its end."""
    if "seconds" in folder:
        return folder["seconds"]
    trainings = [training for training in point.of_seed(seed) if training.ended]
    return sum((_time(t.ended) - _time(t.started)).total_seconds() for t in trainings)


def _seconds(events: Sequence[Mapping[str, Any]]) -> float:
    """The seconds that the sessions of a search took, from opening to the last event of each."""
    total, opened = 0.0, _time(events[0]["time"])
    latest = opened
    for event in events:
        if event["event"] == "open":
            total, opened = total + (latest - opened).total_seconds(), _time(event["time"])
        latest = _time(event["time"])
    return round(total + (latest - opened).total_seconds(), 3)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if there is none."""
    return files.read_json(path) if path.is_file() else {}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _table(record: Mapping[str, Any]) -> str:
    """One line for each trial: what became of it, the objectives, and the searched keys."""
    measures = [objective["measure"] for objective in record["objectives"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "status", "score", "epochs", "seconds", "started", "reason", *measures, *record["space"]])
    for trial in record["trials"]:
        writer.writerow(
            [
                trial["point"],
                *(trial[name] for name in ("status", "score", "epochs", "seconds", "started", "reason")),
                *(trial["measures"].get(name) for name in measures),
                *(_cell(trial["values"][key]) if key in trial["values"] else "" for key in record["space"]),
            ]
        )
    return text.getvalue()


def _cell(value: object) -> object:
    """A value as a cell: numbers in full, others as `recorded_space.text` writes them."""
    return value if recorded_space.is_number(value) else recorded_space.text(value)
