"""Carries a trial of a search out: a run that trains, measures the validation part, and is resumed exactly.

Takes what the search asks for and the folder of the search; writes the folder of the trial, with the files of a run that a
comparison needs. The test part is not touched, and nothing is exported but what an objective measures. Runs in a process of
its own, whose end the search survives.
"""

import csv
import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import callbacks, data, models, run_directory
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.evaluation import catalog
from kerastrain.recipe import (
    automatic_backbone,
    backbone_files,
    best_phase,
    language_trial,
    named_predictions,
    plan,
    search_files,
    starting_run,
    tracked_runs,
    trial_config,
    user_function,
    user_model,
)
from kerastrain.recipe.building import Prepared, load_data, make_strategy
from kerastrain.recipe.fitting import fit
from kerastrain.recipe.preparation import prepare
from kerastrain.recipe.results import export_all, measure, measure_times
from kerastrain.recipe.starting_run import START_FILE
from kerastrain.system import files, locks, signals
from kerastrain.tuning import trial_records
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.settings import Objective
from kerastrain.tuning.trial_process import Link, Outcome

logger = logging.getLogger("kerastrain")

_LOCK_SECONDS = 0.2
_DIGITS = ".8g"  # as in history.csv, from which an epoch may be reported again


def carry_out(assignment: Assignment, directory: Path, link: Link) -> Outcome:
    """Trains and measures a trial, or continues one that was paused, stopped or killed.

    Args:
        assignment: Assignment.
        directory: Path of the search.
        link: Link that is told the objectives after each epoch, and says whether to continue.

    Returns:
        Outcome.

    Raises:
        InputError: the data or the model cannot be used.
        ParityError: an exported file differs too much from the model.
        Stopped: a signal arrived; the state is saved.
    """
    search = search_files.read(directory)
    folder = directory / assignment.folder
    wait_for_earlier_process(folder)
    trial = _Trial(assignment, directory, search.objectives, search.config.measured_kind, link, time.monotonic())
    if (folder / "finished.json").is_file():
        return trial.recorded()
    config = trial_config.of_trial(search.config, search.objectives, assignment)
    open_folder = run_directory.create
    if (folder / "config.yaml").is_file():
        config, open_folder = run_directory.resumable(folder, config), run_directory.reopen
    try:
        with tracked_runs.stopped_on_error(folder):
            (_train_language if config.is_language else _train)(config, folder, open_folder, trial)
            if config.tracking.to:
                tracked_runs.finish(config, folder)
            run_directory.finish(folder, trial.seconds)
    except callbacks.Paused as paused:
        trial.record("paused" if paused.is_saved else "pruned")
        if not paused.is_saved:
            search_files.remove_checkpoints(folder)
    except signals.Stopped:
        if folder.is_dir():
            trial.record("paused")
        raise
    else:
        search_files.remove_checkpoints(folder)
    return trial.recorded()


@dataclasses.dataclass
class _Trial:
    """A trial while it is carried out."""

    assignment: Assignment
    directory: Path
    objectives: Sequence[Objective]
    kind: str
    link: Link
    began: float

    def __post_init__(self):
        self.function = user_function.read(self.directory)
        before = trial_records.read(self.directory, self.assignment)
        self.earlier_seconds: float = before.get("seconds", 0.0)
        self.best: Mapping | None = before.get("best")

    @property
    def folder(self) -> Path:
        return self.directory / self.assignment.folder

    @property
    def seconds(self) -> float:
        """The time that all processes of the trial took, in seconds."""
        return self.earlier_seconds + time.monotonic() - self.began

    def begin(self, config: Config, example_count: int) -> None:
        """Tells how long the training is."""
        phases = plan.phases if self.function is None else user_model.phases
        epochs = sum(phase.epochs for phase in phases(config, example_count))
        self.link.begin(epochs=epochs, done=len(_history(self.folder)), seconds=self.earlier_seconds)

    def on_epoch(self, epoch: int, logs: Mapping[str, float]) -> str:
        return self.link.epoch(epoch, self._logged(logs))

    def repeat_last_report(self) -> None:
        """Reports the last epoch of an earlier process again, whose report or answer may be lost, and does as is answered."""
        if history := _history(self.folder):
            answer = self.on_epoch(len(history), history[-1])
            if answer != "continue":
                raise callbacks.Paused(len(history), is_saved=answer == "pause")

    def record_best(self, best: best_phase.BestEpoch) -> None:
        """Records which epoch's weights the model has, for a process that finds the model."""
        self.best = {"phase": best.phase, "epoch": best.epoch}
        self.record("paused")

    def record(self, status: str, measures: Mapping[str, float] | None = None) -> None:
        history = _history(self.folder)
        curve = [(epoch, value) for epoch, row in enumerate(history, 1) for value in [*self._logged(row).values()][:1]]
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
        """The measures of the validation part by their names as objectives; of single classes only those that are objectives."""
        names = {
            f"{part}.{name}": value for part, each in measures.items() for name, value in catalog.flat(each).items()
        }
        objectives = {objective.name for objective in self.objectives}
        return {name: value for name, value in names.items() if name in objectives or catalog.class_of(name) is None}

    def recorded(self) -> Outcome:
        """The outcome that the record of the trial tells."""
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


def _train(config: Config, folder: Path, open_folder: Callable, trial: _Trial) -> None:
    """Trains and measures a classifier or regressor; `trial` then has its measures."""
    config = config if trial.function is not None else automatic_backbone.resolved(config)
    strategy = make_strategy(config)  # before any other TensorFlow function
    start_path = run_directory.resume_folder(folder) / START_FILE
    prepared = _prepared(config, strategy, start_path, trial)
    config, split = prepared.config, prepared.split
    saved = folder / "model.keras"
    is_trained = saved.exists()
    with strategy.scope():
        model = models.load(saved) if is_trained else prepared.build()
    run_directory.remember_modules(model)
    digests = {"data_sha256": data.fingerprint(split)}
    if not is_trained and trial.function is None:  # A trained model holds its backbone.
        digests["backbone_sha256"] = backbone_files.sha256(config)
    with open_folder(folder, config, **digests):
        if config.model.from_run is not None and not is_trained:
            starting_run.record(config, split.labels, folder, copy=start_path)
        trial.begin(config, len(split.train))
        if not is_trained:
            trial.repeat_last_report()
            train = fit if trial.function is None else user_model.fit
            trial.record_best(train(model, config, split, folder, on_epoch=trial.on_epoch))
            with files.atomic(saved) as temporary:
                model.save(temporary)
        if strategy.num_replicas_in_sync > 1:
            model = models.load(saved)  # measured on one device, where it will be used
        signals.raise_if_pending()
        files.write_text(folder / "labels.txt", "\n".join(split.labels) + "\n")
        measures = measure(model, config, split, on_predictions=functools.partial(named_predictions.write, folder))
        files.write_json(folder / "metrics.json", measures)
        exported = _export(model, config, split, folder)
        measured = {**trial.wanted(measures), "model.parameters": model.count_params(), **exported}
        trial.record("completed", measured)


def _prepared(
    config: Config, strategy: tf.distribute.Strategy, start_path: Path, trial: _Trial
) -> Prepared | user_model.PreparedFunction:
    """Loads the data of a trial, and what its model is built on."""
    if trial.function is None:
        return prepare(config, strategy=strategy, start_path=start_path if start_path.exists() else None)
    with strategy.scope():
        values = user_function.split(trial.assignment.values)[1]
        return user_model.prepare(trial.function, values, config, load_data=load_data)


def _train_language(config: Config, folder: Path, open_folder: Callable, trial: _Trial) -> None:
    """Trains and measures a language model; `trial` then has its measures."""

    def begin(config: Config, sequence_count: int) -> None:
        trial.begin(config, sequence_count)
        trial.repeat_last_report()

    hooks = {"on_epoch": trial.on_epoch, "on_begin": begin, "on_trained": trial.record_best}
    model, measures = language_trial.train_and_measure(make_strategy(config), config, folder, open_folder, **hooks)
    trial.record("completed", {**trial.wanted(measures), "model.parameters": model.count_params()})


def wait_for_earlier_process(folder: Path) -> None:
    """Waits until a process has ended that trains in a folder: its search was killed, and it is saving its state.

    Args:
        folder: Path of the trial.
    """
    is_logged = False
    while folder.is_dir():
        try:
            with locks.locked(folder, "training in"):
                return
        except InputError as error:
            if not is_logged:
                logger.info("waiting: %s", error)
            is_logged = True
            time.sleep(_LOCK_SECONDS)


def _export(model: keras.Model, config: Config, split: data.Split, folder: Path) -> dict[str, float]:
    """Exports to the formats of the objectives; returns the size and the latency of the files by their names as objectives."""
    measures, exports, paths = {}, folder / "exports", {}
    split = dataclasses.replace(
        split, test=None
    )  # A file that fails its comparison is removed: the test part must not decide.
    for name in config.export.formats:
        [paths[name]] = export_all(model, config, split, [name], exports, replace=True)
        measures[f"export.{name}.bytes"] = sum(path.stat().st_size for path in _files(paths[name]))
    if paths:
        measure_times(exports)
    latency = exports / "latency.json"
    seconds = json.loads(latency.read_text(encoding="utf-8"))["seconds"] if latency.is_file() else {}
    times = {f"export.{name}.milliseconds": seconds.get(path.name) for name, path in paths.items()}
    return {**measures, **{name: 1000 * value for name, value in times.items() if value is not None}}


def _files(path: Path) -> Iterator[Path]:
    return (inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else iter([path])


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
