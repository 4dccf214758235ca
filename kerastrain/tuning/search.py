"""Hyperparameter search for a function of the user: evaluates points in this process, one after the other.

Takes a function from values to a score, and a space of values; returns all trials, the best first. A search that ended or was
killed continues where it was. Must not know configs or models: `recipe.tuning` provides them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kerastrain.errors import InputError
from kerastrain.system import locks
from kerastrain.tuning import records
from kerastrain.tuning.assignments import assignment
from kerastrain.tuning.journal import read
from kerastrain.tuning.oracles import oracle
from kerastrain.tuning.search_state import Point, SearchState
from kerastrain.tuning.settings import Objective, Pruning, Settings
from kerastrain.tuning.space import Choices, Interval, Space

logger = logging.getLogger("kerastrain")

_OBJECTIVE = "score"


@dataclass(frozen=True)
class Trial:
    """One evaluated point of the space.

    Args:
        values: mapping from each active key to its value.
        epochs: int >= 1, the epochs that hyperband or halving allotted in total; None for other searches.
        score: float, or None if the trial failed.
        fault: str, the error of a failed trial, or None.
    """

    values: Mapping[str, Any]
    epochs: int | None
    score: float | None
    fault: str | None


def search(
    score: Callable[[Mapping, int | None], float],
    space: Space | Mapping[str, Interval | Choices | Sequence],
    *,
    directory: str | Path,
    algorithm: str = "random",
    direction: Literal["max", "min"] = "max",
    trials: int | None = 10,
    max_epochs: int = 10,
    seed: int = 0,
    pruning: Pruning | None = None,
    failures: int = 3,
) -> list[Trial]:
    """Evaluates points of `space` and ranks them.

    Called again with the same arguments, it continues the search of `directory`: what was evaluated is not evaluated again, and
    what was interrupted comes first.

    Args:
        score: callable (values, epochs) -> float that trains with `values` and returns the objective. `epochs` is None
            except under hyperband and halving, which allot more epochs to better points.
        space: Space, or mapping from a key to an `Interval`, `Choices`, or a sequence of choices of any kind.
        directory: folder for the journal of the search, and for `trials.json` and `trials.csv`; made if missing.
        algorithm: "random", "grid", "bayesian", "hyperband" or "tpe" (needs the extra `tpe`).
        direction: "max" or "min", whether higher or lower scores are better.
        trials: int > 0, the number of points, or None for all of a grid; under hyperband it follows from `max_epochs`.
        max_epochs: int > 0, the most epochs that hyperband or halving allots to one point.
        seed: int >= 0, seed of the algorithm.
        pruning: Pruning "halving" for random, bayesian and tpe, or None.
        failures: int > 0, how many trials in a row may fail before the search ends.

    Returns:
        list of Trial, the best first; after them those with fewer epochs than the most, and failed ones last.

    Raises:
        InputError: the algorithm is unknown or its extra is not installed, the space is empty, `directory` has another search
            or another process searches in it, or no trial completed.

    References: Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html (random); Snoek et al. 2012,
    https://arxiv.org/abs/1206.2944 (Bayesian); Li et al. 2018, https://arxiv.org/abs/1603.06560 (hyperband); Bergstra et al.
    2011, https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization (tpe).
    """
    if not isinstance(space, Space):
        if not space:
            raise InputError("`space` must contain at least one key. Received: none.")
        is_parameter = Interval | Choices
        space = Space(
            {key: entry if isinstance(entry, is_parameter) else Choices(entry) for key, entry in space.items()}
        )
    if pruning is not None and pruning.name == "median":
        raise InputError(
            '`pruning` must be halving, as `score` does not report single epochs. Received: median. Use Pruning("halving").'
        )
    objective = Objective(_OBJECTIVE, direction)
    settings = Settings(
        algorithm, trials, (objective,), seed, pruning=pruning, failures=failures, max_epochs=max_epochs
    )
    Path(directory).mkdir(parents=True, exist_ok=True)
    with locks.locked(Path(directory), "searching in"):
        search_oracle = oracle(settings, space, directory)
        try:
            while (trial := search_oracle.create_trial("search")).status == "RUNNING":
                _evaluate(score, search_oracle, trial)
        finally:
            records.write(directory)
    if search_oracle.reason:
        logger.warning("the search ended early: %s", search_oracle.reason)
    return _ranked(settings, Path(directory))


def _evaluate(score: Callable, search_oracle, trial) -> None:
    asked = assignment(trial)
    settings = search_oracle.settings
    epochs = asked.epochs or (settings.max_epochs if settings.has_rungs else None)
    try:
        value = float(score(dict(asked.values), epochs))
    except Exception as error:  # The journal records it, and the search continues with the next trial.
        trial.status = "FAILED"
        trial.message = f"{type(error).__name__}: {error}"
    else:
        search_oracle.update_trial(asked.trial_id, {_OBJECTIVE: value}, step=epochs or 0)
        trial.status = "COMPLETED"
    search_oracle.end_trial(trial)
    if trial.status == "FAILED":
        logger.warning("the trial failed: %s", trial.message)


def _ranked(settings: Settings, directory: Path) -> list[Trial]:
    state, (objective,) = SearchState(), settings.objectives
    for event in read(directory):
        state.apply(event)
    failed = [point for point in state.points.values() if point.status == "failed"]
    scored = [point for point in state.points.values() if point not in failed and objective.name in point.result()]
    if not scored:
        if not failed:
            raise InputError("no point of the space meets its constraints. Widen the space, or remove a constraint.")
        raise InputError(
            f"no trial of the search completed. The first one failed with: {failed[0].of_seed(0)[-1].reason}"
        )
    scored.sort(key=lambda point: (point.status != "completed", objective.loss(point.result()[objective.name])))
    return [_record(settings, point) for point in [*scored, *failed]]


def _record(settings: Settings, point: Point) -> Trial:
    last = point.of_seed(0)[-1]
    epochs = last.epochs or (settings.max_epochs if settings.has_rungs else None)
    score = None if last.status == "failed" else point.result()[_OBJECTIVE]
    return Trial(point.values, epochs, score, last.reason)
