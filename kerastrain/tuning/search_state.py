"""The state of a search, as the events of its journal tell it.

Takes events; returns points with their trainings. The same events give the same state, in the process that wrote them and in
one that opens the journal later. Must not decide anything, and must not import TensorFlow or keras_tuner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Training:
    """A trial of keras-tuner: a training of a point, or its continuation up to a number of epochs.

    Args:
        trial_id: str, keras-tuner's name of it.
        point: int >= 1, the number of the point.
        seed: int >= 0, 0 except for further seeds.
        epochs: int >= 1, after how many epochs in total it pauses; None: it goes to its end.
        worker: str, the id of the worker that has it or had it; None if it was taken from one that is gone.
        started: str, ISO time.
        status: "running", "completed" (it has trained as long as was asked), "pruned" or "failed".
        reports: dict from an epoch to what was reported then, a dict from objectives to values.
        is_told_to_stop: bool, whether its worker was told to prune it.
        ended: str, ISO time; None while it runs.
        reason: str, why it failed; None otherwise.
    """

    trial_id: str
    point: int
    seed: int
    epochs: int | None
    worker: str | None
    started: str
    status: Literal["running", "completed", "pruned", "failed"] = "running"
    reports: dict[int, dict[str, float]] = field(default_factory=dict)
    is_told_to_stop: bool = False
    ended: str | None = None
    reason: str | None = None

    @property
    def last_epoch(self) -> int:
        """The epochs that were trained, with those of the trainings that it continues; 0 before the first report."""
        return max(self.reports, default=0)

    @property
    def result(self) -> Mapping[str, float]:
        """The objectives as they were reported last."""
        return self.reports.get(self.last_epoch, {})

    @property
    def reached_end(self) -> bool:
        """Whether nothing is left to train: it had no limit, or ended before it by itself."""
        return self.status == "completed" and (self.epochs is None or self.last_epoch < self.epochs)


@dataclass
class Point:
    """Values that were tried, with their trainings.

    Args:
        number: int >= 1.
        values: mapping from the active keys to their values.
        bracket: int >= 0, the bracket of hyperband; None for other algorithms.
        trainings: list of Training, in the order of their start.
    """

    number: int
    values: Mapping[str, Any]
    bracket: int | None = None
    trainings: list[Training] = field(default_factory=list)

    def of_seed(self, seed: int) -> list[Training]:
        """The trainings with a seed, each the continuation of the one before.

        Args:
            seed: int >= 0.

        Returns:
            list of Training.
        """
        return [training for training in self.trainings if training.seed == seed]

    @property
    def status(self) -> Literal["running", "paused", "completed", "pruned", "failed"]:
        """What became of the first training with its continuations."""
        last = self.of_seed(0)[-1]
        if last.status == "completed":
            return "completed" if last.reached_end else "paused"
        return last.status

    def result(self, seed: int = 0) -> Mapping[str, float]:
        """The objectives of the longest training with a seed.

        Args:
            seed: int >= 0.

        Returns:
            mapping from objectives to values, empty if no training has ended.
        """
        ended = [training for training in self.of_seed(seed) if training.status in ("completed", "pruned")]
        return ended[-1].result if ended else {}

    def curve(self, objective: str, seed: int = 0) -> dict[int, float]:
        """An objective after each epoch.

        Args:
            objective: str, its name.
            seed: int >= 0.

        Returns:
            dict from the epoch, counted over all continuations, to the value; in rising order.
        """
        values = {
            epoch: report[objective]
            for training in self.of_seed(seed)
            for epoch, report in training.reports.items()
            if objective in report
        }
        return dict(sorted(values.items()))


@dataclass
class SearchState:
    """Everything that happened in a search.

    Args:
        points: dict from its number to each Point, in the order of their start.
        trainings: dict from keras-tuner's name of it to each Training, in the order of their start.
        failures_in_a_row: int >= 0, the trials that failed since the last success, in the present session.
        stop_reason: str, why the present session ended early; None if it did not.
        exhausted_reason: str, why no new point was found; None while one was. "" if that needs no explanation.
        is_finished: bool, whether nothing is left to do.
    """

    points: dict[int, Point] = field(default_factory=dict)
    trainings: dict[str, Training] = field(default_factory=dict)
    failures_in_a_row: int = 0
    stop_reason: str | None = None
    exhausted_reason: str | None = None
    is_finished: bool = False

    def apply(self, event: Mapping[str, Any]) -> None:
        """Takes note of an event of the journal.

        Args:
            event: mapping, as the journal returns it. Unknown kinds are skipped.
        """
        handle = _HANDLERS.get(event["event"])
        if handle:
            handle(self, event)

    @property
    def status(self) -> Literal["running", "stopped", "finished"]:
        """Whether the search goes on, is "stopped": ended early, but to be continued from its directory, or "finished"."""
        if self.is_finished:
            return "finished"
        return "stopped" if self.stop_reason else "running"

    @property
    def reason(self) -> str | None:
        """Why the search ended before all its points were tried, in a sentence; None if it did not."""
        return self.stop_reason or self.exhausted_reason or None

    @property
    def running(self) -> list[Training]:
        """The trainings that have started and not ended, in the order of their start."""
        return [training for training in self.trainings.values() if training.status == "running"]


def _open(state: SearchState, event: Mapping[str, Any]) -> None:
    state.failures_in_a_row, state.stop_reason = 0, None


def _start(state: SearchState, event: Mapping[str, Any]) -> None:
    number = event["point"]
    if number not in state.points:
        state.points[number] = Point(number, event["values"], event["bracket"])
    training = Training(event["trial"], number, event["seed"], event["epochs"], event["worker"], event["time"])
    state.points[number].trainings.append(training)
    state.trainings[training.trial_id] = training


def _resume(state: SearchState, event: Mapping[str, Any]) -> None:
    state.trainings[event["trial"]].worker = event["worker"]


def _hand_back(state: SearchState, event: Mapping[str, Any]) -> None:
    state.trainings[event["trial"]].worker = None


def _report(state: SearchState, event: Mapping[str, Any]) -> None:
    training = state.trainings[event["trial"]]
    training.reports.setdefault(event["epoch"], {}).update(event["values"])
    training.is_told_to_stop = training.is_told_to_stop or event["stop"]


def _end(state: SearchState, event: Mapping[str, Any]) -> None:
    training = state.trainings[event["trial"]]
    training.status, training.reason, training.ended = event["status"], event["reason"], event["time"]
    state.failures_in_a_row = state.failures_in_a_row + 1 if event["status"] == "failed" else 0


def _stop(state: SearchState, event: Mapping[str, Any]) -> None:
    state.stop_reason = event["reason"]


def _exhausted(state: SearchState, event: Mapping[str, Any]) -> None:
    state.exhausted_reason = event["reason"]


def _finish(state: SearchState, event: Mapping[str, Any]) -> None:
    state.is_finished = True


_HANDLERS = {
    "open": _open,
    "start": _start,
    "resume": _resume,
    "hand_back": _hand_back,
    "report": _report,
    "end": _end,
    "stop": _stop,
    "exhausted": _exhausted,
    "finish": _finish,
}
