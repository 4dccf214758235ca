"""What becomes of a training that a worker has ended: completed, pruned, or failed for a reason.

Takes what was reported and the worker's Trial; returns a status. Must not change anything.
"""

import json
import math
from pathlib import Path

from kerastrain.tuning import assignments, trial_records
from kerastrain.tuning.search_state import Training
from kerastrain.tuning.settings import Settings


def outcome(settings: Settings, training: Training, trial, directory: Path) -> tuple[str, str | None]:
    """The status with which a training ends.

    Args:
        settings: Settings.
        training: Training.
        trial: keras_tuner Trial, as the worker ended it.
        directory: Path of the search folder.

    Returns:
        ("completed" or "pruned", None), or ("failed", reason): the worker said so, or an objective is missing or not finite. At
        a rung, and if the training was pruned, only the first objective must be known.
    """
    if trial.status != "COMPLETED":
        reason = (trial.message or _recorded_reason(training, directory) or "no reason was given").strip()
        # keras-tuner's own tuners give the whole traceback.
        return "failed", reason.splitlines()[-1] if reason.startswith("Traceback") else reason
    is_partial = training.epochs is not None or training.is_told_to_stop
    for objective in settings.objectives[: 1 if is_partial else None]:
        value = training.result.get(objective.name)
        if value is None or not math.isfinite(value):
            return "failed", f"{objective.name} is {'missing' if value is None else value}"
    return ("pruned" if training.is_told_to_stop else "completed"), None


def _recorded_reason(training: Training, directory: Path) -> str | None:
    """The reason in the record of the trial: a message does not travel over gRPC."""
    path = directory / assignments.folder(training.point, training.seed) / trial_records.FILE
    try:
        return json.loads(path.read_bytes())["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
