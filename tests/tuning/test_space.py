import json
import math
import random

import numpy as np
import pytest

from kerastrain.errors import InputError
from kerastrain.tuning.space import Choices, Condition, Interval, Space

SGD = (Condition("optimizer", ("sgd",)),)
TREE = {  # the child comes first: the space puts parents before children itself
    "nesterov": Choices((True, False), (Condition("momentum", (0.9,)),)),
    "momentum": Choices((0, 0.9), SGD),
    "optimizer": Choices(("adam", "sgd")),
    "units": Choices(([], [64])),
}


@pytest.mark.parametrize(
    ("interval", "values"),
    [
        (Interval(0, 1, step=0.1), (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        (Interval(0, 1, step=0.4), (0, 0.4, 0.8)),
        (Interval(16, 128, "log", integer=True, step=2), (16, 32, 64, 128)),
        (Interval(1e-4, 1e-1, "log", step=10), (1e-4, 1e-3, 1e-2, 1e-1)),
        (Interval(1, 9, "reverse_log", integer=True, step=3), (1, 7, 9)),
        (Interval(2, 5, integer=True), (2, 3, 4, 5)),
        (Interval(1, 2, "log", integer=True, step=1.1), (1, 2)),
    ],
)
def test_quantised_values_are_plain_numbers_that_include_the_limits(interval, values):
    assert tuple(interval.values) == values
    drawn = [interval.at(fraction) for fraction in np.arange(0.0, 1.0, 1e-3)]
    assert tuple(dict.fromkeys(drawn)) == values
    assert {type(value) for value in drawn} == {int if interval.integer else float}


def test_an_interval_follows_its_distribution():
    assert Interval(1e-4, 1.0, "log").at(0.5) == pytest.approx(1e-2)
    assert Interval(1e-4, 1.0, "reverse_log").at(0.5) == pytest.approx(1 + 1e-4 - 1e-2)
    assert Interval(-2.0, 2.0).at(0.25) == -1.0
    assert Interval(1, 1000, "log", integer=True).at(0.5) == int(math.sqrt(1001))
    draws = [Interval(1, 4, integer=True).at(fraction) for fraction in np.arange(0.0, 1.0, 1e-3)]
    assert [draws.count(number) for number in (1, 2, 3, 4)] == [250] * 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"min": 1, "max": 1}, "min must be less than max. Received: 1 and 1."),
        ({"min": 0, "max": 1, "sampling": "log"}, "min must be > 0 under log sampling. Received: 0."),
        ({"min": 1, "max": 2, "step": 0}, "step must be > 0 under linear sampling. Received: 0."),
        ({"min": 1, "max": 9, "step": 1, "sampling": "log"}, "step must be > 1 under log sampling. Received: 1."),
        ({"min": 0.5, "max": 9, "integer": True}, "min and max must be whole numbers with integer: true."),
        ({"min": 1, "max": math.inf}, "min and max must be finite. Received: 1 and inf."),
        ({"min": 1, "max": 9, "sampling": "logarithmic"}, "unknown sampling 'logarithmic'. Known: linear, log"),
        (
            {"min": 16, "max": 30, "step": 2, "sampling": "log"},
            "more than one value. Received: only 16 between 16 and 30",
        ),
        ({"min": 0, "max": 1, "step": 1e-9}, "at most 1,000,000 steps. Received: 1,000,000,000. Choose a larger step"),
    ],
)
def test_an_interval_that_cannot_be_searched_is_one_sentence(arguments, sentence):
    with pytest.raises(InputError) as error:
        Interval(**arguments)
    assert sentence in str(error.value)


def test_choices_must_differ_where_true_is_not_one():
    assert Choices((1, True, None, [], [1])).values == (1, True, None, [], [1])
    with pytest.raises(InputError, match=r"the choices must differ. Received: 0.0 twice"):
        Choices((0, 0.5, 0.0))
    with pytest.raises(InputError, match="must contain at least one value"):
        Choices(())


def test_a_grid_is_every_combination_of_the_active_keys():
    space = Space(TREE)
    points = list(space.points())
    assert space.order == ("optimizer", "momentum", "nesterov", "units")
    assert points[:2] == [{"optimizer": "adam", "units": []}, {"optimizer": "adam", "units": [64]}]
    assert points[2] == {"optimizer": "sgd", "momentum": 0, "units": []}
    assert points[4] == {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "units": []}
    assert len(points) == space.size() == (1 + 1 + 2) * 2
    assert Space({"rate": Interval(0, 1)}).size() is None
    with pytest.raises(InputError, match=r"a grid needs a step.*Received: rate, an interval without a step"):
        next(Space({"rate": Interval(0, 1)}).points())


def test_the_number_of_points_is_computed_where_they_are_too_many_to_list():
    thousand = {f"key{index}": Interval(1, 1000, integer=True) for index in range(5)}
    assert Space({**thousand, **TREE}).size() == 10**15 * 8


@pytest.mark.parametrize("rng", [random.Random(0), np.random.default_rng(0)])
def test_samples_have_the_active_keys_only_and_meet_the_constraints(rng):
    space = Space(
        {**TREE, "rate": Interval(1e-4, 1.0, "log"), "batch": Interval(8, 64, integer=True)},
        ("rate * batch * scale <= 1", "optimizer == 'adam' or rate < 0.01"),
        {"scale": 2, "momentum": 0},
    )
    points = [space.sample(rng) for _ in range(300)]
    for values in points:
        assert values["rate"] * values["batch"] * 2 <= 1
        assert ("momentum" in values) == (values["optimizer"] == "sgd")
        assert ("nesterov" in values) == (values.get("momentum") == 0.9)
        assert values == space.active({**values, "unknown": 1})
    assert {values["optimizer"] for values in points} == {"adam", "sgd"}


def test_a_rare_point_is_found_by_going_through_all():
    space = Space({key: Interval(1, 30, integer=True) for key in "abc"}, ("a == 7", "b == 8", "c == 9"))
    assert space.size() == 1
    assert space.sample(random.Random(0)) == {"a": 7, "b": 8, "c": 9}
    with pytest.raises(InputError, match="no point of the space meets 'a > 30'"):
        Space({"a": Interval(1, 30, integer=True)}, ("a > 30",)).sample(random.Random(0))


def test_an_inactive_key_has_its_default_in_a_constraint():
    space = Space(TREE, ("momentum >= 0.5",), {"momentum": 0.9})
    assert space.allows({"optimizer": "adam", "units": []})
    assert space.allows({"optimizer": "adam", "momentum": 0, "units": []}), "momentum counts as not given"
    assert not space.allows({"optimizer": "sgd", "momentum": 0, "units": []})


def test_a_constraint_does_not_apply_to_a_key_that_has_no_value():
    space = Space(TREE, ("momentum >= 0.5",))
    assert space.allows({"optimizer": "adam", "units": []})
    assert not space.allows({"optimizer": "sgd", "momentum": 0, "units": []})


@pytest.mark.parametrize(
    ("parameters", "constraints", "sentence"),
    [
        ({}, (), "the space must contain at least one key"),
        (
            {"a": Choices((1,), (Condition("b", (1,)),))},
            (),
            "a: when must name a searched key. unknown key 'b'. Known: a.",
        ),
        (
            {"a": Choices((1,), (Condition("b", (2,)),)), "b": Choices((1, 3))},
            (),
            "a: when has a value that b never has: 2. Known: 1, 3.",
        ),
        ({"a": Choices((1,), (Condition("b", (2,)),)), "b": Interval(0, 3)}, (), "Received: b, an interval."),
        (
            {"a": Choices((1,), (Condition("b", (1,)),)), "b": Choices((1,), (Condition("a", (1,)),))},
            (),
            "a: when must not go in a circle. Received: a -> b -> a.",
        ),
        ({"rate": Choices((1,))}, ("rat < 1",), "unknown key 'rat'. Known: rate. Did you mean 'rate'?"),
    ],
)
def test_a_space_that_has_no_meaning_is_one_sentence(parameters, constraints, sentence):
    with pytest.raises(InputError) as error:
        Space(parameters, constraints)
    assert sentence in str(error.value)


def test_a_space_is_recorded_as_json():
    space = Space({**TREE, "rate": Interval(1e-4, 1, "log", step=10)}, ("rate < scale",), {"scale": 2})
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space
