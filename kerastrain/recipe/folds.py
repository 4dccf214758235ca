"""Trains a run for each fold of a cross-validation, and sums them up.

Takes a `Config` with `data.fold=all` and the path of a folder; writes a run for each fold in `fold_0`, `fold_1`, …, each the
same as that of `data.fold=0`, `data.fold=1`, …; then `folds.json`, `predictions/out_of_fold.npz`, their measures in
`metrics.json`, and the report. The data are
read once for all folds. A resumed cross-validation skips its finished folds.
"""

import contextlib
import logging
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerastrain import config as configs
from kerastrain import data, distribute, evaluation, report, run_directory
from kerastrain.config import Config
from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.evaluation import cross_validation, predictions
from kerastrain.recipe import automatic_backbone, named_predictions, plan, run_room, training_run
from kerastrain.recipe.building import make_strategy, read_data, with_class_weights
from kerastrain.run_directory import EXAMPLES_FILE
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

SUMMARY_FILE = "folds.json"
"""The file with the measures over all folds, which marks the folder of a cross-validation."""


@dataclass(frozen=True)
class FoldsResult:
    """The result of a cross-validation.

    Args:
        directory: Path of the folder.
        summary: dict, the content of `folds.json`: "folds" (a record for each), "measures" (of each part over the folds), "seen"
            (the number of examples that the run to start from was trained on) and "next", the command for the final model.
            Empty in a worker that is not the chief.
        measures: dict, the measures of the pooled predictions, as from `evaluation.measures`. Empty in such a worker.
        seconds: float >= 0, wall-clock time of this process's part, in seconds.
    """

    directory: Path
    summary: dict
    measures: dict
    seconds: float


def run_folds(config: Config, directory: str | Path) -> FoldsResult:
    """Trains a model for each fold, and measures all of them.

    Args:
        config: Config with `data.fold="all"`.
        directory: str or Path of the folder to create.

    Returns:
        FoldsResult.

    Raises:
        FileExistsError: `directory` already exists.
        InputError: the config trains one run, or the data or the backbone cannot be used. Nothing is written in that case.
        ParityError: an exported file differs too much from its model. `resume_folds` continues with another `export.formats`.
        Stopped: a signal arrived inside `signals.graceful`. `resume_folds` continues.

    Example:
        >>> config = kt.config.load(overrides=["data.folds=5", "data.fold=all"])  # doctest: +SKIP
        >>> kt.recipe.run_folds(config, "runs/five").summary["measures"]["validation"]["accuracy"]["mean"]  # doctest: +SKIP
        0.97
    """
    if not configs.folds.trains_all(config):
        raise InputError(
            f"`run_folds` needs a config with data.fold=all. Received: {config.data.fold}. Use kt.recipe.run for one run."
        )
    if distribute.is_chief():
        run_directory.refuse_existing(directory)
    return _carry_out(config, Path(directory), run_directory.create)


def resume_folds(directory: str | Path, config: Config | None = None) -> FoldsResult:
    """Resumes a cross-validation that was stopped or killed. The result equals that of an uninterrupted one bit for bit.

    Args:
        directory: str or Path of the folder.
        config: as for `training_run.resume`.

    Returns:
        FoldsResult.

    Raises:
        FileNotFoundError: there is no run in `directory`.
        InputError: as for `training_run.resume`, or it is a run of one model.
        ParityError: as for `run_folds`.
        Stopped: as for `run_folds`.
    """
    config = run_directory.resumable(directory, config)
    if not configs.folds.trains_all(config):
        raise InputError(f"{str(directory)!r} is a single run. Received: it for `resume_folds`. Use kt.recipe.resume.")
    return _carry_out(config, Path(directory), run_directory.reopen)


def fold_folder(directory: Path, fold: int) -> Path:
    """The folder of the run of a fold.

    Args:
        directory: Path of the cross-validation.
        fold: int >= 0.

    Returns:
        Path, which need not exist.
    """
    return directory / f"fold_{fold}"


class _Data:
    """The data of all folds, read when the first one needs them."""

    def __init__(self):
        self._whole: data.ReadListing | None = None
        self.fingerprint: str | None = None

    def load(self, config: Config, image_size: tuple[int, int] | None, *, log: bool = False) -> data.Split:
        """The data of a fold, as from `load_data`."""
        if self._whole is None:
            self._whole = read_data(config, image_size, log=log)
            first = self._whole.split(**plan.split_options(configs.folds.of_fold(config, 0)))
            self.fingerprint = data.fingerprint(first)
        return with_class_weights(config, self._whole.split(**plan.split_options(config)))


def _carry_out(config: Config, directory: Path, open_directory: Callable) -> FoldsResult:
    start = time.monotonic()
    config = automatic_backbone.resolved(config)
    strategy = make_strategy(config)  # before any other TensorFlow function, as a cluster of workers needs it
    is_chief = collectives.worker_index(strategy) == 0
    if is_chief:
        run_room.require(directory, config)
    whole = _Data()
    with collectives.exit_on_lost_worker(strategy), contextlib.ExitStack() as stack:
        is_open = False

        def opened(open_fold: Callable, *arguments, **digests) -> contextlib.AbstractContextManager:
            """Opens the folder of a fold; before the first one, that of all folds, once the data are known to be usable."""
            nonlocal is_open
            if not is_open:
                shared = {**digests, "data_sha256": whole.fingerprint}
                stack.enter_context(open_directory(directory, config, **shared))
                is_open = True
            return open_fold(*arguments, **digests)

        for fold in range(config.data.folds):
            folder = fold_folder(directory, fold)
            if (folder / "finished.json").is_file():
                continue
            _train_fold(_with_measured(config, directory), folder, fold, whole, opened, is_chief)
        summary, measures = {}, {}
        if is_chief:
            if not is_open:  # Only the summary is missing.
                recorded = files.read_json(directory / "environment.json")["data_sha256"]
                stack.enter_context(open_directory(directory, config, data_sha256=recorded))
            summary, measures = summarize(config, directory)
            logger.info("writing report.html")
            report.write(directory)
            run_directory.finish(directory, time.monotonic() - start)
        collectives.barrier(strategy)
    return FoldsResult(directory, summary, measures, time.monotonic() - start)


def _train_fold(config: Config, folder: Path, fold: int, whole: _Data, opened: Callable, is_chief: bool) -> None:
    keras.backend.clear_session()  # so that the names of the layers are those of a process that trains only this fold
    if is_chief:
        logger.info("fold %d (%d of %d)", fold, fold + 1, config.data.folds)
    config = configs.folds.of_fold(config, fold)
    if exists := (folder / "config.yaml").is_file():
        config = run_directory.resumable(folder, config)
    open_fold = run_directory.reopen if exists else run_directory.create
    open_folders = lambda *arguments, **digests: opened(open_fold, *arguments, **digests)
    try:
        result = training_run.carry_out(config, folder, open_folders, load=whole.load)
    except InputError as error:  # It may say how the run is resumed, which is that of all folds.
        own, run = (f"--resume {shlex.quote(str(path))}" for path in (folder, folder.parent))
        error.args = (str(error).replace(own, run),)
        raise
    if is_chief:
        for part, measures in result.measures.items():
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in cross_validation.headlines(measures).items())
            logger.info("fold %d, %s: %s", fold, part, numbers)


def _with_measured(config: Config, directory: Path) -> Config:
    """The config with what the first fold has chosen, so that all folds compute alike."""
    first, keys = fold_folder(directory, 0) / "config.yaml", configs.automatic.open_keys(config)
    if not keys or not first.is_file():
        return config
    own = configs.automatic.unmeasured(configs.load(first)).runtime
    return configs.automatic.with_runtime(config, **{name: getattr(own, name) for name in keys})


def summarize(config: Config, directory: Path) -> tuple[dict, dict]:
    """Sums the finished folds up, and writes `folds.json`, `metrics.json` and `predictions/out_of_fold.npz`.

    Args:
        config: Config with `data.fold="all"`.
        directory: Path of the cross-validation.

    Returns:
        (dict, dict): the content of `folds.json`, and the measures of the pooled predictions.

    Raises:
        FileNotFoundError: a fold has no predictions.
        InputError: a file of a fold has invalid content.
    """
    runs = [fold_folder(directory, fold) for fold in range(config.data.folds)]
    measures = [files.read_json(run / "metrics.json") for run in runs]
    pooled = cross_validation.pooled([predictions.read(named_predictions.path(run, "validation")) for run in runs])
    named_predictions.write(directory, configs.folds.SUMMARY_PART, pooled)
    parts = [name for name in measures[0] if all(name in each for each in measures)]
    summary = {
        "folds": [_record(fold, run, measures[fold]) for fold, run in enumerate(runs)],
        "measures": {name: cross_validation.summary([each[name] for each in measures]) for name in parts},
        "seen": 0 if config.model.from_run is None else sum(map(_seen_count, runs)),
        "next": configs.folds.final_command(config, directory),
    }
    files.write_json(directory / SUMMARY_FILE, summary)
    measured = evaluation.measures(pooled)
    files.write_json(directory / "metrics.json", {configs.folds.SUMMARY_PART: measured})
    return summary, measured


def _seen_count(run: Path) -> int:
    """How many validation examples of a fold its model has seen, in the training of the run that it started from."""
    with np.load(run / EXAMPLES_FILE) as parts:
        return int(np.isin(parts["validation"], parts["train"]).sum())


def _record(fold: int, run: Path, measures: dict) -> dict:
    with np.load(run / EXAMPLES_FILE) as parts:
        counts = {name: len(parts[name]) for name in parts.files}
    return {
        "fold": fold,
        "directory": run.name,
        "examples": counts,
        "seconds": files.read_json(run / "finished.json")["seconds"],
        "measures": {part: cross_validation.headlines(measured) for part, measured in measures.items()},
    }
