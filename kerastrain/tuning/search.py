"""Hyperparameter search with the algorithms of keras-tuner and hyperopt.

Takes a function from values to a score, and a space of values; returns all trials, the best first. Each trial trains from
scratch in this process. Must not know configs or models: `recipe.tune` provides them.
"""

import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kerastrain.errors import InputError, unknown
from kerastrain.system import isolated_imports
from kerastrain.tuning import tpe

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Interval:
    """The numbers between two limits.

    Args:
        min: float, the lower limit, included.
        max: float > min, the upper limit, included.
        sampling: "linear" (uniform) or "log" (log-uniform; min > 0).
        integer: bool, whether the values are integers.
    """

    min: float
    max: float
    sampling: Literal["linear", "log"] = "linear"
    integer: bool = False


@dataclass(frozen=True)
class Trial:
    """One evaluated point of the space.

    Args:
        values: mapping from each key to its value.
        epochs: int >= 1, the epochs that hyperband allotted; None for other algorithms.
        score: float, or None if the trial failed.
        fault: str, the last line of the error of a failed trial, or None.
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
    """Evaluates points of `space` and ranks them.

    Args:
        score: callable (values, epochs) -> float that trains with `values` and returns the objective. `epochs` is None
            except under hyperband, which allots more epochs to better points.
        space: mapping from a key to an `Interval` or a sequence of choices (all numbers or all str).
        directory: folder for keras-tuner's own record of the trials; made if missing.
        algorithm: "random", "bayesian", "hyperband" or "tpe" (needs the extra `tpe`).
        direction: "max" or "min", whether higher or lower scores are better.
        trials: int > 0, the number of points; under hyperband it follows from `max_epochs`.
        max_epochs: int > 0, the most epochs that hyperband allots to one point.
        seed: int, seed of the algorithm.

    Returns:
        list of Trial, the best first, failed ones last.

    Raises:
        InputError: the algorithm is unknown or its extra is not installed, the space is empty, or no trial completed.

    References: Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html (random); Snoek et al. 2012,
    https://arxiv.org/abs/1206.2944 (Bayesian); Li et al. 2018, https://arxiv.org/abs/1603.06560 (hyperband); Bergstra et al.
    2011, https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization (tpe).
    """
    if algorithm not in ORACLES:
        raise InputError(unknown("search algorithm", algorithm, ORACLES))
    if not space:
        raise InputError("`space` must contain at least one key. Received: none.")
    keras_tuner = isolated_imports.keras_tuner()

    class BlackBox(keras_tuner.Tuner):
        """A keras-tuner Tuner with a score instead of a model, its documented use as a black-box optimizer."""

        def run_trial(self, trial, *args, **kwargs):
            values = {key: trial.hyperparameters.get(key) for key in space}
            try:
                return {"score": float(score(values, trial.hyperparameters.values.get("tuner/epochs")))}
            except Exception as error:  # keras-tuner records it and continues with the next trial.
                logger.warning("the trial failed: %s: %s", type(error).__name__, error)
                raise

    objective = keras_tuner.Objective("score", direction)
    oracle = ORACLES[algorithm](
        keras_tuner, objective, _hyperparameters(keras_tuner, space), trials=trials, max_epochs=max_epochs, seed=seed
    )
    tuner = BlackBox(oracle=oracle, directory=str(directory), project_name="trials")
    search_faults = []
    try:
        tuner.search(verbose=0)
    except RuntimeError as error:  # keras-tuner raises it after three failed trials in a row
        search_faults.append(traceback.format_exception_only(error)[-1].strip())
    records = [_record(trial, space) for trial in oracle.trials.values()]
    completed = [trial for trial in records if trial.score is not None]
    failed = [trial for trial in records if trial.score is None]
    if not completed:
        faults = [trial.fault for trial in failed if trial.fault] or search_faults
        raise InputError(f"no trial of the search completed. The first one failed with: {faults[0]}")
    return sorted(completed, key=lambda trial: trial.score, reverse=direction == "max") + failed


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
    fault = fault and re.sub(r"^(?:\w+\.)+(?=\w+: )", "", fault)  # keras-tuner keeps the name of the error's module.
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
