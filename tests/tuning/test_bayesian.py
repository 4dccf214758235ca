import numpy as np
import pytest
import search_workers

from kerastrain import tuning
from kerastrain.system import isolated_imports
from kerastrain.tuning import bayesian
from kerastrain.tuning.hyperparameters import decode, encode, to_keras_tuner

SPACE = tuning.Space({"x": tuning.Interval(-5.0, 5.0), "rate": tuning.Interval(1e-4, 1.0, "log")})


def observations(count, space=SPACE, seed=0):
    generator = np.random.default_rng(seed)
    points = [space.sample(generator) for _ in range(count)]
    return [(values, abs(values["x"] - 3) + abs(np.log10(values["rate"]) + 2)) for values in points]


def own_proposal_of(keras_tuner, seen):
    """The proposal of keras-tuner's oracle, and its bound as a function of values."""
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        keras_tuner.Objective("loss", "min"),
        num_initial_points=1,
        beta=bayesian.BETA,
        seed=1,
        hyperparameters=to_keras_tuner(keras_tuner, SPACE),
    )
    for number, (values, loss) in enumerate(seen):
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = encode(SPACE, values)
        trial = keras_tuner.engine.trial.Trial(hyperparameters, trial_id=str(number), status="COMPLETED")
        trial.score = loss
        oracle.trials[trial.trial_id] = trial

    def bound(values):
        codes = encode(SPACE, values)
        place = [[parameter.value_to_prob(codes[parameter.name]) for parameter in oracle.hyperparameters.space]]
        mean, deviation = oracle.gpr.predict(np.array(place), return_std=True)
        return float(mean[0] - oracle.beta * deviation[0])

    return decode(SPACE, oracle.populate_space("next")["values"]), bound


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("count", [4, 12])
def test_the_bound_of_a_proposal_is_as_low_as_that_of_keras_tuners_own(count):
    keras_tuner = isolated_imports.keras_tuner()
    seen = observations(count)
    theirs, bound = own_proposal_of(keras_tuner, seen)
    ours = bayesian.suggest(keras_tuner, SPACE, seen, seed=1)
    by_chance = [bound(values) for values, _ in observations(100, seed=5)]
    assert bound(ours) < bound(theirs) + 0.02 * np.std(by_chance)
    assert bound(ours) < min(by_chance)


def test_a_point_that_runs_is_avoided():
    keras_tuner = isolated_imports.keras_tuner()
    seen = observations(8)
    first = bayesian.suggest(keras_tuner, SPACE, seen, seed=1)
    second = bayesian.suggest(keras_tuner, SPACE, [*seen, (first, None)], seed=1)
    assert abs(first["x"] - second["x"]) + abs(np.log10(first["rate"] / second["rate"])) > 0.3


def test_a_proposal_is_allowed_new_and_of_active_keys():
    keras_tuner = isolated_imports.keras_tuner()
    generator = np.random.default_rng(2)
    seen = [
        (values, search_workers.loss(values, 9))
        for values in (search_workers.SPACE.sample(generator) for _ in range(9))
    ]
    proposal = bayesian.suggest(keras_tuner, search_workers.SPACE, seen, seed=4)
    assert proposal == search_workers.SPACE.active(proposal)
    assert search_workers.SPACE.allows(proposal)
    assert proposal not in [values for values, _ in seen]
    assert proposal == bayesian.suggest(keras_tuner, search_workers.SPACE, seen, seed=4)
    small = tuning.Space({"a": tuning.Choices((1, 2, 3)), "b": tuning.Choices(("only",))})
    tried = [({"a": 1, "b": "only"}, 0.0), ({"a": 3, "b": "only"}, 1.0)]
    assert bayesian.suggest(keras_tuner, small, tried, seed=4) == {"a": 2, "b": "only"}
