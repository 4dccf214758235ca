"""Trains the winner of a search again on train and validation, and measures the test part, once.

Takes the folder of a search; writes a run in `best/`, and when the test part was measured in `test.json`. Nothing is chosen by
held-out data: the run trains for as many epochs as the trainings of the winner had at their best epochs, within the same
schedule. Must not measure the test part a second time.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from kerastrain.config import Config
from kerastrain.errors import InputError, counted
from kerastrain.recipe import (
    best_phase,
    monitors,
    plan,
    retrained_run,
    search_files,
    search_winner,
    training_run,
    trial_config,
)
from kerastrain.recipe.search_winner import WinnersConfig
from kerastrain.system import files, locks
from kerastrain.tuning import records, trial_records

logger = logging.getLogger("kerastrain")


def retrain(directory: str | Path) -> training_run.RunResult:
    """Trains the winner of a search on train and validation, and measures the test part.

    The run in `best/` is one like any other, with exported files and a report; `kerastrain train best/config.yaml` repeats it.
    One that was stopped is resumed.

    Args:
        directory: str or Path of the folder of a search.

    Returns:
        RunResult.

    Raises:
        FileNotFoundError: there is no search in the folder.
        FileExistsError: it was done before: a second measurement of the same test part would be a choice by it.
        InputError: the search is running or has no winner, or the winner cannot be trained without a validation part.
        ParityError: an exported file differs too much from the model, as for `run`.
        Stopped: a signal arrived inside `signals.graceful`. Another call continues.
    """
    directory = Path(directory)
    target = directory / retrained_run.FOLDER
    retrained_run.refuse_second(directory)
    with locks.locked(directory, "searching in"):
        if (target / "config.yaml").is_file():
            result = training_run.resume(target)
        else:
            result = training_run.run(config_of(directory), target)
        retrained_run.record(directory)
    if "test" not in result.measures:
        logger.warning("there is no test part, so the model that was trained on train and validation is not measured")
    return result


def config_of(directory: str | Path) -> Config:
    """The config of the run that trains the winner of a search on train and validation.

    Args:
        directory: str or Path of the folder of the search.

    Returns:
        Config with `data.train_on_validation`, and the epochs to stop at.

    Raises:
        FileNotFoundError: there is no search in the folder.
        InputError: the search has no winner, or it cannot be trained without a validation part.
    """
    directory = Path(directory)
    recorded, best = search_files.read(directory), search_winner.read_winner(directory)
    search_winner.check_retrain(recorded.config, recorded.search)
    if records.read(directory)["state"] == "running":
        raise InputError(
            f"the winner is known when the search has ended. Received: {str(directory)!r}, which has not. Resume it: `kerastrain "
            f"tune --resume {directory}`."
        )
    if best is None:
        raise InputError(
            f"there is no winner to train again. Received: {str(directory)!r}, in which no trial was trained to its end."
        )
    epochs = stop_epochs(best, last=recorded.search.objectives[0].epoch == "last")
    counts = ", ".join(f"{counted(count, 'epochs')} of phase {name}" for name, count in epochs.items())
    logger.info("trial %d is trained again on train and validation: %s", best.winner.point, counts)
    return _without_validation(best.config, epochs)


def stop_epochs(best: WinnersConfig, *, last: bool = False) -> dict[str, int]:
    """How long the winner trains without a validation part: as long as its trainings had trained at their best epochs.

    Args:
        best: WinnersConfig. Of several trainings, those count whose best epoch is in the phase in which most have it.
        last: bool, whether the objective is that of the last epoch, which then is the best one of its phase.

    Returns:
        dict from the name of each phase, in order, to the mean of its best epochs, rounded; the phases after that of the best
        epoch are missing.

    Raises:
        InputError: a training of the winner has no record of its best epoch.
    """
    trained = [_best_epochs(folder, best.config, last) for folder in best.folders]
    phase = Counter(list(epochs)[-1] for epochs in trained).most_common(1)[0][0]
    agreeing = [epochs for epochs in trained if list(epochs)[-1] == phase]
    return {name: math.floor(fmean(epochs[name] for epochs in agreeing) + 0.5) for name in agreeing[0]}


def _best_epochs(folder: Path, config: Config, last: bool) -> dict[str, int]:
    """The best epoch of each phase up to the one that ships; each phase begins with the best weights of the one before."""
    monitor, record = monitors.monitor(config), _read(folder / trial_records.FILE)
    if not record.get("best"):
        raise InputError(f"'{folder}' has no record of its best epoch. Received: a training that was not finished.")
    phases = best_phase.phases(folder)
    shipped = phases[-1] if last else record["best"]["phase"]
    names = phases[: phases.index(shipped) + 1]
    epochs = {name: best_phase.best_epoch(folder, [name], monitor).epoch for name in names}
    epochs[shipped] = best_phase.last_epoch(folder).epoch if last else record["best"]["epoch"]
    return epochs


def _without_validation(config: Config, epochs: Mapping[str, int]) -> Config:
    parts = plan.parts(config)
    planned = {phase.name: phase.epochs for phase in plan.phases(config, len(parts["train"]))}
    changes = {
        "data.train_on_validation": True,
        "evaluation.sets": ["test"],
        "fit.early_stopping_epochs": None,
        "fit.monitor": None,
        "fit.steps_per_execution": _steps_per_execution(config, parts),
        "fit.head_stop_epoch": epochs.get("head"),
    }
    main = next(name for name in reversed(planned))
    if main == "head":
        return trial_config.with_values(config, changes)
    if main in epochs:
        # Null epochs depend on the number of examples, which is another one now.
        changes |= {"fit.epochs": planned[main], "fit.stop_epoch": epochs[main]}
    else:
        changes |= {"fit.epochs": 0, "fine_tune": {}, "memory": {}}
    return trial_config.with_values(config, changes)


def _steps_per_execution(config: Config, parts: Mapping[str, Sequence]) -> int | str:
    """That of the config if it divides the steps of the longer epochs; else a divisor of both, which changes no result."""
    if config.fit.steps_per_execution == "auto":
        return "auto"
    count = sum(len(parts[name]) for name in ("train", "validation") if name in parts)
    return math.gcd(config.fit.steps_per_execution, math.ceil(count / config.fit.global_batch_size))


def _read(path: Path) -> dict:
    return files.read_json(path) if path.is_file() else {}
