"""keras-tuner's Bayesian optimization: proposes points from a Gaussian process of the losses of earlier ones.

Takes a space and observations; returns values, which depend on nothing else. Must not run or record trials.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from kerastrain.tuning.hyperparameters import decode, encode, to_keras_tuner
from kerastrain.tuning.space import Space


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

    A new BayesianOptimizationOracle is fitted for each proposal, so that nothing but the observations counts. A point that is
    still running counts as if it had the worst loss so far ("constant liar", Ginsbourger et al. 2010), so that several workers
    try different points.

    Args:
        keras_tuner: the module keras_tuner.
        space: Space.
        observations: sequence of (values, loss), in the order of their start; the loss is None for a point that runs. At least
            one has a loss.
        seed: int > 0, the seed of this proposal.

    Returns:
        dict from the active keys to values; constraints are not considered.

    Reference: Snoek et al. 2012, https://arxiv.org/abs/1206.2944; Ginsbourger et al. 2010,
    https://doi.org/10.1007/978-3-642-10701-6_6.
    """
    objective = keras_tuner.Objective("loss", "min")
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        objective, num_initial_points=1, seed=seed, hyperparameters=to_keras_tuner(keras_tuner, space)
    )
    worst = max(loss for _, loss in observations if loss is not None)
    for number, (values, loss) in enumerate(observations):
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = encode(space, values)
        trial = keras_tuner.engine.trial.Trial(hyperparameters, trial_id=str(number), status="COMPLETED")
        trial.score = worst if loss is None else loss
        oracle.trials[trial.trial_id] = trial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's about kernels at their bounds, and those of its optimizer
        return decode(space, oracle.populate_space(str(len(observations)))["values"])
