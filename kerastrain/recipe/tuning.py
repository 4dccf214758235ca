"""Searches config keys: trains a model for each point that the search algorithm picks.

Takes a `Config` and a `SearchConfig`; returns the trials and writes the best point as a config file.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import keras

from kerastrain import config as configs
from kerastrain import data, distribute, recipe, run_directory, tracking, tuning
from kerastrain.errors import InputError
from kerastrain.recipe import automatic_backbone, best_phase, fitting, language_run, tracked_runs
from kerastrain.system import files

logger = logging.getLogger("kerastrain")


def run(config: configs.Config, search: configs.SearchConfig, directory: str | Path) -> list[tuning.Trial]:
    """Trains a model for each point of the search space and writes the best point as a config file.

    Every trial starts from the same seed and the same data. The folder contains `best.yaml` (the best config, ready for
    `kerastrain train`), `trials.json`, keras-tuner's own record, and the history of each trial.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        directory: str or Path of the folder to create.

    Returns:
        list of tuning.Trial, best first.

    Raises:
        FileExistsError: `directory` already exists.
        MissingExtra: a tracker of `tracking.to` is not installed.
        ConfigError: the space has an unknown key, or a value that its key does not accept.
        InputError: the process is one of several workers, the objective or the algorithm does not fit the config, or no
            trial completed.
    """
    directory = run_directory.refuse_existing(directory)
    config = automatic_backbone.resolved(config)
    _check_space(config, search)
    tracking.require(config.tracking.to)
    if not distribute.is_chief() or config.runtime.strategy == "multi_worker":
        raise InputError(
            "a search runs in one process. Received: several workers. Set runtime.strategy to mirrored or none."
        )
    splits, count = {}, 0

    def load(trial: configs.Config, image_size: tuple[int, int] | None) -> data.Split:
        """Loads the data of a trial, or returns that of the previous trial if it is the same."""
        key = (trial.data, image_size, trial.runtime.seed)
        if key not in splits:
            splits.clear()
            splits[key] = recipe.load_data(trial, image_size)
        return splits[key]

    def score(values: Mapping, epochs: int | None) -> float:
        nonlocal count
        count += 1
        overrides = {**values} if epochs is None else {**values, "fit.epochs": epochs}
        logger.info("trial %d: %s", count, ", ".join(f"{key}={value}" for key, value in overrides.items()))
        keras.backend.clear_session()
        trial, history = _with_values(config, overrides), directory / "histories" / f"{count:03d}"
        with tracked_runs.stopped_on_error(history):
            if trial.is_language:
                stage, phase = language_run.prepare(trial, history)
                fitting.fit_phase(stage, trial, phase, history)
                best = best_phase.best_epoch(history, [phase.name])
            else:
                prepared = recipe.prepare(trial, load=load)
                best = recipe.fit(prepared.build(), prepared.config, prepared.split, history)
            tracked_runs.finish(trial, history)
        files.remove(run_directory.resume_folder(history))  # trials are never resumed
        return best.logs[search.objective]

    trials = tuning.search(
        score,
        {key: _values(choice) for key, choice in search.space.items()},
        directory=directory,
        algorithm=search.algorithm,
        direction="min" if search.objective.endswith("loss") else "max",
        trials=search.trials,
        max_epochs=_most_epochs(config),
        seed=config.runtime.seed,
    )
    files.write_json(directory / "trials.json", [vars(trial) for trial in trials])
    files.write_text(directory / "best.yaml", configs.dump(_with_values(config, trials[0].values)))
    return trials


def _check_space(config: configs.Config, search: configs.SearchConfig) -> None:
    if config.data.task == "regression" and search.objective == "val_accuracy":
        raise InputError("regression has no accuracy. Received: objective val_accuracy. Set objective to val_loss.")
    for key, choice in search.space.items():
        ends = choice if isinstance(choice, list) else [_number(choice, choice.min), _number(choice, choice.max)]
        for value in ends:
            _with_values(config, {key: value})
    if search.algorithm == "hyperband" and _most_epochs(config) < 2:
        raise InputError(f"`fit.epochs` must be at least 2 for hyperband. Received: {config.fit.epochs}.")
    if search.algorithm == "hyperband" and "fit.epochs" in search.space:
        raise InputError("hyperband chooses `fit.epochs`. Received: a space with fit.epochs. Remove it from the space.")


def _most_epochs(config: configs.Config) -> int:
    """The epochs of hyperband's longest trials."""
    return configs.EPOCHS if config.fit.epochs is None else config.fit.epochs


def _with_values(config: configs.Config, values: Mapping) -> configs.Config:
    nested = config.model_dump(mode="json")
    for key, value in values.items():
        nested = configs.put(nested, key, value)
    return configs.validate(nested, source="the search space")


def _values(choice) -> tuning.Interval | list:
    return choice if isinstance(choice, list) else tuning.Interval(**choice.model_dump())


def _number(interval, value: float) -> float | int:
    return round(value) if interval.integer else value
