"""Median pruning and asynchronous successive halving: which trials end early, and which continue.

Takes the state of a search; returns decisions, which depend on nothing else. Must not change the state or choose values.
"""

import math
from collections.abc import Sequence
from statistics import median

from kerastrain.tuning.search_state import Point, SearchState, Training
from kerastrain.tuning.settings import Objective, Pruning, Settings


def ends_early(settings: Settings, state: SearchState, training: Training) -> bool:
    """Whether a training is to be ended now, because median pruning gives it up.

    Args:
        settings: Settings.
        state: SearchState.
        training: Training that has just reported an epoch.

    Returns:
        bool; False for further seeds of finalists, and after the last epoch.
    """
    if settings.pruning is None or settings.pruning.name != "median" or training.seed:
        return False
    if settings.max_epochs is not None and training.last_epoch >= settings.max_epochs:
        return False
    return is_below_median(settings.pruning, settings.objectives[0], state, training)


def is_below_median(pruning: Pruning, objective: Objective, state: SearchState, training: Training) -> bool:
    """Whether the best value of a trial so far is worse than the median of what the completed trials had by then.

    Args:
        pruning: Pruning "median".
        objective: Objective, the first.
        state: SearchState.
        training: Training that has just reported an epoch.

    Returns:
        bool; False before `min_epochs` epochs, and until `startup_trials` trials have completed.

    Reference: Golovin et al. 2017, Google Vizier, section 3.2.1, https://doi.org/10.1145/3097983.3098043, which compares with
    running averages; here with running bests, as the score of a trial is its best epoch.
    """
    epoch = training.last_epoch
    completed = [point for point in state.points.values() if point.status == "completed"]
    if epoch < pruning.min_epochs or len(completed) < pruning.startup_trials:
        return False
    own = _best_until(state.points[training.point], objective, epoch)
    others = [_best_until(point, objective, epoch) for point in completed]
    return own is not None and own > median(loss for loss in others if loss is not None)


def _best_until(point: Point, objective: Objective, epoch: int) -> float | None:
    """The least loss of the first training until an epoch; None if it reported none. NaN is worse than any number."""
    values = [value for reported, value in point.curve(objective.name).items() if reported <= epoch]
    return min((objective.loss(value) if math.isfinite(value) else math.inf for value in values), default=None)


def rungs(pruning: Pruning, max_epochs: int) -> list[int | None]:
    """The epochs after which halving pauses trials.

    Args:
        pruning: Pruning "halving".
        max_epochs: int >= 1, the epochs of a whole training.

    Returns:
        list of int; the last entry is None, for the end.

    Example:
        >>> rungs(Pruning("halving", min_epochs=2, factor=3), max_epochs=18)
        [2, 6, None]
    """
    epochs = [pruning.min_epochs]
    while epochs[-1] < max_epochs:
        epochs.append(epochs[-1] * pruning.factor)
    return [*epochs[:-1], None]


def promotion(
    pruning: Pruning, objective: Objective, state: SearchState, *, max_epochs: int, is_filled: bool
) -> tuple[Point, int | None] | None:
    """The point that halving continues next.

    A point continues as soon as it is among the best 1 / `factor` of its rung, from the highest rung down. When no new points
    are left, the share is rounded up and counts the trials that are still on their way to the rung: then no worker waits for
    others, and some point of every rung reaches the end.

    Args:
        pruning: Pruning "halving".
        objective: Objective.
        state: SearchState.
        max_epochs: int >= 1.
        is_filled: bool, whether all new points have been started.

    Returns:
        (Point, epochs), with the epochs in total at which it pauses again, or None for the end; None if no point may continue.

    Reference: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2,
    https://arxiv.org/abs/1810.05934.
    """
    levels = rungs(pruning, max_epochs)
    for level in reversed(range(len(levels) - 1)):
        ranked = _ranked(objective, state, levels[level])
        for point in ranked[: len(ranked) // pruning.factor]:
            if _waits_at(point, levels[level]):
                return point, levels[level + 1]
    if not is_filled:
        return None
    for level in range(len(levels) - 1):
        ranked = _ranked(objective, state, levels[level])
        waiting = [point for point in ranked if _waits_at(point, levels[level])]
        coming = sum(training.epochs == levels[level] for training in state.running)
        share = math.ceil((len(ranked) + coming) / pruning.factor)
        if waiting and len(ranked) - len(waiting) < share:
            return waiting[0], levels[level + 1]
    return None


def _ranked(objective: Objective, state: SearchState, epochs: int) -> list[Point]:
    """The points that have reached a rung, the best at it first; one that ended by itself before has reached all."""
    losses = {}
    for point in state.points.values():
        reached = [
            t for t in point.of_seed(0) if t.status == "completed" and (t.epochs == epochs or _passed(t, epochs))
        ]
        if reached and objective.name in reached[0].result:
            losses[point.number] = objective.loss(reached[0].result[objective.name])
    return [state.points[number] for number in sorted(losses, key=losses.__getitem__)]


def _passed(training: Training, epochs: int) -> bool:
    """Whether a training ended by itself at a lower rung."""
    return training.epochs is not None and training.epochs < epochs and training.reached_end


def _waits_at(point: Point, epochs: int) -> bool:
    return point.status == "paused" and point.of_seed(0)[-1].epochs == epochs


def best_first(points: Sequence[Point], objective: Objective) -> list[Point]:
    """Sorts points by their result.

    Args:
        points: sequence of Point.
        objective: Objective.

    Returns:
        list of Point; those without a result are left out.
    """
    rated = [point for point in points if objective.name in point.result()]
    return sorted(rated, key=lambda point: objective.loss(point.result()[objective.name]))
