"""Searches config keys: trains a run for each point that the search algorithm picks, and keeps what came of it.

Takes a `Config` and a `SearchConfig`; writes the folder of the search, in which each trial is a run with exact resume, and
returns what `trials.json` says. A search that was stopped or killed is resumed: no trial is lost, and none is trained twice.
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerastrain import run_directory, tuning
from kerastrain.config import Config, SearchConfig
from kerastrain.recipe import (
    automatic_backbone,
    plan,
    search_files,
    search_requirements,
    trial_config,
    trial_run,
    user_function,
)
from kerastrain.recipe.search_outputs import Views
from kerastrain.recipe.user_function import UserFunction
from kerastrain.system import files, locks, signals
from kerastrain.tuning import devices, records, trial_process
from kerastrain.tuning import workers as trial_workers
from kerastrain.tuning.events import Event
from kerastrain.tuning.space import Space

logger = logging.getLogger("kerastrain")

PRELOADED = (
    "kerastrain.recipe.trial_run",
    "kerastrain.recipe.training_run",
    "kerastrain.distribute.strategies",
)
"""The modules that the processes of trials find imported."""


@dataclass(frozen=True)
class SearchResult:
    """What came of a search.

    Args:
        directory: Path of its folder.
        trials: sequence of dict, the records of the trials as in `trials.json`.
        best: int, the number of the best trial; None if none completed, or several objectives have no single best one.
        state: "finished" or "stopped".
        reason: str, why it ended early; None if it did not.
    """

    directory: Path
    trials: Sequence[Mapping]
    best: int | None
    state: str
    reason: str | None

    @property
    def failure(self) -> str | None:
        """Why the first trial failed, if all that ended did; None otherwise."""
        ended = [trial for trial in self.trials if trial["status"] in ("completed", "pruned", "failed")]
        failed = [trial["reason"] for trial in ended if trial["status"] == "failed"]
        return failed[0] if failed and len(failed) == len(ended) else None


def run(
    config: Config,
    search: SearchConfig,
    directory: str | Path,
    *,
    workers: int = 1,
    build: str | UserFunction | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> SearchResult:
    """Searches the space and writes the best config.

    The folder contains `trials/`, the runs of the trials; `trials.json` and `trials.csv`, the table of them; `best.yaml`, the
    best config, ready for `kerastrain train`; and `search.html`.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        directory: str or Path of the folder to create.
        workers: int >= 1, the number of trials at a time. The cores, or the GPUs, of this machine are divided among them.
        build: str such as "model.py:build", a function hp -> compiled keras.Model that makes the models, or what
            `user_function.discover` returned for it; None for the models of the config.
        on_event: callable that gets each `tuning.Event`; None for none.

    Returns:
        SearchResult. If every trial failed, its `best` is None, and its `failure` says why.

    Raises:
        FileExistsError: `directory` already exists.
        MissingExtra: a library that the search needs is not installed.
        ConfigError: the space has an unknown key, or a value that its key does not accept.
        InputError: the objective, the algorithm or the number of workers does not fit.
        Stopped: a signal arrived inside `signals.graceful`; `resume` continues.
    """
    directory = Path(directory)
    trial_process.start_server(PRELOADED)  # It imports TensorFlow meanwhile.
    function = user_function.discover(build) if isinstance(build, str) else build
    if function is None:
        config = automatic_backbone.resolved(config)
    space = search_requirements.require(config, search, directory, workers=workers, function=function)
    settings = settings_of(config, search, function)
    devices.divide(
        workers
    )  # refuses more workers than GPUs while nothing is written; it imports TensorFlow to count them
    search_files.write(directory, config, search, function)
    return carry_out(directory, settings, space, _here(search, directory, workers), on_event=on_event)


def resume(
    directory: str | Path,
    *,
    workers: int = 1,
    build: str | UserFunction | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> SearchResult:
    """Resumes a search that was stopped or killed. Trials that were training continue where they were saved.

    Args:
        directory: str or Path of the folder of the search.
        workers: as for `run`; it may differ from before.
        build: as for `run`, the same as before: the folder of a search that somebody sent must not run their code.
        on_event: as for `run`.

    Returns:
        SearchResult, of a finished search as it is.

    Raises:
        FileNotFoundError: there is no search in `directory`.
        InputError: another process searches there, the number of workers does not fit, or `build` is another function.
        Stopped: as for `run`.
    """
    directory = Path(directory)
    recorded = search_files.read(directory)
    if (directory / search_files.FINISHED_FILE).is_file():
        return _result(records.read(directory), directory)
    trial_process.start_server(PRELOADED)
    function = user_function.require_same(directory, build)
    options = {"workers": workers, "function": function, "resumes": True}
    space = search_requirements.require(recorded.config, recorded.search, directory, **options)
    settings = settings_of(recorded.config, recorded.search, function)
    serve = _here(recorded.search, directory, workers)
    return carry_out(directory, settings, space, serve, on_event=on_event)


def settings_of(config: Config, search: SearchConfig, function: UserFunction | None = None) -> tuning.Settings:
    """What an oracle needs to know of a search.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        function: UserFunction that makes the models; None for those of the config.

    Returns:
        tuning.Settings.

    Raises:
        InputError: the settings contradict each other, or the data cannot be listed.
    """
    pruning = search.pruning and tuning.Pruning(**search.pruning.model_dump())
    needs_epochs = search.algorithm == "hyperband" or (pruning is not None and pruning.name == "halving")
    return tuning.Settings(
        algorithm=search.algorithm,
        trials=search.trials,
        objectives=trial_config.objectives(search),
        seed=config.runtime.seed,
        pruning=pruning,
        seeds=search.seeds,
        finalists=search.finalists,
        failures=search.failures,
        max_epochs=_epochs(config, function) if needs_epochs else None,
    )


def _epochs(config: Config, function: UserFunction | None) -> int:
    """The epochs of a whole run, over all phases."""
    if function is not None:
        return user_function.epochs(config)
    if config.is_language:
        return config.fit.epochs
    return sum(phase.epochs for phase in plan.phases(config, len(plan.parts(config)["train"])))


def carry_out(
    directory: Path,
    settings: tuning.Settings,
    space: Space,
    serve: Callable[[object, Views], str | None],
    *,
    on_event: Callable[[Event], None] | None = None,
    keep_ongoing: bool = False,
) -> SearchResult:
    """Opens the oracle of a search in its folder, lets trials be carried out, and writes what came of them.

    Args:
        directory: Path of the search, from `search_files.write`.
        settings: tuning.Settings.
        space: Space.
        serve: callable (oracle, views) that has trials carried out until there are no more, and returns why it ended before
            that, or None. It calls `views.handle` or `views.refresh`.
        on_event: callable that gets each Event; None for none.
        keep_ongoing: as for `tuning.oracle`.

    Returns:
        SearchResult.

    Raises:
        InputError: another process searches in the folder, or its journal is damaged.
        Stopped: a signal arrived.
    """
    search, began = search_files.read(directory).search, time.monotonic()
    with locks.locked(directory, "searching in"), run_directory.logged(directory):
        oracle = tuning.oracle(settings, space, directory, keep_ongoing=keep_ongoing)
        views = Views(directory, search.keep_models, on_event)
        views.refresh()
        try:
            reason = serve(oracle, views)
        except signals.Stopped as stopped:
            oracle.stop(f"stopped by {signal.Signals(stopped.number).name}")
            views.finish()
            raise
        if reason is not None:
            oracle.stop(reason)
        is_finished = oracle.state == "finished"
        if is_finished:
            search_files.remove_shared(directory)
        record = views.finish()
        if is_finished:
            files.write_json(directory / search_files.FINISHED_FILE, {"seconds": round(time.monotonic() - began, 3)})
    return _result(record, directory)


def _here(search: SearchConfig, directory: Path, worker_count: int) -> Callable[[object, Views], str | None]:
    """Has the trials carried out on this machine."""

    def serve(oracle, views: Views) -> str | None:
        for folder in (directory / "trials").glob("*/"):
            trial_run.wait_for_earlier_process(folder)
        files.remove_leftovers(directory)
        return trial_workers.run(
            oracle,
            trial_run.carry_out,
            directory,
            workers=worker_count,
            preload=PRELOADED,
            minutes=search.minutes,
            trial_minutes=search.trial_minutes,
            on_event=views.handle,
        )

    return serve


def _result(record: Mapping, directory: Path) -> SearchResult:
    return SearchResult(directory, record["trials"], record["best"], record["state"], record["reason"])
