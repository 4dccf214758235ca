"""How much of the differences between the scores of trials each key explains, with intervals.

Takes the records of a search; returns numbers. Must not read files or train.

A random forest predicts the score from the values. The importance of a key is how much worse it predicts trials that were left
out of its trees when the values of the key are exchanged between trials. Breiman 2001, https://doi.org/10.1023/A:1010933404324,
section 10.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kerastrain.errors import counted
from kerastrain.tuning import recorded_space

FEWEST_TRIALS = 10
"""With fewer trials no importance is computed: a forest of so few finds order in noise."""

_REACHED_FRACTION = 0.9  # of the trials must have reached the epoch at which all are compared
_ADAPTIVE = ("bayesian", "tpe")  # algorithms that try values near the best more and more often
_TREES, _EXCHANGES, _RESAMPLES = 100, 10, 2000


@dataclass(frozen=True)
class KeyImportance:
    """The importance of one key.

    Args:
        key: str.
        value: float, the share of the variance of the score that depends on the key, also together with other keys, at most 1;
            about 0 or below for a key without influence.
        low: float, the lower end of the 95 % interval.
        high: float, its upper end.
    """

    key: str
    value: float
    low: float
    high: float

    @property
    def is_undecided(self) -> bool:
        """Whether the interval includes 0, so that the key may not matter at all."""
        return self.low <= 0


@dataclass(frozen=True)
class Importances:
    """The importances of all keys for one objective.

    Args:
        keys: tuple of KeyImportance, the largest first; empty if `reason` says why.
        trials: int, the number of trials that were compared.
        epochs: int, the epoch at which the trials were compared, because pruning ended some of them; None if all have their
            final score.
        explained: float, R² of the forest on trials left out of its trees; None if none was trained.
        reason: str, why there are no importances, or None.
    """

    keys: tuple[KeyImportance, ...]
    trials: int
    epochs: int | None = None
    explained: float | None = None
    reason: str | None = None


def measure(record: Mapping, objective: int = 0, *, seed: int = 0) -> Importances:
    """Measures the importance of each key of a search.

    Failed trials are left out. Trials that were pruned early did not have the time to reach the score of the others, and without
    them bad values would look harmless. If there are such trials, all are therefore compared at one epoch, the last one that at
    least nine tenths of them reached.

    Numbers enter on the scale of their interval. The value of a key that is not set in a trial is replaced by one
    that it has in another trial, so that the key on which that depends gets the influence of both; the values of a key are only
    exchanged between trials in which it is set. Scores far outside the quartiles are moved to three interquartile ranges from
    them, so that one diverged training does not decide.

    An adaptive algorithm tries the best values of all keys more and more often, so that keys without influence change along with
    the score. The forest of such a search therefore also gets the place of each trial in their order.

    The interval comes from a bootstrap over the trials' prediction errors.

    Args:
        record: mapping, the contents of `trials.json`.
        objective: int, the number of the objective, from 0.
        seed: int, seed of the forest and of the exchanges.

    Returns:
        Importances.

    Example:
        >>> measure({"objectives": [{"measure": "validation.loss", "direction": "min"}], "space": {}, "trials": []}).reason
        'only 0 trials can be compared, and importances need 10'
    """
    points, scores, epochs = comparable(record, objective)
    keys = recorded_space.read(record.get("space") or {}, points)
    count, reason = len(points), None
    if count < FEWEST_TRIALS:
        reason = f"only {counted(count, 'trials')} can be compared, and importances need {FEWEST_TRIALS}"
    elif not keys or min(scores) == max(scores):
        reason = f"the {count} trials that can be compared have the same score" if keys else "no key was searched"
    if reason:
        return Importances((), count, epochs, reason=reason)
    blocks, actives = zip(*(_encoded(key, points, np.random.default_rng((seed, 1))) for key in keys), strict=True)
    inside = _without_outliers(np.array(scores, float))
    order = np.arange(count, dtype=float)[:, None] if record.get("algorithm") in _ADAPTIVE else np.empty((count, 0))
    rises, explained = _error_rises(blocks, actives, order, inside, seed)
    if explained <= 0:
        reason = (
            f"from the values of {count} trials nothing can be said about the score of another (R² of a forest on trials left "
            f"out: {explained:.2f})"
        )
        return Importances((), count, epochs, explained, reason)
    draws = np.random.default_rng((seed, 2)).integers(0, count, (_RESAMPLES, count))
    variances = np.maximum(2 * inside[draws].var(axis=1), np.finfo(float).tiny)
    ends = [np.percentile(rise[draws].mean(axis=1) / variances, [2.5, 97.5]) for rise in rises]
    found = [
        KeyImportance(key.name, *(min(float(value), 1.0) for value in (rise.mean() / (2 * inside.var()), low, high)))
        for key, rise, (low, high) in zip(keys, rises, ends, strict=True)
    ]
    return Importances(tuple(sorted(found, key=lambda each: -each.value)), count, epochs, explained)


def comparable(record: Mapping, objective: int = 0) -> tuple[list[Mapping], list[float], int | None]:
    """The trials whose scores can be compared.

    Args:
        record: mapping, the contents of `trials.json`.
        objective: int, the number of the objective, from 0.

    Returns:
        tuple of a list of the values of each trial, a list of their scores, and the epoch of these scores: None for final ones.
    """
    goal, trials = record["objectives"][objective], record["trials"]
    completed = [trial for trial in trials if trial["status"] == "completed"]
    pruned = [trial for trial in trials if trial["status"] in ("pruned", "paused") and _curve(trial)]
    # A completed trial that early stopping ended counts as one that reached every epoch.
    reached = sorted(_curve(trial)[-1][0] for trial in pruned)
    may_lack = math.floor((1 - _REACHED_FRACTION) * (len(completed) + len(pruned)) + 1e-9)
    if objective or may_lack >= len(pruned) or not all(map(_curve, completed)):
        finals = [(trial, _of(trial, goal["measure"]) if objective else trial["score"]) for trial in completed]
        known = [(trial["values"], float(score)) for trial, score in finals if _is_finite(score)]
        return [values for values, _ in known], [score for _, score in known], None
    epoch = reached[may_lack]
    compared = completed + [trial for trial in pruned if _curve(trial)[-1][0] >= epoch]
    last = lambda values: values[-1]
    best = last if goal.get("epoch") == "last" else {"max": max, "min": min}[goal["direction"]]
    until = [(trial["values"], [value for at, value in _curve(trial) if at <= epoch]) for trial in compared]
    known = [(values, float(best(curve))) for values, curve in until if curve]
    return [values for values, _ in known], [score for _, score in known], epoch


def _of(trial: Mapping, measure_name: str) -> float | None:
    return (trial.get("measures") or {}).get(measure_name)


def _curve(trial: Mapping) -> list[tuple[int, float]]:
    return [(at, value) for at, value in trial.get("curve") or () if _is_finite(value)]


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _without_outliers(scores: np.ndarray) -> np.ndarray:
    low, high = np.percentile(scores, [25, 75])
    reach = 3 * (high - low)
    return np.clip(scores, low - reach, high + reach) if reach else scores


def _encoded(
    key: recorded_space.RecordedKey, points: Sequence[Mapping], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The values of a key as float64 [trials, columns], and the numbers of the trials in which it is set."""
    active = np.array([number for number, point in enumerate(points) if key.name in point], int)
    source = np.arange(len(points))
    unset = np.setdiff1d(source, active)
    if len(active):
        source[unset] = random.choice(active, len(unset))
    values = [points[number].get(key.name) for number in source]
    if not len(active):
        return np.zeros((len(points), 1)), active
    if key.choices is None:
        return np.array([key.fraction(value) for value in values])[:, None], active
    if all(map(recorded_space.is_number, key.choices)):
        ranks = {recorded_space.text(value): rank for rank, value in enumerate(sorted(key.choices))}
        return np.array([ranks[recorded_space.text(value)] for value in values], float)[:, None], active
    return np.eye(len(key.choices))[[key.index(value) for value in values]], active


def _error_rises(
    blocks: Sequence, actives: Sequence, others: np.ndarray, scores: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """How much the squared error of each left-out trial rises when the values of each key are exchanged.

    Returns:
        tuple of float64 [keys, trials], whose mean is twice the variance that depends on the key; and R² without exchanges.
    """
    from sklearn.ensemble import RandomForestRegressor

    inputs, count = np.concatenate([*blocks, others], axis=1), len(scores)
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=seed).fit(inputs, scores)
    random = np.random.default_rng((seed, 0))
    ends = np.cumsum([block.shape[1] for block in blocks])
    variants = [inputs]
    for block, active, end in zip(blocks, actives, ends, strict=True):
        for _ in range(_EXCHANGES):
            exchanged = inputs.copy()
            exchanged[active, end - block.shape[1] : end] = block[random.permutation(active)]
            variants.append(exchanged)
    stacked = np.concatenate(variants).astype(np.float32)
    sums, trees = np.zeros((len(variants), count)), np.zeros(count)
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        left_out = np.bincount(drawn, minlength=count) == 0
        sums += tree.predict(stacked).reshape(len(variants), count) * left_out
        trees += left_out
    errors = (sums / trees - scores) ** 2  # that no tree leaves a trial out has a probability of 1e-18
    variance = scores.var()
    rises = errors[1:].reshape(len(blocks), _EXCHANGES, count).mean(axis=1) - errors[0]
    return rises, float(1 - errors[0].mean() / variance)
