"""The trials of a search as its page shows them.

Takes the contents of `trials.json`; returns frozen records. Must not read files or draw.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kerastrain.report.search_axes import shown

_MOST_VALUES = 6  # in the text of a trial


@dataclass(frozen=True)
class Trial:
    """One trial.

    Args:
        number: int >= 1.
        kind: str, "completed", "pruned", "failed", "running" or "paused".
        values: mapping from each key that is set to its value.
        score: float, finite, or None.
        stddev: float, the standard deviation of its score over seeds, or None for one seed.
        measures: mapping from names to finite floats.
        curve: tuple of (epoch, finite float).
        epochs: int, the epochs that were trained.
        seconds: float.
        reason: str, why it failed or was pruned; "" for neither.
        folder: str, relative to the folder of the search.
        grade: int from 0, among the worst fifth of completed trials, to 4, among the best; None if it is not completed.
    """

    number: int
    kind: str
    values: Mapping[str, object]
    score: float | None
    stddev: float | None
    measures: Mapping[str, float]
    curve: tuple[tuple[float, float], ...]
    epochs: int
    seconds: float
    reason: str
    folder: str
    grade: int | None

    @property
    def title(self) -> str:
        """What is shown when pointing at the trial."""
        score = "" if self.score is None else f" {self.score:.4g}"
        status = "" if self.kind == "completed" else f" {self.kind}"
        values = ", ".join(
            f"{key.rpartition('.')[2]} {shown(value)}" for key, value in [*self.values.items()][:_MOST_VALUES]
        )
        return f"trial {self.number}{status}{score}: {values}"


def read(record: Mapping) -> list[Trial]:
    """Reads the trials.

    Args:
        record: mapping, the contents of `trials.json`.

    Returns:
        list of Trial in the order of their numbers, that of their start.
    """
    trials = sorted(record["trials"], key=lambda trial: trial["point"])
    sign = -1.0 if record["objectives"][0]["direction"] == "min" else 1.0
    ranked = sorted(
        (trial for trial in trials if trial["status"] == "completed" and _finite(trial["score"])),
        key=lambda trial: sign * trial["score"],
    )
    grades = {trial["point"]: rank * 5 // len(ranked) for rank, trial in enumerate(ranked)}
    return [_trial(trial, grades.get(trial["point"])) for trial in trials]


def best_so_far(trials: Sequence[Trial], direction: str) -> list[float | None]:
    """The best score of completed trials up to each trial.

    Args:
        trials: sequence of Trial.
        direction: "max" or "min".

    Returns:
        list of float, or None where no trial had completed.
    """
    choose = {"max": max, "min": min}[direction]
    scores = [trial.score if trial.kind == "completed" else None for trial in trials]
    better = lambda *pair: choose((score for score in pair if score is not None), default=None)
    return list(itertools.accumulate(scores, better))


def _trial(record: Mapping, grade: int | None) -> Trial:
    scores = [score for score in record.get("scores") or () if _finite(score)]
    return Trial(
        number=record["point"],
        kind=record["status"],
        values=record["values"],
        score=record["score"] if _finite(record["score"]) else None,
        stddev=statistics.stdev(scores) if len(scores) > 1 else None,
        measures={name: value for name, value in (record.get("measures") or {}).items() if _finite(value)},
        curve=tuple((at, value) for at, value in record.get("curve") or () if _finite(value)),
        epochs=record.get("epochs") or 0,
        seconds=record.get("seconds") or 0.0,
        reason=record.get("reason") or "",
        folder=record.get("folder") or "",
        grade=grade,
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
