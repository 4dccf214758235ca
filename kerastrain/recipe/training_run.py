"""All of a run, from a config to a report."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import data, distribute, export, models, report, run_directory, runtime
from kerastrain.config import Config
from kerastrain.distribute import collectives
from kerastrain.recipe.building import build, load_backbone, load_data, make_strategy
from kerastrain.recipe.fitting import fit
from kerastrain.recipe.precision_and_xla import with_measured_precision
from kerastrain.recipe.results import export_all, measure
from kerastrain.system import files, signals

logger = logging.getLogger("kerastrain")

_NOUNS = {"single_label": ("class", "classes"), "multi_label": ("label", "labels"), "regression": ("number", "numbers")}


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Args:
        directory: Path of the run.
        model: keras.Model, trained.
        measures: dict from "validation", "test" to their measures.
        exports: dict from Path to Parity, the files that ship; empty, like `measures`, in all workers but the chief.
        seconds: float, wall-clock time of it all.
    """

    directory: Path
    model: keras.Model
    measures: Mapping[str, dict]
    exports: Mapping[Path, export.Parity]
    seconds: float


def run(config: Config, directory: str | Path) -> RunResult:
    """Trains, measures, exports and reports what `config` describes.

    Args:
        config: Config.
        directory: folder to make; see `runs` for what it holds afterwards.

    Returns:
        RunResult.

    Raises:
        FileExistsError: something stands at `directory`.
        InputError: data or backbone cannot be used; nothing has been written then.
        ParityError: an exported file does not answer as the model does; the model itself is saved.
        Stopped: a signal came, under `signals.graceful`; `resume` goes on.
    """
    if distribute.is_chief():
        run_directory.refuse_existing(directory)
    return _carried_out(config, Path(directory), run_directory.create)


def resume(directory: str | Path, config: Config | None = None) -> RunResult:
    """Goes on with a run that was stopped or killed, to the bits of one that was not.

    Args:
        directory: folder of the run.
        config: Config that it should have, or None for its own.

    Returns:
        RunResult.

    Raises:
        FileNotFoundError: there is no run.
        InputError: it is finished, was begun with another config or other data, or is being trained by another process.
        ParityError, Stopped: as for `run`.
    """
    return _carried_out(run_directory.resumable(directory, config), Path(directory), run_directory.reopen)


def _carried_out(config: Config, directory: Path, opened: Callable) -> RunResult:
    strategy = make_strategy(config)
    with collectives.exit_on_lost_worker(strategy):
        return _with(strategy, config, directory, opened)


def _with(strategy: tf.distribute.Strategy, config: Config, directory: Path, opened: Callable) -> RunResult:
    start = time.monotonic()
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    with strategy.scope():
        backbone = load_backbone(config) if config.data.kind == "images" else None
        split = load_data(config, backbone and backbone.image_size)
        config, timed = with_measured_precision(config, split)
        if timed and backbone is not None:
            backbone = load_backbone(config)  # in the precision that was chosen
        saved = directory / "model.keras"
        is_trained = saved.exists()
        model = models.load(saved) if is_trained else build(config, backbone, split)
    run_directory.remember_modules(model)
    is_chief = collectives.worker_index(strategy) == 0
    fingerprint = data.fingerprint(split)
    with opened(directory, config, data_sha256=fingerprint) if is_chief else contextlib.nullcontext():
        collectives.barrier(strategy)  # until the chief has made the folder
        if is_chief:
            _log_start(config, split, model)
            if timed:
                files.write_json(directory / "acceleration.json", timed)
            if split.quarantined:
                data.quarantine.write(directory / "quarantine.csv", split.quarantined)
        if not is_trained:
            fit(model, config, split, directory)
            if is_chief:
                with files.atomic(saved) as temporary:
                    model.save(temporary)
        if not is_chief:
            collectives.barrier(strategy)  # until the chief has finished the run
            return RunResult(directory, model, {}, {}, time.monotonic() - start)
        if strategy.num_replicas_in_sync > 1:
            model = models.load(saved)  # on one device, as others will
        signals.raise_if_pending()
        files.write_text(directory / "labels.txt", "\n".join(split.labels) + "\n")
        measures = measure(model, config, split)
        files.write_json(directory / "metrics.json", measures)
        exports = export_all(model, config, split, config.export.formats, directory / "exports", replace=True)
        report.write(directory)
        run_directory.finish(directory, time.monotonic() - start)
        collectives.barrier(strategy)
    return RunResult(directory, model, measures, exports, time.monotonic() - start)


def _log_start(config: Config, split: data.Split, model: keras.Model) -> None:
    counts = ", ".join(f"{len(part)} {name}" for name, part in split.parts.items())
    size = split.train.image_size
    what = "texts" if size is None else f"images of {size[0]} x {size[1]}"
    noun = _NOUNS[split.task][len(split.labels) != 1]
    logger.info("data: %s: %s %s, %d %s", config.data.path, counts, what, len(split.labels), noun)
    if config.runtime.deterministic:
        logger.info("deterministic: every operation gives the same bits on every run, at the cost of speed on a GPU")
    warning = data.small_data_warning(split.parts)
    if warning:
        logger.warning(warning)
    if isinstance(split.train.inputs, data.CachedImages):
        logger.info("cache: %s", split.train.inputs.where)
    if split.quarantined:
        count, kinds = f"{len(split.quarantined):,}", data.quarantine.summary(split.quarantined)
        logger.info("quarantine: skipped %s files (%s), listed in quarantine.csv", count, kinds)
    logger.info("model: backbone %s, %s parameters", config.model.backbone, f"{model.count_params():,}")
