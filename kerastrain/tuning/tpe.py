"""Hyperopt's tree-structured Parzen estimator: proposes points from the losses of earlier ones.

Takes a space and observations; returns values, which depend on nothing else. Must not run or record trials.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerastrain.system import optional_imports
from kerastrain.tuning.parameters import Choices, Interval, has
from kerastrain.tuning.space import Space

_MAX_RANDOM_TRIALS = 20  # hyperopt's default


def suggest(
    space: Space, observations: Sequence[tuple[Mapping[str, Any], float | None]], *, trials: int, seed: int
) -> dict[str, Any]:
    """Proposes a point with hyperopt's `tpe.suggest`.

    TPE models the density of good points and that of the other points, one key at a time, and proposes the point with the
    largest ratio of the two. The first third of the trials, at most 20, is drawn at random. A key with conditions is modelled
    from the points in which it was active. Points that run or failed count among the others, as in hyperopt.

    One after the other, the points of a search are those of hyperopt's `fmin` with the same seed and number of random trials, as
    long as none is repeated or forbidden by a constraint; where `fmin` tries a point twice, a search draws again.

    Args:
        space: Space.
        observations: sequence of (values, loss) of the points before, in the order of their start; the loss is None for one
            that runs or failed.
        trials: int > 0, the number of points of the search.
        seed: int >= 0, the seed of this proposal.

    Returns:
        dict from the active keys to values; constraints are not considered.

    Raises:
        MissingExtra: hyperopt is not installed.

    Reference: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization, section 4,
    https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization.
    """
    hyperopt = optional_imports.need("hyperopt", extra="tpe", to="search with tpe")
    domain = hyperopt.base.Domain(lambda values: None, expression(hyperopt, space))
    history, number = hyperopt.Trials(), len(observations)
    history.insert_trial_docs(
        [_document(hyperopt, domain, space, index, *observation) for index, observation in enumerate(observations)]
    )
    history.refresh()
    with warnings.catch_warnings():
        # hyperopt 0.3.0 sets the shape of arrays, which NumPy 2.5 deprecates.
        warnings.filterwarnings("ignore", "Setting the shape", DeprecationWarning)
        (document,) = hyperopt.tpe.suggest(
            [number],
            domain,
            history,
            seed,
            n_startup_jobs=min(math.ceil(trials / 3), _MAX_RANDOM_TRIALS),
            verbose=False,
        )
    coordinates = document["misc"]["vals"]
    return space.active(
        {key: _value(space.parameters[key], coordinates[key][0]) for key in space.order if len(coordinates[key])}
    )


def seeds(seed: int, number: int) -> int:
    """The seed of a proposal, as hyperopt's `fmin` draws it from a generator with the seed of the search.

    Args:
        seed: int >= 0, the seed of the search.
        number: int >= 0, how many points were proposed before.

    Returns:
        int >= 0.
    """
    generator = np.random.default_rng(seed)
    return int([generator.integers(2**31 - 1) for _ in range(number + 1)][-1])


def expression(hyperopt, space: Space) -> dict[str, Any]:
    """The space as hyperopt has it: a distribution for each key, below switches for its conditions.

    Args:
        hyperopt: the module hyperopt.
        space: Space. A condition on an interval is left to `Space.active`; hyperopt draws that key always.

    Returns:
        dict from keys to hyperopt's expressions.
    """
    distributions = {key: _distribution(hyperopt.hp, key, space.parameters[key]) for key in space.order}
    expressions = {}
    for key in space.order:
        expressions[key] = distributions[key]
        for condition in _all_conditions(space, key):
            parent = space.parameters[condition.key]
            if isinstance(parent, Choices):
                index = distributions[condition.key].pos_args[0]
                options = [expressions[key] if has(condition.values, value) else None for value in parent.values]
                expressions[key] = hyperopt.pyll.scope.switch(index, *options)
    return expressions


def _all_conditions(space: Space, key: str) -> list:
    """The conditions of a key and those of the keys that they name."""
    conditions = []
    for condition in space.parameters[key].when:
        conditions += [condition, *_all_conditions(space, condition.key)]
    return conditions


def _distribution(hp, key: str, parameter: Interval | Choices):
    """Hyperopt's distribution of the coordinate of a key."""
    if isinstance(parameter, Choices):
        return hp.choice(key, list(range(len(parameter.values))))
    if parameter.step is None and parameter.sampling == "reverse_log":
        return hp.uniform(key, 0.0, 1.0)
    if parameter.step is not None:
        return hp.quniform(key, -0.5, len(parameter.values) - 0.5, 1)
    low, high = parameter.min, parameter.max
    if parameter.integer:
        low, high = low - 0.5, high + 0.5  # makes the limits as likely as the numbers between them
    if parameter.sampling == "log":
        low, high = math.log(low), math.log(high)
        return hp.qloguniform(key, low, high, 1) if parameter.integer else hp.loguniform(key, low, high)
    return hp.quniform(key, low, high, 1) if parameter.integer else hp.uniform(key, low, high)


def _value(parameter: Interval | Choices, coordinate: float) -> Any:
    """The value at a coordinate, clipped to the limits, which rounding can exceed."""
    if isinstance(parameter, Choices):
        return parameter.values[int(coordinate)]
    if parameter.step is None and parameter.sampling == "reverse_log":
        return parameter.at(min(max(float(coordinate), 0.0), math.nextafter(1.0, 0.0)))
    if parameter.step is not None:
        return parameter.values[min(max(int(coordinate), 0), len(parameter.values) - 1)]
    dtype = int if parameter.integer else float
    return dtype(min(max(float(coordinate), parameter.min), parameter.max))


def _coordinate(parameter: Interval | Choices, value: Any) -> float | int:
    """The coordinate of a value: the inverse of `_value`."""
    if isinstance(parameter, Choices):
        return next(index for index, other in enumerate(parameter.values) if has((other,), value))
    if parameter.step is None and parameter.sampling == "reverse_log":
        low, high, middle = parameter.min, parameter.max + parameter.integer, value + parameter.integer / 2
        return 1 - math.log((high + low - middle) / low) / math.log(high / low)
    if parameter.step is not None:
        return float(list(parameter.values).index(value))
    return float(value)


def _document(hyperopt, domain, space: Space, index: int, values: Mapping[str, Any], loss: float | None) -> dict:
    """A point before, as hyperopt records it."""
    result = {"status": hyperopt.STATUS_FAIL} if loss is None else {"status": hyperopt.STATUS_OK, "loss": loss}
    # A key that hyperopt drew although it is not active has no coordinate here: its value had no effect.
    coordinates = {
        key: [_coordinate(space.parameters[key], values[key])] if key in values else [] for key in space.order
    }
    return {
        "state": hyperopt.JOB_STATE_DONE,
        "tid": index,
        "spec": None,
        "result": result,
        "misc": {
            "tid": index,
            "cmd": domain.cmd,
            "workdir": domain.workdir,
            "idxs": {key: [index] if coordinate else [] for key, coordinate in coordinates.items()},
            "vals": coordinates,
        },
        "exp_key": None,
        "owner": None,
        "version": 0,
        "book_time": None,
        "refresh_time": None,
    }
