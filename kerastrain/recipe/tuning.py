"""A search over config keys: `recipe.build` and `recipe.fit` for each point that keras-tuner picks.

Takes a `Config` and a `SearchConfig`, gives trials and the winner as a config file.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import keras

from kerastrain import config as configs
from kerastrain import distribute, recipe, run_directory, runtime, tuning
from kerastrain.errors import InputError
from kerastrain.system import files

logger = logging.getLogger("kerastrain")


def run(config: configs.Config, search: configs.SearchConfig, directory: str | Path) -> list[tuning.Trial]:
    """Trains a model for each point of the search space and writes the best point as a config file.

    Every trial starts from the same seed and the same data. The folder holds `best.yaml` (the winning config, ready for
    `kerastrain train`), `trials.json`, keras-tuner's own record, and the history of each trial.

    Args:
        config: Config that every trial starts from.
        search: SearchConfig.
        directory: folder to make.

    Returns:
        list of tuning.Trial, the best first.

    Raises:
        FileExistsError: something stands at `directory`.
        ConfigError: the space names an unknown key, or holds a value that its key cannot take.
        InputError: no trial completed.
    """
    directory = run_directory.refuse_existing(directory)
    _check_space(config, search)
    if not distribute.is_chief() or config.runtime.strategy == "multi_worker":
        raise InputError(
            "a search runs in one process. Received: several workers. Take runtime.strategy=mirrored or none."
        )
    prepared, count = {}, 0

    def score(values: Mapping, epochs: int | None) -> float:
        nonlocal count
        count += 1
        granted = {} if epochs is None else {"fit.epochs": epochs}
        trial = _with(config, {**values, **granted})
        logger.info("trial %d: %s", count, ", ".join(f"{key}={value}" for key, value in {**values, **granted}.items()))
        keras.backend.clear_session()
        runtime.seed(trial.runtime.seed, deterministic=trial.runtime.deterministic)
        strategy = recipe.make_strategy(trial)
        with strategy.scope():
            backbone = recipe.load_backbone(trial) if trial.data.kind == "images" else None
        key = (trial.data, backbone and backbone.image_size, trial.runtime.seed)
        if key not in prepared:
            prepared.clear()
            prepared[key] = recipe.load_data(trial, backbone and backbone.image_size)
        trial, timed = recipe.with_measured_precision(trial, prepared[key])
        with strategy.scope():
            if timed and backbone is not None:
                backbone = recipe.load_backbone(trial)
            model = recipe.build(trial, backbone, prepared[key])
        history = directory / "histories" / f"{count:03d}"
        best = recipe.fit(model, trial, prepared[key], history)
        files.remove(run_directory.resume_folder(history))  # a trial is not gone on with
        return best[search.objective]

    trials = tuning.search(
        score,
        {key: _values(choice) for key, choice in search.space.items()},
        directory=directory,
        algorithm=search.algorithm,
        direction="min" if search.objective.endswith("loss") else "max",
        trials=search.trials,
        max_epochs=config.fit.epochs,
        seed=config.runtime.seed,
    )
    files.write_json(directory / "trials.json", [vars(trial) for trial in trials])
    files.write_text(directory / "best.yaml", configs.dump(_with(config, trials[0].values)))
    return trials


def _check_space(config: configs.Config, search: configs.SearchConfig) -> None:
    if config.data.task == "regression" and search.objective == "val_accuracy":
        raise InputError("numbers have no accuracy to search for. Received: objective val_accuracy. Take val_loss.")
    for key, choice in search.space.items():
        ends = choice if isinstance(choice, list) else [_number(choice, choice.min), _number(choice, choice.max)]
        for value in ends:
            _with(config, {key: value})
    if search.algorithm == "hyperband" and config.fit.epochs < 2:
        raise InputError(f"hyperband needs `fit.epochs` of at least 2 to grant. Received: {config.fit.epochs}.")
    if search.algorithm == "hyperband" and "fit.epochs" in search.space:
        raise InputError("hyperband sets `fit.epochs` itself. Take it out of the space.")


def _with(config: configs.Config, values: Mapping) -> configs.Config:
    nested = config.model_dump(mode="json")
    for key, value in values.items():
        nested = configs.put(nested, key, value)
    return configs.validate(nested, source="the search space")


def _values(choice) -> tuning.Interval | list:
    return choice if isinstance(choice, list) else tuning.Interval(**choice.model_dump())


def _number(interval, value: float) -> float | int:
    return round(value) if interval.integer else value
