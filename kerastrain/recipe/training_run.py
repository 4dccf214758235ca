"""Trains a run from its config to its report, and resumes a stopped one.

Takes a `Config` and the path of a folder; returns a `RunResult` and writes the files of the run.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import backbones, data, distribute, export, models, report, run_directory
from kerastrain.config import Config, folds
from kerastrain.distribute import collectives
from kerastrain.recipe import (
    automatic_backbone,
    backbone_files,
    diagnosing,
    failures,
    named_predictions,
    operating_points,
    profiling,
    requirements,
    run_room,
    starting_run,
    tracked_runs,
    training_data,
)
from kerastrain.recipe.backbone_features import BackboneFeatures
from kerastrain.recipe.building import load_data, make_strategy
from kerastrain.recipe.fitting import fit
from kerastrain.recipe.preparation import prepare
from kerastrain.recipe.results import measure, measure_times
from kerastrain.recipe.run_exports import RunExports
from kerastrain.recipe.stages import Stage
from kerastrain.recipe.starting_run import START_FILE
from kerastrain.run_directory import EXAMPLES_FILE
from kerastrain.system import files, signals

logger = logging.getLogger("kerastrain")

_TRIED_IMAGES = 32  # training images that show whether a backbone's features vary


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Args:
        directory: Path of the run.
        model: keras.Model, trained.
        measures: mapping from each part in `evaluation.sets`, such as "test", to its measures. Empty in a worker that is
            not the chief.
        exports: mapping from the Path of each exported file to its export.Parity. Empty in a worker that is not the chief.
        seconds: float >= 0, wall-clock time of this process's part of the run, in seconds.
    """

    directory: Path
    model: keras.Model
    measures: Mapping[str, dict]
    exports: Mapping[Path, export.Parity]
    seconds: float


def run(config: Config, directory: str | Path) -> RunResult:
    """Trains, evaluates and exports the model of `config`, and writes a report.

    Args:
        config: Config.
        directory: str or Path of the folder to create; see `kerastrain.run_directory` for its contents.

    Returns:
        RunResult.

    Raises:
        FileExistsError: `directory` already exists.
        InputError: the data or the backbone cannot be used. Nothing is written in that case.
        ParityError: an exported file differs too much from the model. The model itself has been saved.
        Stopped: a signal arrived inside `signals.graceful`. `resume` continues the run.
    """
    folds.refuse_all(config)
    if distribute.is_chief():
        run_directory.refuse_existing(directory)
    return carry_out(config, Path(directory), run_directory.create)


def resume(directory: str | Path, config: Config | None = None) -> RunResult:
    """Resumes a run that was stopped or killed. The result equals that of an uninterrupted run bit for bit.

    Args:
        directory: str or Path of the folder of the run.
        config: Config that the run must have been started with, or None to use its own. Only the keys in
            `run_directory.RESUME_MAY_CHANGE` may differ.

    Returns:
        RunResult.

    Raises:
        FileNotFoundError: there is no run in `directory`.
        InputError: the run is finished, was started with another config or other data, or another process trains it.
        ParityError: as for `run`.
        Stopped: as for `run`.
    """
    config = run_directory.resumable(directory, config)
    folds.refuse_all(config)
    result = carry_out(config, Path(directory), run_directory.reopen)
    from kerastrain.recipe import retrained_run  # imports the config of searches, which a new run does not need

    # The test part of a search must not be measured a second time, whichever command resumes the training of its winner.
    if distribute.is_chief() and (search := retrained_run.search_of(Path(directory))) is not None:
        retrained_run.record(search)
    return result


def carry_out(
    config: Config,
    directory: Path,
    open_directory: Callable[..., contextlib.AbstractContextManager],
    *,
    load: Callable[..., data.Split] = load_data,
) -> RunResult:
    """Trains, evaluates and exports in a folder that the caller knows to be new, or to hold a run to resume.

    Args:
        config: Config.
        directory: Path of the folder.
        open_directory: `run_directory.create` or `run_directory.reopen`, or a function like them.
        load: callable like `load_data`, such as one that has read the data before.

    Returns:
        RunResult.

    Raises:
        InputError: as for `run` and `resume`.
        ParityError: as for `run`.
        Stopped: as for `run`.
    """
    config = automatic_backbone.resolved(config)
    requirements.require(config)
    strategy = make_strategy(config)  # before any other TensorFlow function, as a cluster of workers needs it
    lost, failed = collectives.exit_on_lost_worker(strategy), tracked_runs.stopped_on_error(directory)
    with lost, failed, profiling.measured(config, directory):
        if not config.is_language:
            return _train_and_export(strategy, config, directory, open_directory, load)
        from kerastrain.recipe import language_run

        start = time.monotonic()
        model, measures, exports = language_run.train_and_export(strategy, config, directory, open_directory)
        seconds = time.monotonic() - start
        if collectives.worker_index(strategy) == 0:
            tracked_runs.write_tensorboard(directory)
            tracked_runs.finish(config, directory)
            run_directory.finish(directory, seconds)
            collectives.barrier(strategy)
        return RunResult(directory, model, measures, exports, seconds)


def _train_and_export(
    strategy: tf.distribute.Strategy, config: Config, directory: Path, open_directory: Callable, load: Callable
) -> RunResult:
    start = time.monotonic()
    is_chief = collectives.worker_index(strategy) == 0
    start_path = run_directory.resume_folder(directory) / START_FILE
    prepared = prepare(
        config,
        strategy=strategy,
        load=functools.partial(load, log=is_chief),
        start_path=start_path if start_path.exists() else None,
    )
    config, split = prepared.config, prepared.split
    saved = directory / "model.keras"
    is_trained = saved.exists()
    with strategy.scope():
        model = models.load(saved) if is_trained else prepared.build()
    run_directory.remember_modules(model)
    fingerprint = data.fingerprint(split)
    if is_chief:
        requirements.require_formats(config, config.export.formats, model)
        if not directory.exists():
            run_room.require(directory, config, model)
    digests = {"data_sha256": fingerprint}
    if is_chief and not is_trained:  # A trained model holds its backbone.
        digests["backbone_sha256"] = backbone_files.sha256(config)
    opened = open_directory(directory, config, **digests) if is_chief else contextlib.nullcontext()
    with opened, export.ServingProcess() as process:
        collectives.barrier(strategy)  # until the chief has made the folder
        if is_chief:
            _log_start(config, split, model)
            if prepared.backbone is not None and not is_trained:
                _log_backbone(prepared.backbone, split, measure=strategy.num_replicas_in_sync == 1)
            if prepared.timings:
                files.write_json(directory / "acceleration.json", prepared.timings)
            if split.quarantined:
                data.quarantine.write(split.quarantined, directory / "quarantine.csv")
            if config.model.from_run is not None and not is_trained:
                starting_run.record(config, split.labels, directory, copy=start_path)
            if not (directory / EXAMPLES_FILE).exists():  # A resumed run has the same data.
                _write_digests(split, directory / EXAMPLES_FILE, config.model.from_run)
            training_data.write(config, split, directory)
        features = BackboneFeatures(model, config)
        needs_process = is_chief and any(name.startswith(("saved_model", "tflite")) for name in config.export.formats)

        def keep(stage: Stage) -> None:
            features.keep(stage)
            if needs_process:
                process.start()  # It takes seconds to start, in which the head is trained.

        if not is_trained:
            fit(model, config, split, directory, on_features=keep)
            if is_chief:
                logger.info("writing %s", saved.name)
                with files.atomic(saved) as temporary:
                    model.save(temporary)
        if needs_process:
            process.start()
        if not is_chief:
            collectives.barrier(strategy)  # until the chief has finished the run
            return RunResult(directory, model, {}, {}, time.monotonic() - start)
        if strategy.num_replicas_in_sync > 1:
            model = models.load(saved)  # evaluate and export on one device, where the model will be used
            features = BackboneFeatures(model, config)
        signals.raise_if_pending()
        files.write_text(directory / "labels.txt", "\n".join(split.labels) + "\n")
        keep_predictions = functools.partial(named_predictions.write, directory)
        with RunExports(model, config, split, directory, process) as run_exports:
            run_exports.begin(before_evaluation=True)
            measures = measure(model, config, split, features=features, on_predictions=keep_predictions)
            files.write_json(directory / "metrics.json", measures)
            operating_points.choose_if_wanted(directory, config)
            run_exports.begin()
            diagnosing.diagnose(features, config, split, directory)
            failures.write(model, split, directory)
            tracked_runs.write_tensorboard(directory)
            exports = run_exports.finish()
        measure_times(directory / "exports")
        logger.info("writing report.html")
        profiling.write(directory)
        report.write(directory)
        tracked_runs.finish(config, directory)
        run_directory.finish(directory, time.monotonic() - start)
        collectives.barrier(strategy)
    return RunResult(directory, model, measures, exports, time.monotonic() - start)


def _write_digests(split: data.Split, path: Path, from_run: str | None) -> None:
    """Records which examples the run uses, so that a later evaluation can tell whether it was trained on them.

    The training examples of the run that it starts from count too, and held-out examples among them are logged.
    """
    digests = {name: data.overlap.digests(part) for name, part in split.parts.items()}
    earlier = None if from_run is None else Path(from_run) / EXAMPLES_FILE
    if earlier is not None and earlier.is_file():
        with np.load(earlier) as parts:
            seen = parts["train"]
        for name in [name for name in digests if name != "train"]:
            if count := data.overlap.shared_counts(digests[name], {"train": seen})["train"]:
                logger.warning(
                    "%s: %d of these %d examples were training examples of the run to start from, so their measures are "
                    "not those of held-out data",
                    *(name, count, len(digests[name])),
                )
        digests["train"] = np.union1d(digests["train"], seen)
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **digests)


def _log_start(config: Config, split: data.Split, model: keras.Model) -> None:
    size = split.train.image_size
    if size is not None:
        logger.info("images: resized to %d x %d pixels", *size)
    if config.runtime.deterministic:
        logger.info("deterministic: every operation returns the same bits on every run; on a GPU this is slower")
    warning = data.small_data_warning(split.parts, is_fold=config.data.folds is not None)
    if warning:
        logger.warning(warning)
    if isinstance(split.train.inputs, data.CachedImages):
        logger.info("cache: %s", split.train.inputs.where)
    if split.quarantined:
        count, kinds = f"{len(split.quarantined):,}", data.quarantine.summary(split.quarantined)
        noun = "texts" if config.data.kind == "text" else "files"
        rest = ", ".join(f"{len(part):,} {name}" for name, part in split.parts.items())
        logger.info(
            "quarantine: skipped %s %s (%s), listed in quarantine.csv, which leaves %s", count, noun, kinds, rest
        )
    logger.info("model: backbone %s, %s parameters", config.model.backbone, f"{model.count_params():,}")


def _log_backbone(backbone: backbones.Backbone, split: data.Split, *, measure: bool) -> None:
    """Logs which pixel values the backbone gets and why, and warns if its features hardly vary over the training images."""
    backbone.log()
    if not measure:
        return
    indices = np.unique(np.linspace(0, len(split.train) - 1, _TRIED_IMAGES).astype(int))
    warning = backbone.hardly_varying(split.train.read(indices))
    if warning:
        logger.warning("backbone: %s", warning)
