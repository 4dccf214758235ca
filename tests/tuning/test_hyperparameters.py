import random

import pytest

from kerastrain.errors import InputError
from kerastrain.system import isolated_imports
from kerastrain.tuning import hyperparameters
from kerastrain.tuning.space import Choices, Condition, Interval, Space

SPACE = Space(
    {
        "momentum": Interval(0, 0.95, when=(Condition("name", ("sgd",)), Condition("units", ([64], [])))),
        "nesterov": Choices((True, False), (Condition("momenta", (0.3,)),)),
        "momenta": Interval(0, 0.9, step=0.1, when=(Condition("name", ("sgd",)),)),
        "name": Choices(("adam", "sgd")),
        "units": Choices(([], [64], [128, 64])),
        "rate": Interval(1e-4, 1e-1, "log"),
        "near_one": Interval(0.9, 0.999, "reverse_log", when=(Condition("depth", (2, 3)),)),
        "batch": Interval(16, 128, "log", integer=True, step=2),
        "width": Interval(1, 1000, "log", integer=True),
        "depth": Interval(1, 4, integer=True),
        "dropout": Choices((0.5, 0, 0.2)),
        "size": Choices((64, 32)),
        "decay": Choices((None, 0.1)),
        "only": Choices((None,)),
    }
)


@pytest.fixture(scope="module")
def keras_tuner():
    return isolated_imports.keras_tuner()


def test_every_point_returns_exactly_through_keras_tuner_and_its_messages(keras_tuner, capsys):
    parameters, rng = hyperparameters.to_keras_tuner(keras_tuner, SPACE), random.Random(0)
    for _ in range(300):
        values = SPACE.sample(rng)
        encoded = hyperparameters.encode(SPACE, values)
        trial = parameters.copy()
        trial.values = dict(encoded)
        trial.ensure_active_values()
        assert trial.values == encoded, "keras-tuner has the same keys active"
        sent = keras_tuner.HyperParameters.from_proto(trial.to_proto())
        for received in (trial.values, sent.values, {**encoded, "tuner/epochs": 3}):
            decoded = hyperparameters.decode(SPACE, received)
            assert decoded == values
            assert list(map(type, decoded.values())) == list(map(type, values.values()))
    capsys.readouterr()  # keras-tuner prints the first value of each condition that it sends


def test_values_that_keras_tuner_draws_are_points_of_the_space(keras_tuner):
    parameters = hyperparameters.to_keras_tuner(keras_tuner, SPACE)
    assert hyperparameters.decode(SPACE, parameters.values) == {
        "name": "adam",
        "units": [],
        "rate": 1e-4,
        "depth": 1,
        "batch": 16,
        "width": 1,
        "dropout": 0.5,
        "size": 64,
        "decay": None,
        "only": None,
    }
    for seed in range(100):
        trial = parameters.copy()
        trial.values = {}
        for parameter in trial.space:
            if trial.is_active(parameter):
                trial.values[parameter.name] = parameter.random_sample(seed)
                assert 0 <= parameter.value_to_prob(trial.values[parameter.name]) <= 1
        decoded = hyperparameters.decode(SPACE, trial.values)
        assert decoded.keys() == trial.values.keys()
        assert hyperparameters.encode(SPACE, decoded) == trial.values


def test_numbers_are_ordered_choices_in_rising_order(keras_tuner):
    space = hyperparameters.to_keras_tuner(keras_tuner, SPACE).space
    ordered = {entry.name: entry.values for entry in space if getattr(entry, "ordered", False)}
    assert ordered == {"dropout": [0.0, 0.2, 0.5], "size": [32, 64]}
    assert type(next(entry for entry in space if entry.name == "nesterov")).__name__ == "Boolean"


def test_a_value_outside_the_space_is_refused():
    with pytest.raises(InputError, match=r"one of those that are searched. Received: 48. Known: 64, 32."):
        hyperparameters.encode(SPACE, {"size": 48})
