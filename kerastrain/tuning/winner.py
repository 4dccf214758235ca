"""Chooses the winner of a search by the mean over its seeds, and says which points are not told apart from it.

Takes the content of `trials.json`; returns frozen records. Must not read files, and must not import TensorFlow.

A point that is trained once shows a score of which nobody knows how much is chance. With several seeds, the trainings of all
compared points together measure it: as many standard deviations as points, pooled.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""How sure it must be that the winner is better than another point before the two count as told apart."""

PARAMETERS = "model.parameters"
"""The measure of a trial by which equal scores are decided, if it was measured: the number of weights of the model."""

_MOST_NAMED = 10


@dataclass(frozen=True)
class Winner:
    """The best point of a search.

    Args:
        point: int, its number.
        mean: float, the mean of its scores over the compared seeds.
        noise: float >= 0, the standard deviation of the scores of one point over seeds, pooled over the compared points; None if
            each was trained once, which shows no noise.
        degrees_of_freedom: int >= 0, those of `noise`.
        seeds: int >= 1, the number of trainings of each compared point.
        not_told_apart: tuple of int, the points whose mean differs from the winner's by no more than chance explains; empty
            if `noise` is None, where nothing can be said.
        compared: int >= 1, the number of points that were trained with these seeds, the winner included.
        measure: str, what the score is.
        compared_seeds: tuple of int, the seeds that all compared points have, counted from 0.
    """

    point: int
    mean: float
    noise: float | None
    degrees_of_freedom: int
    seeds: int
    not_told_apart: tuple[int, ...]
    compared: int
    measure: str = "score"
    compared_seeds: tuple[int, ...] = (0,)

    @property
    def sentence(self) -> str:
        """What is known about the winner, in one line."""
        start = f"trial {self.point}: {self.measure} {self.mean:.4g}"
        if self.compared == 1 and self.noise is None:
            return f"{start} (one training, the only trial that was trained to its end)"
        if self.noise is None:
            return (
                f"{start} (each trial was trained once, so that nothing is known about chance; `seeds: 3` trains the best "
                "ones with other seeds)"
            )
        by = f"{self.degrees_of_freedom} degree{'s' if self.degrees_of_freedom > 1 else ''} of freedom"
        start += f" ± {self.noise:.2g} (mean of {self.seeds} seeds ± standard deviation of one training, {by})"
        if self.not_told_apart:
            return f"{start}; not told apart from {_listed(self.not_told_apart)}"
        return start if self.compared == 1 else f"{start}; better than the other {self.compared - 1} beyond chance"


def choose(records: Mapping) -> Winner | None:
    """Chooses the point with the best mean score among those that were trained to their end.

    All are compared on the seeds that the point with the best first training has: while only some points have their further
    seeds, and it has none, the first training of each decides. Equal means are decided by fewer parameters, if they were
    measured, then by the lower number.

    Means of the same seeds are compared by a two-way analysis of variance without interaction, points by seeds, so that what a
    seed does to all points cancels. The winner is the best of all, so a difference counts only beyond the studentized range of
    that many means (Tukey).

    Args:
        records: mapping, the content of `trials.json`: "objectives" (each with "measure" and "direction") and "trials" (each with
            "point", "status", "scores" by seed, and "measures").

    Returns:
        Winner; None for several objectives, or if no point was trained to its end.

    Reference: Tukey 1949, https://doi.org/10.2307/3001913; Hsu 1996, Multiple Comparisons, for the best of several means.

    Example:
        >>> trial = lambda point, *scores: {"point": point, "status": "completed", "scores": scores}
        >>> trials = [trial(1, 0.90, 0.91), trial(2, 0.92, 0.93), trial(3, 0.70, 0.71)]
        >>> winner = choose({"objectives": [{"measure": "validation.accuracy", "direction": "max"}], "trials": trials})
        >>> winner.point, round(winner.mean, 3), winner.not_told_apart
        (2, 0.925, ())
    """
    if len(records["objectives"]) != 1:
        return None
    objective = records["objectives"][0]
    sign = 1.0 if objective["direction"] == "max" else -1.0
    trials = [trial for trial in records["trials"] if trial["status"] == "completed" and 0 in _seeds(trial)]
    if not trials:
        return None
    first = min(trials, key=lambda trial: (-sign * trial["scores"][0], trial["point"]))
    seeds = _seeds(first)
    compared = [trial for trial in trials if set(seeds) <= set(_seeds(trial))]
    scores = np.array([[float(trial["scores"][seed]) for seed in seeds] for trial in compared])  # (points, seeds)
    means = scores.mean(axis=1)
    best = min(
        range(len(compared)), key=lambda row: (-sign * means[row], _parameters(compared[row]), compared[row]["point"])
    )
    noise, freedom = _noise(scores)
    close = (
        np.abs(means - means[best]) <= _smallest_difference(scores) if noise is not None else np.zeros(len(means), bool)
    )
    return Winner(
        point=int(compared[best]["point"]),
        mean=float(means[best]),
        noise=noise,
        degrees_of_freedom=freedom,
        seeds=len(seeds),
        not_told_apart=tuple(sorted(int(compared[row]["point"]) for row in np.flatnonzero(close) if row != best)),
        compared=len(compared),
        measure=str(objective["measure"]),
        compared_seeds=tuple(seeds),
    )


def pareto(trials: Sequence[Mapping], objectives: Sequence[Mapping]) -> tuple[int, ...]:
    """Finds the points that no other point beats: at least as good in every objective, and better in one.

    Args:
        trials: sequence of mappings, as in `trials.json`, with "point", "status" and "measures". Points that were not trained to
            their end, or lack a measure, are left out.
        objectives: sequence of mappings with "measure" and "direction" ("max" or "min").

    Returns:
        tuple of int, the numbers of the points, ascending. Points that are equal in every objective are all in it.

    Example:
        >>> trial = lambda point, accuracy, size: {"point": point, "status": "completed", "measures": {"a": accuracy, "s": size}}
        >>> objectives = [{"measure": "a", "direction": "max"}, {"measure": "s", "direction": "min"}]
        >>> pareto([trial(1, 0.9, 10), trial(2, 0.8, 5), trial(3, 0.7, 7)], objectives)
        (1, 2)
    """
    signs = np.array([1.0 if objective["direction"] == "max" else -1.0 for objective in objectives])
    points, rows = [], []
    for trial in trials:
        values = [trial.get("measures", {}).get(objective["measure"]) for objective in objectives]
        if trial["status"] == "completed" and all(_is_number(value) for value in values):
            points.append(int(trial["point"]))
            rows.append(np.array(values, np.float64) * signs)
    beaten = [any((other >= row).all() and (other > row).any() for other in rows) for row in rows]
    return tuple(sorted(point for point, is_beaten in zip(points, beaten, strict=True) if not is_beaten))


def _seeds(trial: Mapping) -> list[int]:
    """The seeds that a point has a score of."""
    return [seed for seed, score in enumerate(trial["scores"]) if _is_number(score)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _parameters(trial: Mapping) -> float:
    value = trial.get("measures", {}).get(PARAMETERS)
    return float(value) if _is_number(value) else math.inf


def _noise(scores: np.ndarray) -> tuple[float | None, int]:
    """The pooled standard deviation of the scores of one point, and its degrees of freedom."""
    points, seeds = scores.shape
    freedom = points * (seeds - 1)
    if not freedom:
        return None, 0
    return math.sqrt(float(((scores - scores.mean(axis=1, keepdims=True)) ** 2).sum()) / freedom), freedom


def _smallest_difference(scores: np.ndarray) -> float:
    """The smallest difference of two means that counts as more than chance."""
    points, seeds = scores.shape
    freedom = (points - 1) * (seeds - 1)
    if not freedom:
        return 0.0
    by_point, by_seed = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
    residuals = scores - by_point - by_seed + scores.mean()
    stddev = math.sqrt(float((residuals**2).sum()) / freedom)
    return _studentized_range(points, freedom) * stddev / math.sqrt(seeds)


@functools.cache  # It integrates numerically, and the views of a search ask again after every trial.
def _studentized_range(points: int, freedom: int) -> float:
    from scipy import stats  # slow to import, and whatever reads a search file imports this module

    return float(stats.studentized_range.ppf(CONFIDENCE, points, freedom))


def _listed(points: Sequence[int]) -> str:
    if len(points) == 1:
        return f"trial {points[0]}"
    if len(points) > _MOST_NAMED:
        return f"trials {', '.join(map(str, points[:_MOST_NAMED]))} and {len(points) - _MOST_NAMED} more"
    return f"trials {', '.join(map(str, points[:-1]))} and {points[-1]}"
