"""Hyperband: brackets of successive halving, from many points with few epochs to few points with all.

Takes the state of a search; returns the next step, which depends on nothing else. Sizes, epochs and order are those of
keras-tuner's HyperbandOracle. Must not choose values.

Reference: Li et al. 2018, https://arxiv.org/abs/1603.06560.
"""

import math

from kerastrain.tuning.pruning import best_first
from kerastrain.tuning.search_state import Point, SearchState
from kerastrain.tuning.settings import Objective

FACTOR = 3
"""The share of trials that do not continue is 1 - 1 / FACTOR, as in keras-tuner."""


def brackets(max_epochs: int) -> list[list[tuple[int, int]]]:
    """The rounds of each bracket.

    Args:
        max_epochs: int >= 1, the epochs of a whole training.

    Returns:
        list of brackets, in the order in which they start; each a list of (points, epochs in total) of its rounds.

    Example:
        >>> brackets(9)
        [[(9, 1), (3, 3), (1, 9)], [(5, 3), (2, 9)], [(3, 9)]]
    """
    count = 1
    while max_epochs / FACTOR**count >= 1:
        count += 1
    last_points = math.ceil(1 + math.log(max_epochs, FACTOR))
    return [
        [
            (
                math.ceil(last_points / (bracket + 1) * FACTOR ** (bracket - number)),
                math.ceil(max_epochs / FACTOR ** (bracket - number)),
            )
            for number in range(bracket + 1)
        ]
        for bracket in reversed(range(count))
    ]


def planned(max_epochs: int) -> int:
    """The number of points that hyperband tries.

    Args:
        max_epochs: int >= 1.

    Returns:
        int.

    Example:
        >>> planned(9)
        17
    """
    return sum(rounds[0][0] for rounds in brackets(max_epochs))


def next_step(
    objective: Objective, state: SearchState, *, max_epochs: int, is_filled: bool
) -> tuple[Point | None, int, int | None] | None:
    """The next trial.

    Args:
        objective: Objective.
        state: SearchState.
        max_epochs: int >= 1.
        is_filled: bool, whether no new point can be found; then the present bracket has as many points as it has.

    Returns:
        (Point to continue or None for a new point, its bracket, epochs in total or None for the end); None if nothing can
        start now.
    """
    for bracket, rounds in enumerate(brackets(max_epochs)):
        members = [point for point in state.points.values() if point.bracket == bracket]
        epochs = [None if trained == max_epochs else trained for _, trained in rounds]
        is_short = len(members) < rounds[0][0]
        if is_short and not is_filled:
            return None, bracket, epochs[0]
        room = len(members)
        for number in range(1, len(rounds)):
            size = math.ceil(room / FACTOR) if is_short else rounds[number][0]
            point, entered, room = _promotion(members, objective, number, room, size)
            if point is not None:
                return point, bracket, epochs[number]
            members = entered
    return None


def _promotion(
    members: list[Point], objective: Objective, number: int, room: int, size: int
) -> tuple[Point | None, list[Point], int]:
    """The point that enters a round next, or None; the points that have entered it; and how many will at most.

    As soon as more trials of the round before are done than will be left out, the best of them continues. Those that failed are
    left out first. A point that ended by itself enters without a trial.

    Args:
        members: list of Point, those that have entered the round before.
        objective: Objective.
        number: int >= 1, the number of the round.
        room: int, how many enter the round before in all.
        size: int, how many of them continue.
    """
    entered = [point for point in members if len(point.of_seed(0)) > number]
    candidates = [point for point in members if point not in entered and point.status in ("paused", "completed")]
    failed = sum(point not in entered and point.status == "failed" for point in members)
    for point in best_first(candidates, objective):
        if len(candidates) + failed <= room - size:
            break
        if point.status == "paused":
            return point, entered, size
        entered.append(point)
        candidates.remove(point)
    return None, entered, min(size, room - failed)
