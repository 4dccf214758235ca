"""Search for the settings of a training that score best, with keras-tuner's algorithms and hyperopt's.

Takes a function from values to a score and a space of values; gives every trial and the best one. Each trial trains
from scratch, in this process. Must not know of configs or models: `recipe.tune` brings those.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kerastrain.errors import InputError, unknown
from kerastrain.system import isolated_imports
from kerastrain.tuning import tpe


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends.

    Args:
        min: float, the low end, included.
        max: float > min, the high end, included.
        sampling: "linear" (equal steps are equally likely) or "log" (equal factors are; min > 0).
        integer: bool, whether whole numbers only.
    """

    min: float
    max: float
    sampling: Literal["linear", "log"] = "linear"
    integer: bool = False


@dataclass(frozen=True)
class Trial:
    """One point of the space, tried.

    Args:
        values: mapping from key to the value tried.
        epochs: int or None, the epochs that hyperband granted it.
        score: float, or None if it failed.
        fault: str, the last line of what went wrong, or None.
    """

    values: Mapping[str, float | int | str]
    epochs: int | None
    score: float | None
    fault: str | None


def search(
    score: Callable[[Mapping, int | None], float],
    space: Mapping[str, Interval | Sequence],
    *,
    directory: str | Path,
    algorithm: str = "random",
    direction: Literal["max", "min"] = "max",
    trials: int = 10,
    max_epochs: int = 10,
    seed: int = 0,
) -> list[Trial]:
    """Tries points of `space` and ranks them.

    Args:
        score: callable (values, epochs) -> float, trains with `values` and returns the objective; `epochs` is None
            but under hyperband, which grants more to what did well.
        space: mapping from key to an `Interval` or a sequence of choices (all numbers or all str).
        directory: folder for keras-tuner's own record of the trials; made if missing.
        algorithm: "random", "bayesian", "hyperband" or "tpe" (needs the extra `tpe`).
        direction: "max" or "min", which scores are good.
        trials: int > 0, points to try; under hyperband `max_epochs` decides their number.
        max_epochs: int > 0, the most that hyperband grants one point.
        seed: int, of the algorithm's draws.

    Returns:
        list of Trial, the best first, failed ones last.

    Raises:
        InputError: an unknown algorithm, one whose extra is not installed, an empty space, or no trial completed.

    References: Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html (random); Snoek et al. 2012,
    https://arxiv.org/abs/1206.2944 (Bayesian); Li et al. 2018, https://arxiv.org/abs/1603.06560 (hyperband); Bergstra et al.
    2011, https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization (tpe).
    """
    if algorithm not in ORACLES:
        raise InputError(unknown("search algorithm", algorithm, ORACLES))
    if not space:
        raise InputError("`space` must name at least one key to search. Received: none.")
    keras_tuner = isolated_imports.keras_tuner()

    class BlackBox(keras_tuner.Tuner):
        """keras-tuner with a score instead of a model, its documented use as a black-box optimizer."""

        def run_trial(self, trial, *args, **kwargs):
            values = {key: trial.hyperparameters.get(key) for key in space}
            return {"score": float(score(values, trial.hyperparameters.values.get("tuner/epochs")))}

    objective = keras_tuner.Objective("score", direction)
    oracle = ORACLES[algorithm](
        keras_tuner, objective, _hyperparameters(keras_tuner, space), trials=trials, max_epochs=max_epochs, seed=seed
    )
    tuner = BlackBox(oracle=oracle, directory=str(directory), project_name="trials")
    failures = []
    try:
        tuner.search(verbose=0)
    except RuntimeError as error:  # keras-tuner gives up after three failed trials in a row and says so this way
        failures.append(traceback.format_exception_only(error)[-1].strip())
    done = [_record(trial, space) for trial in oracle.trials.values()]
    ranked = sorted(
        (trial for trial in done if trial.score is not None), key=lambda trial: trial.score, reverse=direction == "max"
    )
    failed = [trial for trial in done if trial.score is None]
    if not ranked:
        faults = [trial.fault for trial in failed if trial.fault] or failures
        raise InputError(f"no trial of the search completed. The first said: {faults[0]}")
    return ranked + failed


def _hyperparameters(keras_tuner, space: Mapping) -> object:
    parameters = keras_tuner.HyperParameters()
    for key, values in space.items():
        if isinstance(values, Interval) and values.integer:
            parameters.Int(key, round(values.min), round(values.max), sampling=values.sampling)
        elif isinstance(values, Interval):
            parameters.Float(key, values.min, values.max, sampling=values.sampling)
        else:
            parameters.Choice(key, list(values), ordered=False)
    return parameters


def _record(trial, space: Mapping) -> Trial:
    values = {key: trial.hyperparameters.get(key) for key in space}
    fault = trial.message.strip().splitlines()[-1] if trial.message else None
    return Trial(values, trial.hyperparameters.values.get("tuner/epochs"), trial.score, fault)


def _random(keras_tuner, objective, parameters, *, trials, max_epochs, seed):
    return keras_tuner.oracles.RandomSearchOracle(objective, max_trials=trials, hyperparameters=parameters, seed=seed)


def _bayesian(keras_tuner, objective, parameters, *, trials, max_epochs, seed):
    return keras_tuner.oracles.BayesianOptimizationOracle(
        objective, max_trials=trials, hyperparameters=parameters, seed=seed
    )


def _hyperband(keras_tuner, objective, parameters, *, trials, max_epochs, seed):
    return keras_tuner.oracles.HyperbandOracle(objective, max_epochs=max_epochs, hyperparameters=parameters, seed=seed)


def _tpe(keras_tuner, objective, parameters, *, trials, max_epochs, seed):
    return tpe.oracle(keras_tuner, objective, parameters, trials=trials, seed=seed)


ORACLES = {"bayesian": _bayesian, "hyperband": _hyperband, "random": _random, "tpe": _tpe}
