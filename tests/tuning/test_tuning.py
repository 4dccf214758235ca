import sys

import pytest

from kerastrain import tuning
from kerastrain.errors import InputError

SPACE = {"x": tuning.Interval(-2.0, 2.0), "n": tuning.Interval(1, 4, integer=True), "name": ["a", "b"]}


def hill(values, epochs):
    return -((values["x"] - 1) ** 2) - values["n"] + (values["name"] == "a")


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_search_tries_the_asked_number_and_ranks_by_score(tmp_path, algorithm):
    trials = tuning.search(hill, SPACE, directory=tmp_path, algorithm=algorithm, trials=5)
    assert len(trials) == 5
    assert [trial.score for trial in trials] == sorted((hill(trial.values, None) for trial in trials), reverse=True)
    assert all(isinstance(trial.values["n"], int) and 1 <= trial.values["n"] <= 4 for trial in trials)


def test_search_for_the_lowest_ranks_the_other_way_round(tmp_path):
    trials = tuning.search(hill, SPACE, directory=tmp_path, direction="min", trials=4)
    assert [trial.score for trial in trials] == sorted(hill(trial.values, None) for trial in trials)


def test_same_seed_same_trials(tmp_path):
    first, second = (tuning.search(hill, SPACE, directory=tmp_path / name, trials=3, seed=5) for name in "ab")
    assert [trial.values for trial in first] == [trial.values for trial in second]


def test_hyperband_grants_epochs_and_more_to_the_better(tmp_path):
    allotted = []

    def score(values, epochs):
        allotted.append(epochs)
        return hill(values, epochs) * (1 - 1 / (1 + epochs))

    trials = tuning.search(score, SPACE, directory=tmp_path, algorithm="hyperband", max_epochs=4)
    assert max(allotted) == 4
    assert min(allotted) < 4
    assert all(trial.epochs in allotted for trial in trials)


def test_a_failed_trial_comes_last_with_its_reason(tmp_path):
    def sometimes(values, epochs):
        if values["name"] == "b":
            raise ValueError("b cannot be trained")
        return 1.0

    trials = tuning.search(sometimes, {"name": ["a", "b"]}, directory=tmp_path, trials=2)
    assert [trial.score for trial in trials] == [1.0, None]
    assert trials[1].fault == "ValueError: b cannot be trained"


@pytest.mark.parametrize("algorithm", ["grid", "random"])
def test_search_refuses_a_space_whose_constraints_no_point_meets(tmp_path, algorithm):
    space = tuning.Space({"n": tuning.Choices((1, 2))}, constraints=("n > 2",))
    with pytest.raises(InputError, match="no point of the space meets"):
        tuning.search(hill, space, directory=tmp_path, algorithm=algorithm)


def test_search_raises_when_no_trial_completed(tmp_path):
    def never(values, epochs):
        raise ValueError("out of luck")

    with pytest.raises(InputError, match=r"no trial of the search completed.*out of luck"):
        tuning.search(never, SPACE, directory=tmp_path)


def test_unknown_algorithm_and_empty_space_are_told(tmp_path):
    with pytest.raises(InputError, match="unknown search algorithm 'bayes'.*Did you mean 'bayesian'"):
        tuning.search(hill, SPACE, directory=tmp_path, algorithm="bayes")
    with pytest.raises(InputError, match="`space` must contain at least one key"):
        tuning.search(hill, {}, directory=tmp_path)


def test_tpe_repeats_itself_and_goes_on_after_a_failure(tmp_path):
    pytest.importorskip("hyperopt")

    def sometimes(values, epochs):
        if values["x"] > 1:
            raise ValueError("too far")
        return hill(values, epochs)

    first, second = (
        tuning.search(sometimes, SPACE, directory=tmp_path / name, algorithm="tpe", trials=12, seed=2) for name in "ab"
    )
    assert [trial.values for trial in first] == [trial.values for trial in second]
    assert 0 < sum(trial.score is None for trial in first) < 12


def test_a_search_is_continued_in_its_directory_and_refuses_another(tmp_path):
    evaluated = []

    def interrupted(values, epochs):
        if len(evaluated) == 3:
            raise KeyboardInterrupt
        evaluated.append(values)
        return hill(values, epochs)

    def resumed(values, epochs):
        evaluated.append(values)
        return hill(values, epochs)

    with pytest.raises(KeyboardInterrupt):
        tuning.search(interrupted, SPACE, directory=tmp_path / "a", trials=6)
    trials = tuning.search(resumed, SPACE, directory=tmp_path / "a", trials=6)
    undisturbed = tuning.search(hill, SPACE, directory=tmp_path / "b", trials=6)
    assert trials == undisturbed
    assert len(evaluated) == 6
    assert tuning.search(resumed, SPACE, directory=tmp_path / "a", trials=6) == undisturbed
    assert len(evaluated) == 6
    with (tmp_path / "a" / "trials.csv").open() as file:
        assert len(file.readlines()) == 7
    with pytest.raises(InputError, match="must be those that the search in .* began with"):
        tuning.search(hill, SPACE, directory=tmp_path / "a", trials=7)


def test_halving_trains_few_points_to_the_end_and_ranks_them_first(tmp_path):
    allotted = []

    def score(values, epochs):
        allotted.append(epochs)
        return hill(values, epochs) * (1 - 1 / (1 + epochs))

    pruning = tuning.Pruning("halving", factor=3)
    trials = tuning.search(score, SPACE, directory=tmp_path, trials=9, max_epochs=9, pruning=pruning)
    assert sorted(allotted) == [1] * 9 + [3] * 3 + [9]
    assert [trial.epochs for trial in trials[:1]] == [9]
    assert all(trial.epochs < 9 for trial in trials[1:])
    with pytest.raises(InputError, match="`pruning` must be halving"):
        tuning.search(score, SPACE, directory=tmp_path, pruning=tuning.Pruning("median"))


def test_three_failures_in_a_row_end_the_search_with_a_sentence(tmp_path, caplog):
    def score(values, epochs):
        if len(caplog.records) or values["x"] < 0:
            raise ValueError("too small")
        return 1.0

    space = {"x": [1, 2, -1, -2, -3, -4, -5]}
    trials = tuning.search(score, space, directory=tmp_path, algorithm="grid", trials=None)
    assert [trial.score for trial in trials] == [1.0, 1.0, None, None, None]
    assert caplog.messages[-1] == (
        "the search ended early: 3 trials in a row failed; the last one with: ValueError: too small"
    )


def test_tpe_without_hyperopt_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(InputError, match=r"to search with tpe, kerastrain needs hyperopt.*kerastrain\[tpe\]"):
        tuning.search(hill, SPACE, directory=tmp_path, algorithm="tpe")
