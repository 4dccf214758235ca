"""What is known about a trial while it is carried out: its objectives after each epoch, its time, and its record.

Takes what is logged and measured; reports it to the process that searches, and writes `trial.json`. Must not train.
"""

import csv
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain import callbacks
from kerastrain.config import Config
from kerastrain.evaluation import catalog
from kerastrain.recipe import best_phase, plan, user_model
from kerastrain.recipe.user_function import UserFunction
from kerastrain.tuning import trial_records
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.settings import Objective
from kerastrain.tuning.trial_process import Link, Outcome

_DIGITS = ".8g"  # as in history.csv, from which an epoch may be reported again


@dataclasses.dataclass
class Trial:
    """A trial while it is carried out.

    Args:
        assignment: Assignment.
        directory: Path of the search.
        objectives: sequence of Objective.
        kind: str in `catalog.KINDS`.
        link: Link.
        function: UserFunction that makes its model; None for that of the config.
    """

    assignment: Assignment
    directory: Path
    objectives: Sequence[Objective]
    kind: str
    link: Link
    function: UserFunction | None = None

    def __post_init__(self):
        self._began = time.monotonic()
        before = trial_records.read(self.directory, self.assignment)
        self.earlier_seconds: float = before.get("seconds", 0.0)
        self.best: Mapping | None = before.get("best")

    @property
    def folder(self) -> Path:
        """The folder of its run."""
        return self.directory / self.assignment.folder

    @property
    def seconds(self) -> float:
        """The time that all processes of the trial took, in seconds."""
        return self.earlier_seconds + time.monotonic() - self._began

    def begin(self, config: Config, example_count: int) -> None:
        """Reports how long the training is.

        Args:
            config: Config of the trial.
            example_count: int > 0, the number of training examples.
        """
        phases = plan.phases if self.function is None else user_model.phases
        epochs = sum(phase.epochs for phase in phases(config, example_count))
        self.link.begin(epochs=epochs, done=len(_history(self.folder)), seconds=self.earlier_seconds)

    def on_epoch(self, epoch: int, logs: Mapping[str, float]) -> str:
        """Reports the objectives after an epoch.

        Args:
            epoch: int >= 1, counted over all phases.
            logs: mapping from what was logged to its value.

        Returns:
            "continue", "pause" or "stop".
        """
        return self.link.epoch(epoch, self._logged(logs))

    def repeat_last_report(self) -> None:
        """Reports the last epoch of an earlier process again, whose report or answer may be lost, and does what the answer says.

        Raises:
            Paused: the answer is not to continue.
        """
        if history := _history(self.folder):
            answer = self.on_epoch(len(history), history[-1])
            if answer != "continue":
                raise callbacks.Paused(len(history), is_saved=answer == "pause")

    def record_best(self, best: best_phase.BestEpoch) -> None:
        """Records which epoch's weights the model has, for a process that finds the model.

        Args:
            best: BestEpoch.
        """
        self.best = {"phase": best.phase, "epoch": best.epoch}
        self.record("paused")

    def record(self, status: str, measures: Mapping[str, float] | None = None) -> None:
        """Writes `trial.json`.

        Args:
            status: str, as for `trial_records.write`.
            measures: mapping from the names of measures to numbers; None for the objectives of the best epoch so far.
        """
        history = _history(self.folder)
        first = self.objectives[0]
        curve = [(epoch, value) for epoch, row in enumerate(history, 1) for value in self._logged(row, first).values()]
        measures = self._so_far(history) if measures is None else measures
        trial_records.write(
            self.directory,
            self.assignment,
            status=status,
            measures=measures,
            curve=curve,
            epochs=len(history),
            seconds=self.seconds,
            best=self.best,
        )

    def wanted(self, measures: Mapping[str, Mapping]) -> dict[str, float]:
        """Selects what is recorded: all measures, but those of a single class only if they are objectives.

        Args:
            measures: mapping from a part of the data to its measures, as in `metrics.json`.

        Returns:
            dict from names such as "validation.macro.f1" to numbers.
        """
        names = {
            f"{part}.{name}": value for part, each in measures.items() for name, value in catalog.flat(each).items()
        }
        objectives = {objective.name for objective in self.objectives}
        return {name: value for name, value in names.items() if name in objectives or catalog.class_of(name) is None}

    def recorded(self) -> Outcome:
        """The outcome according to the record of the trial."""
        record = trial_records.read(self.directory, self.assignment)
        measures, history = record["measures"], _history(self.folder)
        values = {}
        for objective in self.objectives:
            value = measures.get(objective.name)
            if objective.epoch == "last" and history and (last := self._logged(history[-1], objective)):
                value = last[objective.name]
            if value is not None:
                values[objective.name] = value
        return Outcome(record["status"], record["epochs"], values)

    def _logged(self, logs: Mapping[str, float], *objectives: Objective) -> dict[str, float]:
        """The objectives that are logged after each epoch."""
        names = [(each.name, catalog.logged_name(each.name, self.kind)) for each in objectives or self.objectives]
        values = {name: logs[column] for name, column in names if column is not None and column in logs}
        return {name: float(f"{value:{_DIGITS}}") for name, value in values.items()}

    def _so_far(self, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The objectives after the epochs that are done: of the best epoch by the first objective."""
        rows = [row for row in map(self._logged, history) if row]
        first = self.objectives[0]
        return min(rows, key=lambda row: first.loss(row.get(first.name, float("nan"))), default={})


def _history(folder: Path) -> list[dict[str, float]]:
    """What was logged after each epoch, over all phases."""
    path = folder / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "phase" and value}
            for row in csv.DictReader(file)
        ]
