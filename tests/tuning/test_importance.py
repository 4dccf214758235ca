import math

import numpy as np
import pytest

from kerastrain.tuning import importance

SPACE = {
    "rate": {"min": 1e-4, "max": 1e-1, "sampling": "log"},
    "units": [[], [64], [128, 64]],
    "batch": {"min": 16, "max": 128},
    "augment": [None, "flip"],
    "decay": {"min": 0.9, "max": 0.999, "sampling": "reverse_log"},
    "dropout": [0, 0.2, 0.5],
}
MATTER, NOTHING = ("rate", "units", "batch"), ("augment", "decay", "dropout")


def record(trials, direction="max", epoch="best", space=SPACE):
    return {"objectives": [{"measure": "a", "direction": direction, "epoch": epoch}], "space": space, "trials": trials}


def trial(values, score, status="completed", curve=(), **measures):
    return {"values": values, "score": score, "status": status, "curve": curve, "measures": measures}


def searched(count, seed, noise=0.05):
    """Trials whose score has variances of 1, 1/4 and 1/16 from three keys, and noise."""
    random = np.random.default_rng(seed)
    trials = []
    for _ in range(count):
        rate, batch, decay = random.random(3)
        units, augment, dropout = random.integers(3), random.integers(2), random.integers(3)
        values = {
            "rate": 1e-4 * 1000**rate,
            "units": SPACE["units"][units],
            "batch": 16 + 112 * batch,
            "augment": SPACE["augment"][augment],
            "decay": 0.9 + 0.099 * decay,
            "dropout": SPACE["dropout"][dropout],
        }
        # The variance of a uniform number is 1/12, that of one of -1, 0 and 1 is 2/3.
        score = (
            rate * math.sqrt(12) + (units - 1) * math.sqrt(3 / 8) + batch * math.sqrt(12 / 16) + noise * random.normal()
        )
        trials.append(trial(values, score))
    return trials


def test_importances_are_the_shares_of_the_variance():
    measured = importance.measure(record(searched(300, 0)))
    assert [key.key for key in measured.keys[:3]] == list(MATTER)
    values = {key.key: key.value for key in measured.keys}
    total = 1 + 1 / 4 + 1 / 16 + 0.05**2
    np.testing.assert_allclose([values[key] for key in MATTER], [1 / total, 1 / 4 / total, 1 / 16 / total], atol=0.03)
    assert all(abs(values[key]) < 0.005 for key in NOTHING)
    assert measured.explained > 0.9
    assert (measured.trials, measured.epochs, measured.reason) == (300, None, None)


def test_keys_without_influence_are_undecided_in_nine_searches_of_ten():
    found = [importance.measure(record(searched(35, seed))) for seed in range(7)]
    undecided = {key: [each.is_undecided for one in found for each in one.keys if each.key == key] for key in SPACE}
    assert sum(sum(undecided[key]) for key in NOTHING) >= 0.9 * 7 * len(NOTHING)
    assert not any(undecided["rate"])
    assert sum(undecided["units"]) <= 2


def test_a_condition_gives_its_key_the_influence_of_being_set():
    random, trials = np.random.default_rng(0), []
    space = {"name": ["adam", "sgd"], "momentum": {"min": 0.0, "max": 1.0}}
    for number in range(60):
        values = {"name": "sgd", "momentum": random.random()} if number % 2 else {"name": "adam"}
        trials.append(trial(values, (number % 2) + 0.1 * random.normal()))
    keys = {key.key: key for key in importance.measure(record(trials, space=space)).keys}
    assert keys["name"].low > 0.5
    assert keys["momentum"].is_undecided
    for each in trials:
        each["score"] = 3 * each["values"].get("momentum", 0.5) + 0.1 * random.normal()
    keys = {key.key: key for key in importance.measure(record(trials, space=space)).keys}
    # Exchanging the momentum of sgd changes the score by all of its variance, exchanging the name by half of it.
    assert not keys["momentum"].is_undecided
    assert not keys["name"].is_undecided
    assert 1.5 < keys["momentum"].value / keys["name"].value < 2.5


def test_one_diverged_trial_does_not_decide():
    trials = searched(60, 0)
    expected = [key.key for key in importance.measure(record(trials)).keys[:2]]
    trials[0]["score"] = -1e12
    trials[1]["score"] = float("nan")
    measured = importance.measure(record(trials))
    assert [key.key for key in measured.keys[:2]] == expected
    assert measured.trials == 59


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        ([], "only 0 trials can be compared"),
        (searched(9, 0), "only 9 trials can be compared, and importances need 10"),
        ([*searched(9, 0), trial({}, None, "failed"), trial({}, 0.1, "running")], "only 9 trials can be compared"),
        (
            [{**each, "score": 0.5} for each in searched(30, 0)],
            "the 30 trials that can be compared have the same score",
        ),
        (
            [
                {**each, "score": float(score)}
                for each, score in zip(searched(30, 0), np.random.default_rng(2).normal(size=30), strict=True)
            ],
            "from the values of 30 trials nothing can be said about the score of another",
        ),
    ],
)
def test_what_cannot_be_known_is_said(trials, reason):
    measured = importance.measure(record(trials))
    assert measured.keys == ()
    assert measured.reason.startswith(reason)


def test_pruned_trials_are_compared_at_an_epoch_that_nearly_all_reached():
    completed = [trial({"n": n}, n / 10, curve=[[1, n / 100], [2, n / 50], [3, n / 10]]) for n in range(8)]
    pruned = [
        trial({"n": 8}, 0.01, "pruned", [[1, 0.01]]),
        trial({"n": 9}, 0.3, "pruned", [[1, 0.3], [2, 0.2]]),
        trial({"n": 10}, None, "failed", [[1, 0.3]]),
    ]
    points, scores, epoch = importance.comparable(record(completed + pruned))
    assert epoch == 2
    assert [point["n"] for point in points] == [*range(8), 9]
    np.testing.assert_allclose(scores, [n / 50 for n in range(8)] + [0.3])
    assert importance.comparable(record(completed + pruned, epoch="last"))[1][-1] == 0.2
    # One of nine is few enough to be left out: then the final scores count.
    points, scores, epoch = importance.comparable(record([*completed, completed[0], completed[0], pruned[0]]))
    assert epoch is None
    assert scores == [n / 10 for n in range(8)] + [0, 0]


def test_a_further_objective_is_read_from_the_measures():
    trials = [trial({"n": n}, 0.5, size=float(n)) for n in range(3)] + [trial({"n": 4}, 0.5)]
    goals = record(trials)
    goals["objectives"].append({"measure": "size", "direction": "min"})
    assert importance.comparable(goals, 1) == ([{"n": 0}, {"n": 1}, {"n": 2}], [0, 1, 2], None)
