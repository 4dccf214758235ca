"""What a free worker does next: a new point, a point that continues, a further seed of a finalist, or nothing.

Takes settings, space and the state of a search; returns decisions, which depend on nothing else. Must not choose values or
change the state.
"""

from dataclasses import dataclass

from kerastrain.tuning import hyperband, pruning
from kerastrain.tuning.search_state import Point, SearchState
from kerastrain.tuning.settings import Settings
from kerastrain.tuning.space import Space


@dataclass(frozen=True)
class Next:
    """A trial to start.

    Args:
        point: Point to continue or to train with a further seed; None for a new one.
        seed: int >= 0.
        epochs: int >= 1, after how many epochs in total it pauses; None for the end.
        bracket: int, of hyperband; None for other algorithms.
    """

    point: Point | None
    seed: int = 0
    epochs: int | None = None
    bracket: int | None = None


def planned_points(settings: Settings, space: Space) -> int:
    """The number of points that a search tries, if it does not end early.

    Args:
        settings: Settings.
        space: Space.

    Returns:
        int.

    Raises:
        InputError: the space has no grid, because a key has infinitely many values.
    """
    if settings.algorithm == "grid":
        space.points()
    limits = [space.size()]
    limits.append(hyperband.planned(settings.max_epochs) if settings.algorithm == "hyperband" else settings.trials)
    return min(limit for limit in limits if limit is not None)


def decide(settings: Settings, state: SearchState) -> Next | None:
    """Decides what starts next.

    Args:
        settings: Settings.
        state: SearchState.

    Returns:
        Next; None if nothing can start before a running trial ends, or at all.
    """
    step = _of_hyperband(settings, state) if settings.algorithm == "hyperband" else _of_points(settings, state)
    if step is None and not any(training.seed == 0 for training in state.running):
        return _further_seed(settings, state)
    return step


def _of_hyperband(settings: Settings, state: SearchState) -> Next | None:
    step = hyperband.next_step(
        settings.objectives[0],
        state,
        max_epochs=settings.max_epochs,
        is_filled=state.exhausted_reason is not None,
    )
    return step and Next(step[0], 0, step[2], step[1])


def _of_points(settings: Settings, state: SearchState) -> Next | None:
    is_filled = state.exhausted_reason is not None or len(state.points) == settings.trials
    first_rung = None
    if settings.has_rungs:
        promoted = pruning.promotion(
            settings.pruning, settings.objectives[0], state, max_epochs=settings.max_epochs, is_filled=is_filled
        )
        if promoted is not None:
            return Next(promoted[0], 0, promoted[1])
        first_rung = pruning.rungs(settings.pruning, settings.max_epochs)[0]
    return None if is_filled else Next(None, 0, first_rung)


def _further_seed(settings: Settings, state: SearchState) -> Next | None:
    if settings.seeds == 1:
        return None
    for point in finalists(settings, state):
        for seed in range(1, settings.seeds):
            if not point.of_seed(seed):
                return Next(point, seed)
    return None


def finalists(settings: Settings, state: SearchState) -> list[Point]:
    """The best points that were trained to their end, which are trained with further seeds.

    Args:
        settings: Settings.
        state: SearchState.

    Returns:
        list of at most `settings.finalists` Points, the best first. With several objectives, the points that the fewest others
        beat come first.
    """
    completed = [point for point in state.points.values() if point.status == "completed"]
    if len(settings.objectives) == 1:
        return pruning.best_first(completed, settings.objectives[0])[: settings.finalists]
    vectors = {
        point.number: [objective.loss(point.result()[objective.name]) for objective in settings.objectives]
        for point in completed
    }

    def beaten_by(point: Point) -> int:
        own = vectors[point.number]
        return sum(
            other != own and all(theirs <= mine for theirs, mine in zip(other, own, strict=True))
            for other in vectors.values()
        )

    return sorted(completed, key=beaten_by)[: settings.finalists]
