"""Bayesian optimization: proposes points from keras-tuner's Gaussian process of the losses of earlier ones.

Takes a space and observations; returns values, which depend on nothing else. Must not run or record trials.
"""

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerastrain.tuning.hyperparameters import decode, encode, to_keras_tuner
from kerastrain.tuning.space import Space

BETA = 1.0
"""How much uncertainty attracts. keras-tuner's 2.6 explores more, which searches of some dozens of trials seldom pay back."""

_CANDIDATES = 600  # that are drawn from the whole space
_SPREADS = (0.1, 0.03, 0.01)  # of candidates around the best ones, as fractions of each key's range
_KEPT, _NEIGHBOURS = 5, 40
_RESAMPLED = 0.1  # the share of keys of a neighbour that are drawn from the whole range, so that choices change, too


def is_random(space: Space, completed: int, *, trials: int) -> bool:
    """Whether too few points have completed for a model, so that the next one is drawn at random.

    Args:
        space: Space.
        completed: int >= 0, the points with a loss.
        trials: int > 0, the number of points of the search.

    Returns:
        bool: keras-tuner's rule, three random points for each key, but no more than a third of the trials.
    """
    return completed < max(2, min(3 * len(space.parameters), -(-trials // 3)))


def suggest(
    keras_tuner, space: Space, observations: Sequence[tuple[Mapping[str, Any], float | None]], *, seed: int
) -> dict[str, Any]:
    """Proposes the point with the least lower confidence bound of a Gaussian process.

        bound(x) = mean(x) - beta * standard_deviation(x)

    The process and the place of a value in it are those of keras-tuner's BayesianOptimizationOracle. It minimizes the bound
    over the cube that the points are embedded in, and rounds the minimum to a point, which may be forbidden or tried already,
    in thousands of single predictions, which take seconds. Here the bound is compared over points that are allowed and were not
    tried: draws from the space, then neighbours of the best.

    A point that is still running counts as if it had the worst loss so far ("constant liar", Ginsbourger et al. 2010), so that
    several workers try different points.

    Args:
        keras_tuner: the module keras_tuner.
        space: Space.
        observations: sequence of (values, loss), in the order of their start; the loss is None for a point that runs. At least
            one has a loss.
        seed: int > 0, the seed of this proposal.

    Returns:
        dict from the active keys to values.

    Raises:
        InputError: no point that meets the constraints was found.

    Reference: Snoek et al. 2012, https://arxiv.org/abs/1206.2944; Ginsbourger et al. 2010,
    https://doi.org/10.1007/978-3-642-10701-6_6.
    """
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        keras_tuner.Objective("loss", "min"), beta=BETA, seed=seed, hyperparameters=to_keras_tuner(keras_tuner, space)
    )
    embedding = _Embedding(keras_tuner, space, oracle.hyperparameters.space)
    worst = max(loss for _, loss in observations if loss is not None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's about kernels at their bounds
        oracle.gpr.fit(
            np.array([embedding.of(values) for values, _ in observations]),
            np.array([worst if loss is None else loss for _, loss in observations]),
        )
    generator, tried = np.random.default_rng(seed), {_text(values) for values, _ in observations}
    ranked: list[tuple[float, list[float], dict[str, Any]]] = []  # bound, place in the cube, values
    for spread in (None, *_SPREADS):
        if spread is None:
            drawn = [space.sample(generator) for _ in range(_CANDIDATES)]
        else:
            places = [place for _, place, _ in ranked[:_KEPT] for _ in range(_NEIGHBOURS)]
            drawn = [embedding.neighbour(place, spread, generator) for place in places]
        candidates = [values for values in drawn if _text(values) not in tried and space.allows(values)]
        if candidates:
            places = [embedding.of(values) for values in candidates]
            mean, deviation = oracle.gpr.predict(np.array(places), return_std=True)
            bounds = (mean - BETA * deviation).tolist()
            ranked = sorted([*ranked, *zip(bounds, places, candidates, strict=True)], key=lambda entry: entry[0])
    return ranked[0][2] if ranked else space.sample(generator)


class _Embedding:
    """The place of points in the unit cube, with keras-tuner's coordinates of each hyperparameter.

    Args:
        keras_tuner: the module keras_tuner.
        space: Space.
        parameters: sequence of keras-tuner's hyperparameters of the space.
    """

    def __init__(self, keras_tuner, space: Space, parameters: Sequence):
        fixed = keras_tuner.engine.hyperparameters.Fixed
        self._space = space
        self._fixed = {parameter.name: parameter.value for parameter in parameters if isinstance(parameter, fixed)}
        self._parameters = [parameter for parameter in parameters if parameter.name not in self._fixed]
        self._defaults = {parameter.name: parameter.value_to_prob(parameter.default) for parameter in self._parameters}
        self._alone = {key: Space({key: dataclasses.replace(kind, when=())}) for key, kind in space.parameters.items()}
        self._known: dict[tuple[str, str], float] = {}

    def of(self, values: Mapping[str, Any]) -> list[float]:
        """The coordinates of a point; a key that is not active is at its default, as in keras-tuner."""
        return [
            self._coordinate(parameter, values[parameter.name])
            if parameter.name in values
            else self._defaults[parameter.name]
            for parameter in self._parameters
        ]

    def _coordinate(self, parameter, value: Any) -> float:
        entry = parameter.name, json.dumps(value)
        if entry not in self._known:
            name = parameter.name
            self._known[entry] = float(parameter.value_to_prob(encode(self._alone[name], {name: value})[name]))
        return self._known[entry]

    def neighbour(self, place: Sequence[float], spread: float, generator: np.random.Generator) -> dict[str, Any]:
        """A point near a place, which need not meet the constraints."""
        moved = np.array(place) + generator.normal(0.0, spread, len(place))
        fresh, is_fresh = generator.random(len(place)), generator.random(len(place)) < _RESAMPLED
        codes = {
            parameter.name: parameter.prob_to_value(fraction)
            for parameter, fraction in zip(
                self._parameters, np.where(is_fresh, fresh, moved).clip(0.0, 1.0).tolist(), strict=True
            )
        }
        return decode(self._space, {**self._fixed, **codes})


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
