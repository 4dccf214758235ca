"""The next point of a search, by each algorithm.

Takes settings, space and the state of the search; returns values, which depend on nothing else: a search that is resumed
proposes what it would have proposed, without repeating earlier proposals. Must not change the state.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from kerastrain.errors import InputError
from kerastrain.tuning import bayesian, scalarisation, tpe
from kerastrain.tuning.search_state import SearchState
from kerastrain.tuning.settings import Settings
from kerastrain.tuning.space import Space

_MODEL_DRAWS = 3  # of a model before points are drawn at random; its optimum seldom moves with the seed
_RANDOM_DRAWS = 100
_MOST_LISTED = 100_000  # points of a space that are listed to find those that were not tried


class Exhausted(Exception):
    """No new point was found.

    Args:
        reason: str, why, in a sentence; "" for a grid that was tried as a whole.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def propose(keras_tuner, settings: Settings, space: Space, state: SearchState) -> dict[str, Any]:
    """Chooses values that meet the constraints and were not tried.

    Args:
        keras_tuner: the module keras_tuner.
        settings: Settings.
        space: Space.
        state: SearchState.

    Returns:
        dict from the active keys to values.

    Raises:
        Exhausted: there are no such values, or none were found.
        InputError: no point meets the constraints.
    """
    tried = {_text(point.values) for point in state.points.values()}
    try:
        for values in _candidates(keras_tuner, settings, space, state):
            if _text(values) not in tried and space.allows(values):
                return values
    except InputError as error:  # The constraints leave so little that it was not found again.
        if not tried:
            raise
        raise Exhausted(str(error)) from error
    raise Exhausted(_reason(settings, space, len(tried)))


def _candidates(keras_tuner, settings: Settings, space: Space, state: SearchState) -> Iterator[dict[str, Any]]:
    if settings.algorithm == "grid":
        yield from itertools.islice(space.points(), len(state.points), None)
        return
    number = len(state.points)
    if draw := _model(keras_tuner, settings, space, state):
        for attempt in range(_MODEL_DRAWS):
            yield draw(attempt)
    for attempt in range(_RANDOM_DRAWS):
        yield space.sample(_generator(settings, number, attempt))
    size = space.size()
    if size is not None and size <= _MOST_LISTED:
        points = list(space.points())
        for index in _generator(settings, number, _RANDOM_DRAWS).permutation(len(points)):
            yield points[index]


def _generator(settings: Settings, number: int, attempt: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, number, 0, attempt])


def _model(keras_tuner, settings: Settings, space: Space, state: SearchState) -> Callable[[int], dict] | None:
    """A function from the number of an attempt to the values that a model proposes; None where points are drawn at random."""
    number = len(state.points)
    losses = scalarisation.losses(settings.objectives, [*state.points.values()], seed=settings.seed, number=number)

    def seed(attempt: int) -> int:
        if attempt == 0:
            return tpe.seeds(settings.seed, number)
        return int(np.random.default_rng([settings.seed, number, 2, attempt]).integers(1, 2**31 - 1))

    if settings.algorithm == "tpe":
        observations = [(point.values, losses.get(point.number)) for point in state.points.values()]
        return lambda attempt: tpe.suggest(space, observations, trials=settings.trials, seed=seed(attempt))
    if settings.algorithm != "bayesian" or bayesian.is_random(space, len(losses), trials=settings.trials):
        return None
    observations = [
        (point.values, losses.get(point.number))
        for point in state.points.values()
        if point.number in losses or point.status == "running"
    ]
    return lambda attempt: bayesian.suggest(keras_tuner, space, observations, seed=max(1, seed(attempt)))


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _reason(settings: Settings, space: Space, tried: int) -> str:
    if settings.algorithm == "grid":
        return ""
    size = space.size()
    if size is None or size > _MOST_LISTED:
        return f"{_RANDOM_DRAWS} draws found no point that was not tried and meets the constraints"
    allowed = " that meets the constraints" if space.constraints else ""
    return f"every point of the space{allowed} was tried: {tried}"
