import math
import sys

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


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # of hyperopt, called directly
def test_tpe_proposes_what_hyperopt_does_within_the_ends_of_each_key(tmp_path):
    hyperopt = pytest.importorskip("hyperopt")
    space = {
        "rate": tuning.Interval(1e-5, 1.0, "log"),
        "units": tuning.Interval(1, 64, "log", integer=True),
        "depth": tuning.Interval(1, 3, integer=True),
        "momentum": tuning.Interval(0.0, 1.0),
        "name": ["a", "b", "c"],
    }
    hyperopt_space = {
        "rate": hyperopt.hp.loguniform("rate", math.log(1e-5), math.log(1.0)),
        "units": hyperopt.hp.qloguniform("units", math.log(0.5), math.log(64.5), 1),
        "depth": hyperopt.hp.quniform("depth", 0.5, 3.5, 1),
        "momentum": hyperopt.hp.uniform("momentum", 0.0, 1.0),
        "name": hyperopt.hp.choice("name", space["name"]),
    }
    points = []

    def score(values, epochs):
        points.append(values)
        return values["momentum"] - abs(math.log10(values["rate"]) + 3) + (values["depth"] == 2)

    tuning.search(score, space, directory=tmp_path, algorithm="tpe", trials=30, seed=4)
    domain, proposals = hyperopt.base.Domain(lambda values: None, hyperopt_space), hyperopt.Trials()
    for number, values in enumerate(list(points)):
        (document,) = hyperopt.tpe.suggest([number], domain, proposals, 4 + number, n_startup_jobs=10)
        expected = hyperopt.space_eval(hyperopt_space, hyperopt.base.spec_from_misc(document["misc"]))
        expected["units"] = min(max(expected["units"], 1), 64)
        assert values == expected
        assert {type(values["units"]), type(values["depth"])} == {int}
        document["state"] = hyperopt.JOB_STATE_DONE
        document["result"] = {"status": hyperopt.STATUS_OK, "loss": -score(values, None)}
        proposals.insert_trial_docs([document])
        proposals.refresh()
    assert 1e-5 <= min(values["rate"] for values in points) <= max(values["rate"] for values in points) <= 1


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


def test_tpe_without_hyperopt_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(InputError, match=r"to search with tpe, kerastrain needs hyperopt.*kerastrain\[tpe\]"):
        tuning.search(hill, SPACE, directory=tmp_path, algorithm="tpe")
