"""The file `trial.json` in the folder of a trial: what came of it, and why it failed.

Takes and returns plain values. Must not import TensorFlow, and must not decide anything.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain.system import files
from kerastrain.tuning.assignments import Assignment

FILE = "trial.json"


def write(
    directory: Path,
    assignment: Assignment,
    *,
    status: str,
    measures: Mapping[str, float] | None = None,
    curve: Sequence[tuple[int, float]] = (),
    epochs: int = 0,
    seconds: float = 0.0,
    reason: str | None = None,
    best: Mapping[str, object] | None = None,
) -> None:
    """Writes the record of a trial.

    Args:
        directory: Path of the search.
        assignment: Assignment.
        status: "completed", "paused", "pruned" or "failed".
        measures: mapping from the names of measures to numbers; NaN and infinity become null.
        curve: sequence of (epoch, first objective), by epoch.
        epochs: int >= 0, the epochs that are done, over all phases.
        seconds: float >= 0, the time that all processes of the trial took, in seconds.
        reason: str, why it failed; None otherwise.
        best: mapping with "phase" and "epoch", the epoch whose weights the model has; None if there is no model.

    Raises:
        WriteError: the disk is full or read-only.
    """
    record = {
        "point": assignment.point,
        "seed": assignment.seed,
        "values": dict(assignment.values),
        "status": status,
        "measures": {name: _finite(value) for name, value in (measures or {}).items()},
        "curve": [[epoch, _finite(value)] for epoch, value in curve],
        "epochs": epochs,
        "seconds": round(seconds, 3),
        "best": best,
        "reason": reason,
    }
    files.write_json(directory / assignment.folder / FILE, record)


def read(directory: Path, assignment: Assignment) -> dict:
    """Reads the record of a trial.

    Args:
        directory: Path of the search.
        assignment: Assignment.

    Returns:
        dict, as written by `write`; empty if the trial has none.
    """
    path = directory / assignment.folder / FILE
    return files.read_json(path) if path.is_file() else {}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
