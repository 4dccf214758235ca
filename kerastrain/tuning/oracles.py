"""The Oracle of a search: keras-tuner's interface over a journal, so that nothing is lost and nothing is done twice.

Takes settings and a space; hands out trials and takes their results, through the methods of a keras_tuner.Oracle that workers
call, in this process or over keras-tuner's gRPC service. What it decides follows from the journal alone. Must not train, and must
not know configs or models.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

from kerastrain.system import isolated_imports, optional_imports
from kerastrain.tuning import (
    assignments,
    journal_header,
    keras_tuner_trials,
    next_trial,
    outcomes,
    proposals,
    pruning,
)
from kerastrain.tuning.hyperparameters import to_keras_tuner
from kerastrain.tuning.journal import Journal
from kerastrain.tuning.search_state import SearchState, Training
from kerastrain.tuning.settings import Settings
from kerastrain.tuning.space import Space


def oracle(settings: Settings, space: Space, directory: str | Path, *, keep_ongoing: bool = False):
    """Opens the search of a directory, or begins one there.

    Opening a directory with a journal gives the state in which the search was: trials that ended are not handed out again, and
    those that had started and not ended are handed out first.

    Args:
        settings: Settings.
        space: Space.
        directory: path of the search folder; made if missing.
        keep_ongoing: bool, whether trials that had not ended stay with the workers that had them, for a server whose workers
            have outlived it. False: anyone gets them.

    Returns:
        keras_tuner.Oracle, see `JournaledOracle`.

    Raises:
        InputError: the journal is damaged or that of another search, or the extra of the algorithm is not installed.
    """
    if settings.algorithm == "tpe":
        optional_imports.need("hyperopt", extra="tpe", to="search with tpe")
    keras_tuner = isolated_imports.keras_tuner()
    kind = type("SearchOracle", (JournaledOracle, keras_tuner.Oracle), {})
    return kind(keras_tuner, settings, space, Path(directory), keep_ongoing)


class JournaledOracle:
    """What a keras_tuner.Oracle of `oracle` has beside and instead of keras-tuner's.

    Args:
        keras_tuner: the module keras_tuner.
        settings: Settings.
        space: Space.
        search_directory: Path.
        keep_ongoing: bool.
    """

    def __init__(self, keras_tuner, settings: Settings, space: Space, search_directory: Path, keep_ongoing: bool):
        self._journal = Journal(search_directory)
        if self._journal.events:
            journal_header.check(self._journal.events[0], settings, space, search_directory)
        else:
            self._journal.append("search", **journal_header.content(settings, space))
        objectives = [keras_tuner.Objective(objective.name, objective.direction) for objective in settings.objectives]
        super().__init__(
            objectives if len(objectives) > 1 else objectives[0],
            max_trials=self._journal.events[0]["planned"],
            hyperparameters=to_keras_tuner(keras_tuner, space),
            seed=settings.seed or None,
        )
        self.verbose = 0
        self.settings, self.search_space, self.search_directory = settings, space, search_directory
        self._keras_tuner = keras_tuner
        self._mutex = threading.RLock()
        self._search = SearchState()
        self._replay(keep_ongoing)

    @property
    def reason(self) -> str | None:
        """Why the search ended before all its points were tried, in a sentence; None if it did not."""
        return self._search.reason

    @property
    def state(self) -> str:
        """Whether the search is "running", "finished", or "stopped": ended early, but to be continued from its directory."""
        return self._search.status

    @property
    def stopped(self) -> bool:
        """Whether `create_trial` hands out nothing more."""
        return self.state != "running"

    def create_trial(self, tuner_id: str):
        """Hands out a trial.

        Args:
            tuner_id: str, the id of the worker. One that has a trial gets the same again.

        Returns:
            keras_tuner Trial with the status RUNNING (`assignments.assignment` reads it), IDLE (ask again later) or STOPPED.
        """
        with self._mutex:
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            self.tuner_ids.add(tuner_id)
            if not self.stopped:
                trial = self._unfinished_trial(tuner_id) or self._next_trial(tuner_id)
                if trial is not None:
                    self.ongoing_trials[tuner_id] = trial
                    return trial
            if self.stopped:
                self.tuner_ids.discard(tuner_id)
            return keras_tuner_trials.empty(self._keras_tuner, "STOPPED" if self.stopped else "IDLE")

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0):
        """Takes note of what a trial has reached. A report of the same epoch replaces the one before.

        Args:
            trial_id: str.
            metrics: mapping from objectives, as many as are known, to values.
            step: int >= 0, the epochs trained, with those of the trials that this one continues.

        Returns:
            keras_tuner Trial; its status is STOPPED if the training is to be pruned now.
        """
        with self._mutex:
            training, trial = self._search.trainings[trial_id], self.trials[trial_id]
            if training.status != "running":
                return trial
            names = {objective.name for objective in self.settings.objectives}
            values = {name: float(value) for name, value in metrics.items() if name in names}
            report = {"trial": trial_id, "epoch": int(step), "values": values}
            self._search.apply({"event": "report", "stop": False, **report})
            stop = training.is_told_to_stop or pruning.ends_early(self.settings, self._search, training)
            self._apply("report", durable=False, **report, stop=stop)
            keras_tuner_trials.show_report(trial, self.settings.objectives, values, int(step))
            trial.status = "STOPPED" if stop else "RUNNING"
            return trial

    def end_trial(self, trial) -> None:
        """Takes note that a trial has ended. The objectives that were reported last are its result.

        Args:
            trial: keras_tuner Trial with the status COMPLETED, also if it was pruned, or else FAILED or INVALID with the reason
                in `message` or in `trial.json` of its folder. A status COMPLETED becomes FAILED if an objective is missing or
                not finite.
        """
        with self._mutex:
            training, own = self._search.trainings[trial.trial_id], self.trials[trial.trial_id]
            if training.status == "running":
                status, reason = outcomes.outcome(self.settings, training, trial, self.search_directory)
                self._apply("end", trial=training.trial_id, status=status, reason=reason)
                self._settle(own, training)
                for worker in [name for name, other in self.ongoing_trials.items() if other.trial_id == own.trial_id]:
                    del self.ongoing_trials[worker]
                self._note_failures(reason)
                self._note_finish()
            trial.status, trial.message, trial.score = own.status, own.message, own.score

    def hand_back(self, tuner_id: str) -> None:
        """Frees the trial of a worker that is gone; whoever asks next gets it.

        Args:
            tuner_id: str.
        """
        with self._mutex:
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is not None:
                self._apply("hand_back", trial=trial.trial_id, worker=tuner_id)

    def stop(self, reason: str) -> None:
        """Ends the search early: nothing more is handed out until its directory is opened again.

        Args:
            reason: str, why, in a sentence.
        """
        with self._mutex:
            if not self.stopped:
                self._apply("stop", reason=reason)

    def get_best_trials(self, num_trials: int = 1) -> list:
        """The trials of the best points that were trained to their end.

        Args:
            num_trials: int > 0, the most trials to return.

        Returns:
            list of keras_tuner Trial, the best first.
        """
        with self._mutex:
            done = [
                training for training in self._search.trainings.values() if training.reached_end and not training.seed
            ]
            loss = self.settings.objectives[0].loss
            done.sort(key=lambda training: loss(self.trials[training.trial_id].score))
            return [self.trials[training.trial_id] for training in done[:num_trials]]

    def save(self) -> None:
        """Writes nothing: the journal is written as things happen."""

    def reload(self) -> None:
        """Reads nothing: the journal was read at the start."""

    def _replay(self, keep_ongoing: bool) -> None:
        for event in self._journal.events:
            self._search.apply(event)
        for training in self._search.trainings.values():
            trial = self._add_trial(training)
            for epoch, values in training.reports.items():
                keras_tuner_trials.show_report(trial, self.settings.objectives, values, epoch)
            if training.status != "running":
                self._settle(trial, training)
            elif keep_ongoing and training.worker is not None:
                self.ongoing_trials[training.worker] = trial
                self.tuner_ids.add(training.worker)
        self._apply("open")

    def _apply(self, event: str, *, durable: bool = True, **content) -> None:
        self._search.apply(self._journal.append(event, durable=durable, **content))

    def _unfinished_trial(self, tuner_id: str):
        taken = {trial.trial_id for trial in self.ongoing_trials.values()}
        for training in self._search.running:
            if training.trial_id not in taken:
                self._apply("resume", trial=training.trial_id, worker=tuner_id)
                trial = self.trials[training.trial_id]
                trial.status = "RUNNING"
                return trial
        return None

    def _next_trial(self, tuner_id: str):
        """Starts a new trial; None if there is none at the moment, or no more."""
        step = next_trial.decide(self.settings, self._search)
        if step is not None and step.point is None:
            try:
                values = proposals.propose(self._keras_tuner, self.settings, self.search_space, self._search)
            except proposals.Exhausted as error:
                self._apply("exhausted", reason=error.reason)
                return self._next_trial(tuner_id)
            number = len(self._search.points) + 1
        elif step is not None:
            number, values = step.point.number, step.point.values
        else:
            self._note_finish()
            return None
        name = assignments.folder(number, step.seed).partition("/")[2]
        earlier = self._search.points[number].of_seed(step.seed) if step.point else []
        trial_id = f"{name}_part{len(earlier) + 1}" if earlier else name
        self._apply(
            "start",
            trial=trial_id,
            point=number,
            seed=step.seed,
            epochs=step.epochs,
            bracket=step.bracket,
            values=values,
            worker=tuner_id,
        )
        return self._add_trial(self._search.trainings[trial_id])

    def _add_trial(self, training: Training):
        point = self._search.points[training.point]
        trial = keras_tuner_trials.of_training(self._keras_tuner, self.search_space, point, training)
        self.trials[trial.trial_id] = trial
        self.start_order.append(trial.trial_id)
        return trial

    def _settle(self, trial, training: Training) -> None:
        keras_tuner_trials.settle(trial, training, self.settings.objectives[0])
        self.end_order.append(trial.trial_id)

    def _note_failures(self, reason: str | None) -> None:
        count = self._search.failures_in_a_row
        if count >= self.settings.failures and not self.stopped:
            trials = "1 trial" if count == 1 else f"{count} trials in a row"
            self._apply("stop", reason=f"{trials} failed; the last one with: {reason}")

    def _note_finish(self) -> None:
        """Takes note that the search is finished, if nothing runs and nothing can start."""
        search = self._search
        if not search.running and not self.stopped and next_trial.decide(self.settings, search) is None:
            self._apply("finish", reason=search.exhausted_reason or None)
