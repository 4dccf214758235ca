"""Carries a trial of a search out: a run that trains, measures the validation part, and is resumed exactly.

Takes what the search asks for and the folder of the search; writes the folder of the trial, with the files of a run that a
comparison needs. The test part is not touched, and nothing is exported but what an objective measures. Runs in a process of
its own, whose end the search survives.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import callbacks, data, models, run_directory
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.recipe import (
    automatic_backbone,
    backbone_files,
    language_trial,
    named_predictions,
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
from kerastrain.recipe.trial_progress import Trial
from kerastrain.system import files, locks, signals
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.trial_process import Link, Outcome

logger = logging.getLogger("kerastrain")

_LOCK_SECONDS = 0.2


def carry_out(assignment: Assignment, directory: Path, link: Link) -> Outcome:
    """Trains and measures a trial, or continues one that was paused, stopped or killed.

    Args:
        assignment: Assignment.
        directory: Path of the search.
        link: Link that gets the objectives after each epoch, and says whether to continue.

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
    function = user_function.read(directory)
    trial = Trial(assignment, directory, search.objectives, search.config.measured_kind, link, function)
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
                tracked_runs.write_tensorboard(folder)
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


def _train(config: Config, folder: Path, open_folder: Callable, trial: Trial) -> None:
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
            shared_fit = functools.partial(fit, features_folder=search_files.features_folder(trial.directory))
            train = shared_fit if trial.function is None else user_model.fit
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
    config: Config, strategy: tf.distribute.Strategy, start_path: Path, trial: Trial
) -> Prepared | user_model.PreparedFunction:
    """Loads the data of a trial, and what its model is built on."""
    if trial.function is None:
        return prepare(config, strategy=strategy, start_path=start_path if start_path.exists() else None)
    with strategy.scope():
        values = user_function.split(trial.assignment.values)[1]
        return user_model.prepare(trial.function, values, config, load_data=load_data)


def _train_language(config: Config, folder: Path, open_folder: Callable, trial: Trial) -> None:
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
    exports, formats = folder / "exports", config.export.formats
    # A file that fails its comparison is removed: the test part must not decide.
    split = dataclasses.replace(split, test=None)
    paths = dict(zip(formats, export_all(model, config, split, formats, exports, replace=True), strict=True))
    measures = {f"export.{name}.bytes": sum(file.stat().st_size for file in _files(paths[name])) for name in paths}
    if paths:
        measure_times(exports)
    latency = exports / "latency.json"
    seconds = files.read_json(latency)["seconds"] if latency.is_file() else {}
    times = {f"export.{name}.milliseconds": seconds.get(path.name) for name, path in paths.items()}
    return {**measures, **{name: 1000 * value for name, value in times.items() if value is not None}}


def _files(path: Path) -> Iterator[Path]:
    return (inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else iter([path])
