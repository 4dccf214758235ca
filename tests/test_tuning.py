import pytest

from kerastrain import tuning
from kerastrain.errors import InputError

SPACE = {"x": tuning.Interval(-2.0, 2.0), "n": tuning.Interval(1, 4, integer=True), "name": ["a", "b"]}


def hill(values, epochs):
    return -((values["x"] - 1) ** 2) - values["n"] + (values["name"] == "a")


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_search_tries_the_asked_number_and_ranks_by_score(tmp_path, algorithm):
    trials = tuning.search(hill, SPACE, directory=tmp_path, algorithm=algorithm, trials=8)
    assert len(trials) == 8
    assert [trial.score for trial in trials] == sorted((hill(trial.values, None) for trial in trials), reverse=True)
    assert all(isinstance(trial.values["n"], int) and 1 <= trial.values["n"] <= 4 for trial in trials)


def test_search_for_the_lowest_ranks_the_other_way_round(tmp_path):
    trials = tuning.search(hill, SPACE, directory=tmp_path, direction="min", trials=4)
    assert [trial.score for trial in trials] == sorted(hill(trial.values, None) for trial in trials)


def test_same_seed_same_trials(tmp_path):
    first, second = (tuning.search(hill, SPACE, directory=tmp_path / name, trials=3, seed=5) for name in "ab")
    assert [trial.values for trial in first] == [trial.values for trial in second]


def test_hyperband_grants_epochs_and_more_to_the_better(tmp_path):
    granted = []

    def score(values, epochs):
        granted.append(epochs)
        return hill(values, epochs) * (1 - 1 / (1 + epochs))

    trials = tuning.search(score, SPACE, directory=tmp_path, algorithm="hyperband", max_epochs=4)
    assert max(granted) == 4
    assert min(granted) < 4
    assert all(trial.epochs in granted for trial in trials)


def test_a_failed_trial_comes_last_with_its_reason(tmp_path):
    def sometimes(values, epochs):
        if values["name"] == "b":
            raise ValueError("b cannot be trained")
        return 1.0

    trials = tuning.search(sometimes, {"name": ["a", "b"]}, directory=tmp_path, trials=2)
    assert [trial.score for trial in trials] == [1.0, None]
    assert trials[1].fault == "ValueError: b cannot be trained"


def test_search_raises_when_no_trial_completed(tmp_path):
    def never(values, epochs):
        raise ValueError("out of luck")

    with pytest.raises(InputError, match=r"no trial of the search completed.*out of luck"):
        tuning.search(never, SPACE, directory=tmp_path)


def test_unknown_algorithm_and_empty_space_are_told(tmp_path):
    with pytest.raises(InputError, match="unknown search algorithm 'bayes'.*Did you mean 'bayesian'"):
        tuning.search(hill, SPACE, directory=tmp_path, algorithm="bayes")
    with pytest.raises(InputError, match="`space` must name at least one key"):
        tuning.search(hill, {}, directory=tmp_path)
