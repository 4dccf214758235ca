"""What is known of a search while it runs: its trials, the best so far, and the time left.

Takes the events of a search; returns lines and counts. Must not print or write files.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kerastrain.cli.search_texts import first_sentence, number, settings
from kerastrain.durations import spoken
from kerastrain.errors import counted

_ENDED = ("completed", "pruned", "failed", "paused")


@dataclass
class Training:
    """One training of a point of the space.

    Args:
        point: int >= 1, the number of the trial.
        seed: int >= 0, the number of the training of this point; 0 for the first.
        values: mapping from a searched key to its value.
        status: "running", "paused", "completed", "pruned" or "failed".
        epoch: int >= 0, the epochs that are trained.
        epochs: int > 0, the epochs of the whole training; None if unknown.
        value: float, the newest value of the first objective; None if there is none yet.
        reason: str, why it failed or was pruned, or None.
    """

    point: int
    seed: int = 0
    values: Mapping = field(default_factory=dict)
    status: str = "running"
    epoch: int = 0
    epochs: int | None = None
    value: float | None = None
    reason: str | None = None

    @property
    def done_fraction(self) -> float:
        """The part of the training that is done, in [0, 1]; 1 for one that has ended."""
        if self.status in _ENDED:
            return 1.0
        return min(self.epoch / self.epochs, 1.0) if self.epochs else 0.0


class SearchProgress:
    """The state of a search, updated by its events.

    Args:
        measure: str, the first objective, such as "validation.accuracy".
        direction: "max" or "min", whether higher or lower values are better.
        trials: int > 0, the planned number of points; None if unknown.
        trainings: int > 0, the planned number of trainings, which is larger with several seeds; None for `trials`.
        minutes: float > 0, the time limit of the search; None for none.
        earlier: iterable of trial records of `trials.json`, for a search that is resumed.
        clock: callable that returns the time in seconds.
    """

    def __init__(
        self,
        measure: str,
        direction: str,
        *,
        trials: int | None,
        trainings: int | None = None,
        minutes: float | None = None,
        earlier: Iterable[Mapping] = (),
        clock: Callable[[], float] = time.monotonic,
    ):
        self.measure, self.trials, self.minutes = measure, trials, minutes
        self.trainings: dict[tuple[int, int], Training] = {}
        for record in earlier:
            self._add_earlier(record)
        self._sign = 1 if direction == "max" else -1
        self._planned = trainings or trials
        self._clock, self._began = clock, clock()
        self._earlier_work = self._work()

    def add(self, event) -> str | None:
        """Updates the state by an event of the search.

        Args:
            event: tuning.Event.

        Returns:
            str, the line that says so where there is no table; None for an event without a line.
        """
        assignment = event.assignment
        key = (assignment.point, assignment.seed)
        training = self.trainings.setdefault(key, Training(*key))
        training.values = assignment.values
        training.epoch = event.epoch or training.epoch
        training.epochs = event.epochs or training.epochs
        training.reason = event.reason
        if event.value is not None:
            training.value = event.value
        training.status = {"pause": "paused", "end": event.status}.get(event.kind, "running")
        name = self._name(training)
        if event.kind == "start":
            return f"{name} starts: {settings(training.values)}"
        if event.kind == "resume":
            return f"{name} resumes after epoch {training.epoch}"
        return None if event.kind == "epoch" else name + self._ending(training)

    @property
    def best(self) -> Training | None:
        """The completed first training of a point with the best value; None before there is one."""
        scored = [one for one in self.listed("completed") if one.value is not None and not one.seed]
        return max(scored, key=lambda one: self._sign * one.value, default=None)

    @property
    def left_seconds(self) -> float | None:
        """The predicted time until the end of the search, by the pace so far; None before a training has ended."""
        work, elapsed = self._work(), self._clock() - self._began
        limit = None if self.minutes is None else max(60 * self.minutes - elapsed, 0.0)
        done_here = work - self._earlier_work
        if self._planned is None or done_here <= 0 or not any(one.status in _ENDED for one in self._all()):
            return limit
        left = elapsed * max(self._planned - work, 0.0) / done_here
        return left if limit is None else min(left, limit)

    def listed(self, *statuses: str) -> list[Training]:
        """The trainings with one of the statuses, by point and seed."""
        ordered = sorted(self._all(), key=lambda one: (one.point, one.seed))
        return [one for one in ordered if one.status in statuses]

    def ranked(self) -> list[Training]:
        """The completed trainings with a value, best first."""
        scored = [one for one in self.listed("completed") if one.value is not None]
        return sorted(scored, key=lambda one: -self._sign * one.value)

    def summary(self) -> str:
        """One line: how many trials have started, how they ended, the best, and the time left."""
        started = len({one.point for one in self._all()})
        parts = [f"trial {started} of {self.trials}" if self.trials else counted(started, "trials")]
        for status in _ENDED:
            if count := len(self.listed(status)):
                parts.append(f"{count} {status}")
        if best := self.best:
            parts.append(f"best {number(best.value)} (trial {best.point})")
        if left := self.left_seconds:
            parts.append(f"about {spoken(left)} left")
        return " · ".join(parts)

    def _ending(self, training: Training) -> str:
        reached = "" if training.value is None else f": {self.measure} {number(training.value)}"
        if training.status == "failed":
            text = f" failed: {first_sentence(training.reason)}"
        elif training.status in ("pruned", "paused"):
            of = f" of {training.epochs}" if training.epochs else ""
            text = f" {training.status} after epoch {training.epoch}{of}{reached}"
        else:
            text = reached or " completed"
        best = self.best
        if best is training:
            text += " (best so far)"
        elif best is not None:
            text += f" (best {number(best.value)}, trial {best.point})"
        left = self.left_seconds
        return text + ("" if not left else f"; about {spoken(left)} left")

    def _name(self, training: Training) -> str:
        of = f" of {self.trials}" if self.trials else ""
        return f"trial {training.point}{of}" + (f", seed {training.seed + 1}" if training.seed else "")

    def _add_earlier(self, record: Mapping) -> None:
        first, *further = record.get("scores") or [record.get("score")]
        for seed, score in [(0, first), *((seed, score) for seed, score in enumerate(further, 1) if score is not None)]:
            self.trainings[record["point"], seed] = Training(
                record["point"],
                seed,
                record["values"],
                "paused" if record["status"] == "running" else record["status"],  # until its process starts again
                epoch=record["epochs"] or 0,
                value=score,
                reason=record["reason"],
            )

    def _work(self) -> float:
        return sum(one.done_fraction for one in self._all())

    def _all(self) -> list[Training]:
        return list(self.trainings.values())  # a copy, because a live table reads it from another thread
