"""The winner of a search, against formulas of the textbook and simulated searches without any difference."""

import json

import numpy as np
import pytest
from scipy import stats

from kerastrain.tuning import winner

ACCURACY = {"measure": "validation.accuracy", "direction": "max"}


def trial(point, *scores, status="completed", **measures):
    return {"point": point, "status": status, "scores": list(scores), "measures": measures}


def chosen(*trials, objective=ACCURACY):
    # Through JSON, as in the file.
    return winner.choose(json.loads(json.dumps({"objectives": [objective], "trials": trials})))


def test_one_training_of_each_point_says_nothing_about_chance():
    best = chosen(
        trial(1, 0.8), trial(2, 0.9), trial(3, 0.95, status="pruned"), trial(4, 0.99, status="paused"), trial(5)
    )
    assert (best.point, best.mean, best.noise, best.not_told_apart) == (2, 0.9, None, ())
    assert "each trial was trained once" in best.sentence
    assert "the only trial" in chosen(trial(1, 0.8), trial(2, None, status="failed")).sentence


def test_nothing_is_chosen_without_a_finished_point_or_for_several_objectives():
    assert chosen(trial(1, 0.5, status="running"), trial(2, None)) is None
    both = {"objectives": [ACCURACY, ACCURACY], "trials": [trial(1, 0.5)]}
    assert winner.choose(both) is None


def test_the_mean_decides_and_noise_is_the_pooled_deviation():
    scores = {1: (0.90, 0.94, 0.92), 2: (0.95, 0.89, 0.89), 3: (0.60, 0.62, 0.61)}
    best = chosen(*(trial(point, *values) for point, values in scores.items()))
    variances = [np.var(values, ddof=1) for values in scores.values()]
    assert best.point == 1
    assert best.mean == pytest.approx(0.92)
    assert best.noise == pytest.approx(np.sqrt(np.mean(variances)))
    assert (best.degrees_of_freedom, best.seeds, best.compared) == (6, 3, 3)
    assert best.not_told_apart == (2,)
    assert "validation.accuracy 0.92 ± " in best.sentence
    assert best.sentence.endswith("not told apart from trial 2")


def test_smaller_is_better_under_min():
    loss = {"measure": "validation.loss", "direction": "min"}
    assert chosen(trial(1, 0.3, 0.31), trial(2, 0.2, 0.21), objective=loss).point == 2


def test_two_points_are_compared_by_a_paired_t_test():
    generator = np.random.default_rng(3)
    apart, p_values = [], []
    for gap in np.linspace(0, 0.06, 40):
        common = generator.normal(size=4) * 0.05  # of the seeds, which cancels
        first, second = common + generator.normal(size=(2, 4)) * 0.01
        second = second - gap
        apart.append(not chosen(trial(1, *first), trial(2, *second)).not_told_apart)
        p_values.append(stats.ttest_rel(first, second).pvalue)
    assert apart == [p < 0.05 for p in p_values]
    assert 0 < sum(apart) < len(apart)


def test_points_without_a_difference_are_seldom_told_apart():
    generator = np.random.default_rng(0)
    rounds = 400
    wrong = sum(
        len(chosen(*(trial(point, *generator.normal(size=3)) for point in range(1, 5))).not_told_apart) < 3
        for _ in range(rounds)
    )
    assert wrong <= stats.binom.ppf(0.999, rounds, 0.05)


def test_points_with_more_seeds_do_not_win_over_a_better_first_training_that_has_none_yet():
    partly = [trial(1, 0.90), trial(2, 0.89, 0.89, 0.89), trial(3, 0.5)]
    best = chosen(*partly)
    assert (best.point, best.seeds, best.noise) == (1, 1, None)
    assert chosen(trial(1, 0.90, 0.80, 0.85), *partly[1:]).point == 2


def test_a_seed_that_failed_is_left_out_for_all():
    best = chosen(trial(1, 0.9, None, 0.8), trial(2, 0.89, 0.99, 0.79), trial(3, 0.88, 0.88))
    assert (best.point, best.mean, best.seeds, best.compared) == (1, pytest.approx(0.85), 2, 2)


def test_ties_go_to_fewer_parameters_then_to_the_lower_number():
    assert chosen(trial(4, 0.9), trial(2, 0.9)).point == 2
    assert chosen(trial(4, 0.9, **{"model.parameters": 100}), trial(2, 0.9, **{"model.parameters": 200})).point == 4
    best = chosen(trial(1, 0.9, 0.9), trial(2, 0.9, 0.9), trial(3, 0.8, 0.8))
    assert (best.point, best.noise, best.not_told_apart) == (1, 0.0, (2,))


def test_nan_is_no_score():
    records = {"objectives": [ACCURACY], "trials": [trial(1, float("nan")), trial(2, 0.1)]}
    assert winner.choose(records).point == 2


def test_pareto_points_are_those_that_none_beats():
    objectives = [ACCURACY, {"measure": "bytes", "direction": "min"}]
    generator = np.random.default_rng(1)
    values = np.round(generator.random((60, 2)), 1)  # with ties
    trials = [trial(number, **{"validation.accuracy": a, "bytes": b}) for number, (a, b) in enumerate(values, start=1)]
    trials += [
        trial(61, **{"validation.accuracy": 2.0}),
        trial(62, status="pruned", **{"validation.accuracy": 2, "bytes": 0}),
    ]
    expected = []
    for number, (accuracy, size) in enumerate(values, start=1):
        beats = (
            (values[:, 0] >= accuracy) & (values[:, 1] <= size) & ((values[:, 0] > accuracy) | (values[:, 1] < size))
        )
        if not beats.any():
            expected.append(number)
    assert winner.pareto(trials, objectives) == tuple(expected)
    assert 1 < len(expected) < 20
