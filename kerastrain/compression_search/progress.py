"""Reports the progress of a compression, predicts the time that is left, and keeps to a budget of time.

Takes counts of training steps and files; logs lines. Must not train or write files.
"""

import logging
import time
from collections.abc import Iterable, Sequence

import keras

from kerastrain.durations import spoken

logger = logging.getLogger("kerastrain")

_LINE_SECONDS = 30.0
_STEPS_BEFORE_PREDICTION = 5


class OutOfTime(RuntimeError):
    """A candidate does not fit into the rest of `budget.minutes`."""


class Pace:
    """The seconds that training steps and files have taken so far, from which the rest is predicted.

    Args:
        minutes: float > 0, the budget of time; None for no limit.
        spent_seconds: float >= 0, the time that earlier processes of the same compression took.
    """

    def __init__(self, minutes: float | None = None, spent_seconds: float = 0.0):
        self.minutes = minutes
        self._began = time.monotonic() - spent_seconds
        self._step_seconds: dict[str, float] = {}
        self._start_seconds: list[float] = []
        self._file_seconds: list[float] = []

    @property
    def spent_seconds(self) -> float:
        """The time of this process and the earlier ones."""
        return time.monotonic() - self._began

    @property
    def left_seconds(self) -> float:
        """The remaining time of the budget, in seconds; infinity without one."""
        return float("inf") if self.minutes is None else 60 * self.minutes - self.spent_seconds

    def add_training(self, kind: str, step_seconds: float) -> None:
        """Remembers the pace of a training.

        Args:
            kind: str, the kind of training, such as "prune".
            step_seconds: float > 0, its mean seconds per step.
        """
        self._step_seconds[kind] = step_seconds

    def add_start(self, kind: str, steps: int, seconds: float) -> None:
        """Remembers what a whole training took beside its steps, such as the tracing of the first one.

        Args:
            kind: str, the kind of training.
            steps: int >= 1, its steps.
            seconds: float >= 0, from its start to its end.
        """
        self._start_seconds.append(max(0.0, seconds - steps * self._step_seconds.get(kind, 0.0)))

    def add_file(self, seconds: float) -> None:
        """Remembers how long it took to export and measure a file.

        Args:
            seconds: float >= 0.
        """
        self._file_seconds.append(seconds)

    def predict(self, trainings: Iterable[tuple[str, int]], file_count: int) -> float | None:
        """Predicts the seconds of trainings and files; a kind of training that is new counts like the slowest so far.

        Args:
            trainings: iterable of (kind, steps).
            file_count: int >= 0.

        Returns:
            float >= 0, or None as long as nothing like it has been measured.
        """
        trainings = list(trainings)
        if (trainings and not self._step_seconds) or (file_count and not self._file_seconds):
            return None
        slowest = max(self._step_seconds.values(), default=0.0)
        stepping = sum(steps * self._step_seconds.get(kind, slowest) for kind, steps in trainings)
        return stepping + len(trainings) * _mean(self._start_seconds) + file_count * _mean(self._file_seconds)

    def require_time(self, seconds: float | None) -> None:
        """Raises if something takes longer than the rest of the budget.

        Args:
            seconds: float, the prediction; None if there is none, which requires only that time is left.

        Raises:
            OutOfTime: the budget of time is used up, or the rest of it is shorter.
        """
        if (seconds or 0.0) <= max(self.left_seconds, 0.0) and self.left_seconds > 0:
            return
        left = f"{spoken(max(self.left_seconds, 0.0))} of budget.minutes={self.minutes:g} are left"
        reason = left if seconds is None else f"it takes about {spoken(seconds)}, and {left}"
        raise OutOfTime(f"not tried: {reason}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


class Watch(keras.callbacks.Callback):
    """Measures the pace of a training, logs a line every 30 seconds, and stops it if it will not fit into the budget.

    Args:
        pace: Pace, which gets the measured pace.
        kind: str, the kind of training, such as "prune".
        first_step: int >= 0, the step that a resumed training starts from.
        logs_lines: bool, whether lines are logged; False if a bar shows the steps.
    """

    def __init__(self, pace: Pace, kind: str, *, first_step: int, logs_lines: bool):
        super().__init__()
        self.pace, self.kind, self.first_step, self.logs_lines = pace, kind, first_step, logs_lines
        self.out_of_time: OutOfTime | None = None
        self._times: list[float] = []

    @property
    def step_count(self) -> int:
        """The number of steps of this process."""
        return len(self._times)

    def on_train_begin(self, logs=None):
        """Starts the clock of the lines."""
        self._logged_seconds = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Updates the pace, after a step."""
        now = time.monotonic()
        self._times.append(now)
        if len(self._times) < _STEPS_BEFORE_PREDICTION:
            return
        step, total = self.first_step + batch + 1, self.params["steps"]
        step_seconds = (now - self._times[0]) / (len(self._times) - 1)  # without the first step, which is traced
        left_seconds = (total - step) * step_seconds
        self.pace.add_training(self.kind, step_seconds)
        if self.out_of_time is None and step < total and left_seconds > self.pace.left_seconds:
            try:
                self.pace.require_time(left_seconds)
            except OutOfTime as error:
                self.out_of_time = error
                self.model.stop_training = True
        if self.logs_lines and now - self._logged_seconds >= _LINE_SECONDS:
            self._logged_seconds = now
            logger.info("%s: step %d of %d, about %s left", self.kind, step, total, spoken(left_seconds))
