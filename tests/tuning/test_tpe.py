import functools
import math

import numpy as np
import pytest

from kerastrain import tuning
from kerastrain.tuning import journal, tpe

hyperopt = pytest.importorskip("hyperopt")
hp = hyperopt.hp

FLAT = {
    "rate": tuning.Interval(1e-5, 1.0, "log"),
    "units": tuning.Interval(1, 64, "log", integer=True),
    "depth": tuning.Interval(1, 3, integer=True),
    "momentum": tuning.Interval(0.0, 1.0),
    "name": tuning.Choices(("a", None, [1, 2])),
    "batch": tuning.Interval(16, 128, "log", integer=True, step=2),
    "dropout": tuning.Interval(0.0, 0.5, step=0.1),
}
NESTED = {
    "rate": tuning.Interval(1e-5, 1.0, "log"),
    "name": tuning.Choices(("adam", "sgd")),
    "momentum": tuning.Interval(0.0, 0.95, when=(tuning.Condition("name", ("sgd",)),)),
    "schedule": tuning.Choices(("constant", "cosine"), when=(tuning.Condition("name", ("sgd",)),)),
    "end": tuning.Interval(1e-3, 1.0, "log", when=(tuning.Condition("schedule", ("cosine",)),)),
    "beta": tuning.Interval(0.8, 0.99, when=(tuning.Condition("name", ("adam",)),)),
}


def flat_loss(values):
    return abs(math.log10(values["rate"]) + 3) + abs(values["units"] - 20) / 20 + values["momentum"] + values["dropout"]


def nested_loss(values):
    fit = abs(math.log10(values["rate"]) + 3) + (values["name"] == "adam") * 0.3
    return fit + abs(values.get("momentum", 0.5) - 0.9) + abs(math.log10(values.get("end", 1)) + 1) * 0.2


def searched(directory, parameters, loss, trials, seed):
    def score(values, epochs):
        return loss(values)

    tuning.search(
        score,
        tuning.Space(parameters),
        directory=directory,
        algorithm="tpe",
        direction="min",
        trials=trials,
        seed=seed,
    )
    return [event["values"] for event in journal.read(directory) if event["event"] == "start"]


def minimized(space, loss, trials, seed):
    """The points that hyperopt's `fmin` tries, in its own words."""
    points = []

    def objective(values):
        points.append(values)
        return loss(values)

    algorithm = functools.partial(hyperopt.tpe.suggest, n_startup_jobs=math.ceil(trials / 3), verbose=False)
    hyperopt.fmin(
        objective,
        space,
        algo=algorithm,
        max_evals=trials,
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
        verbose=False,
    )
    return points


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # of hyperopt, called directly
@pytest.mark.parametrize("seed", [0, 4])
def test_tpe_tries_the_points_of_fmin(tmp_path, seed):
    sizes = [16, 32, 64, 128]
    space = {
        "rate": hp.loguniform("rate", math.log(1e-5), math.log(1.0)),
        "units": hp.qloguniform("units", math.log(0.5), math.log(64.5), 1),
        "depth": hp.quniform("depth", 0.5, 3.5, 1),
        "momentum": hp.uniform("momentum", 0.0, 1.0),
        "name": hp.choice("name", ["a", None, [1, 2]]),
        "batch": hp.quniform("batch", -0.5, 3.5, 1),
        "dropout": hp.quniform("dropout", -0.5, 5.5, 1),
    }

    def in_own_units(values):
        name = list(values["name"]) if isinstance(values["name"], tuple) else values["name"]
        index = {name: int(values[name]) for name in ("batch", "dropout")}
        return {**values, "name": name, "batch": sizes[index["batch"]], "dropout": round(0.1 * index["dropout"], 12)}

    expected = minimized(space, lambda values: flat_loss(in_own_units(values)), 30, seed)
    points = searched(tmp_path, FLAT, flat_loss, 30, seed)
    assert points == [in_own_units(values) for values in expected]
    assert {type(values[name]) for values in points for name in ("units", "depth", "batch")} == {int}


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
@pytest.mark.parametrize("seed", [0, 4])
def test_tpe_tries_the_points_of_fmin_under_nested_conditions(tmp_path, seed):
    schedules = [{"schedule": "constant"}, {"schedule": "cosine", "end": hp.loguniform("end", math.log(1e-3), 0.0)}]
    optimizers = [
        {"name": "adam", "beta": hp.uniform("beta", 0.8, 0.99)},
        {
            "name": "sgd",
            "momentum": hp.uniform("momentum", 0.0, 0.95),
            "schedule": hp.choice("schedule", schedules),
        },
    ]
    space = {"rate": hp.loguniform("rate", math.log(1e-5), 0.0), "optimizer": hp.choice("name", optimizers)}

    def flattened(values):
        schedule = values["optimizer"].get("schedule", {})
        return {"rate": values["rate"], **{**values["optimizer"], **schedule}}

    expected = minimized(space, lambda values: nested_loss(flattened(values)), 30, seed)
    assert searched(tmp_path, NESTED, nested_loss, 30, seed) == [flattened(values) for values in expected]


def test_values_that_other_points_have_are_given_back_exactly(tmp_path):
    parameters = {
        "share": tuning.Interval(0.9, 0.9999, "reverse_log"),
        "count": tuning.Interval(2, 50, "reverse_log", integer=True),
        "shared": tuning.Interval(0.0, 1.0, when=(tuning.Condition("kind", (1, 2)), tuning.Condition("depth", (2, 3)))),
        "kind": tuning.Choices((1, 2, 3)),
        "depth": tuning.Interval(1, 3, integer=True),
    }
    space = tuning.Space(parameters)
    points = searched(tmp_path, parameters, lambda values: abs(values["share"] - 0.99), 24, 1)
    assert all(values == space.active(values) for values in points)
    assert {"shared" in values for values in points} == {True, False}
    assert all(0.9 <= values["share"] <= 0.9999 and 2 <= values["count"] <= 50 for values in points)
    assert sum(abs(values["share"] - 0.99) for values in points[8:]) / 16 < 0.03


def test_a_value_and_its_coordinate_are_inverse():

    for interval in (
        tuning.Interval(0.9, 0.9999, "reverse_log"),
        tuning.Interval(2, 50, "reverse_log", integer=True),
        tuning.Interval(1e-4, 1.0, "log", step=10),
        tuning.Interval(3, 9, integer=True),
    ):
        for fraction in (0.01, 0.3, 0.5, 0.99):
            value = interval.at(fraction)
            assert tpe._value(interval, tpe._coordinate(interval, value)) == pytest.approx(value, rel=1e-12)
