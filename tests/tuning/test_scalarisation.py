import itertools

import numpy as np
import pytest
import search_workers

from kerastrain import tuning
from kerastrain.tuning import journal, scalarisation
from kerastrain.tuning.search_state import Point, Training

OBJECTIVES = (tuning.Objective("accuracy", "max"), tuning.Objective("bytes", "min"))


def points(*results):
    """Points with these (accuracy, bytes)."""
    made = []
    for number, (accuracy, size) in enumerate(results, start=1):
        training = Training(f"{number:03d}", number, 0, None, "a", "", status="completed")
        training.reports[1] = {"accuracy": accuracy, "bytes": size}
        made.append(Point(number, {}, None, [training]))
    return made


def test_one_objective_is_the_loss_itself():
    losses = scalarisation.losses(OBJECTIVES[:1], points((0.9, 5), (0.7, 1)), seed=0, number=3)
    assert losses == {1: -0.9, 2: -0.7}


def test_the_least_loss_is_always_in_the_pareto_set_and_reaches_all_of_it():
    front = [(0.9, 9e6), (0.85, 4e6), (0.7, 2e6), (0.5, 1e6)]
    made = points(*front, (0.8, 5e6), (0.4, 1.5e6), (0.6, 9e6))
    best = []
    for number in range(200):
        losses = scalarisation.losses(OBJECTIVES, made, seed=5, number=number)
        best.append(min(losses, key=losses.get))
        assert all(0 <= loss <= 1.05 for loss in losses.values())
    assert {*best} == {1, 2, 3, 4}
    assert scalarisation.losses(OBJECTIVES, made, seed=5, number=7) == scalarisation.losses(
        OBJECTIVES, made, seed=5, number=7
    )


def test_equal_values_of_an_objective_do_not_divide_by_zero_and_missing_ones_are_left_out():
    made = points((0.9, 5), (0.7, 5))
    made += [Point(3, {}, None, [Training("003", 3, 0, None, "a", "")])]
    losses = scalarisation.losses(OBJECTIVES, made, seed=0, number=2)
    assert losses.keys() == {1, 2}
    assert losses[1] == 0 < losses[2]


def hypervolume(results):
    """The area between the points and the corner (2, 2), which they minimize."""
    front = sorted({(x, y) for x, y in results if x < 2 and y < 2})
    area, upper = 0.0, 2.0
    for (x, y), following in itertools.zip_longest(front, front[1:]):
        upper = min(upper, y)
        area += ((following[0] if following else 2.0) - x) * (2.0 - upper)
    return area


@pytest.mark.slow
def test_tpe_finds_a_larger_pareto_set_than_random_search(tmp_path):
    pytest.importorskip("hyperopt")
    space = tuning.Space({name: tuning.Interval(-2.0, 2.0) for name in "xyz"})
    objectives = (tuning.Objective("first", "min"), tuning.Objective("second", "min"))

    def measure(values, epoch, seed):  # The Pareto set is the segment y = z = 0, 0 <= x <= 1.
        away = values["y"] ** 2 + values["z"] ** 2
        return {"first": values["x"] ** 2 + away, "second": (values["x"] - 1) ** 2 + away}

    areas = {"random": [], "tpe": []}
    for algorithm, seed in itertools.product(areas, range(3)):
        directory = tmp_path / f"{algorithm}{seed}"
        settings = search_workers.settings(algorithm, trials=45, seed=seed, objectives=objectives)
        search_workers.Workers(tuning.oracle(settings, space, directory), measure=measure).run()
        starts = [event["values"] for event in journal.read(directory) if event["event"] == "start"]
        areas[algorithm].append(hypervolume([tuple(measure(values, 9, 0).values()) for values in starts]))
    assert np.mean(areas["tpe"]) > np.mean(areas["random"])
