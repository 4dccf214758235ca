import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score

from kerastrain.evaluation import Predictions
from kerastrain.evaluation.paired import Difference, differences, holm, mcnemar, right

LABELS = ("cat", "dog", "owl")


def classifier(truth, share_right, seed):
    random = np.random.default_rng(seed)
    outputs = random.normal(size=(len(truth), len(LABELS)))
    told = random.random(len(truth)) < share_right
    outputs[np.arange(len(truth)), truth] += 4 * told
    return Predictions(truth, outputs, LABELS, "single_label")


@pytest.fixture(scope="module")
def truth():
    return np.random.default_rng(0).choice(3, 400, p=[0.5, 0.4, 0.1])


def test_measures_of_classes_equal_those_of_scikit_learn(truth):
    runs = [classifier(truth, share, seed) for seed, share in enumerate((0.5, 0.8))]
    rows = {(row.name, row.label): row for row in differences(runs, rounds=10)[0]}
    for place, run in zip(("first", "second"), runs, strict=True):
        answer = run.outputs.argmax(axis=1)
        expected = {
            ("accuracy", None): accuracy_score(truth, answer),
            ("balanced_accuracy", None): balanced_accuracy_score(truth, answer),
            ("macro.f1", None): f1_score(truth, answer, average="macro"),
            ("loss", None): log_loss(truth, run.probabilities, labels=range(3)),
        }
        expected |= {("f1", label): f1 for label, f1 in zip(LABELS, f1_score(truth, answer, average=None), strict=True)}
        assert {name: getattr(row, place) for name, row in rows.items()} == pytest.approx(expected)


def test_the_interval_is_that_of_a_plain_paired_bootstrap(truth):
    runs = [classifier(truth, share, seed) for seed, share in enumerate((0.6, 0.7))]
    row = differences(runs, rounds=4000)[0][0]
    gains = right(runs[1]).astype(float) - right(runs[0])
    random = np.random.default_rng(5)
    resampled = [gains[random.choice(len(gains), len(gains))].mean() for _ in range(4000)]
    assert row.difference == pytest.approx(gains.mean())
    assert (row.low, row.high) == pytest.approx(np.percentile(resampled, (2.5, 97.5)), abs=0.006)
    # If the two were resampled apart, what makes an example hard would not cancel out.
    same = differences([runs[0], runs[0]], rounds=50)[0]
    assert all((row.low, row.high, row.verdict) == (0, 0, "not told apart") for row in same)


def test_few_examples_tell_nothing():
    truth = np.array([0, 1] * 9)
    apart = [classifier(truth, share, 1) for share in (0.0, 1.0)]
    assert differences(apart, rounds=50)[0][0].low > 0
    assert {row.verdict for row in differences(apart, rounds=50)[0]} == {"not told apart"}


def test_the_same_seed_gives_the_same_interval(truth):
    runs = [classifier(truth, share, seed) for seed, share in enumerate((0.6, 0.7))]
    assert differences(runs, rounds=50, seed=3) == differences(runs, rounds=50, seed=3)
    assert differences(runs, rounds=50, seed=3) != differences(runs, rounds=50, seed=4)


def test_a_class_without_examples_is_undefined_and_costs_no_interval():
    truth = np.array([0, 0, 1, 1] * 10)
    rows = differences([classifier(truth, 0.5, 1), classifier(truth, 1.0, 2)], rounds=50)[0]
    by_label = {row.label: row for row in rows if row.label}
    assert np.isnan(by_label["owl"].difference)
    assert by_label["owl"].verdict == "not told apart"
    assert by_label["cat"].verdict == "better"
    assert np.isfinite([value for row in rows if row.label != "owl" for value in (row.low, row.high)]).all()


def test_many_labels_are_measured_like_scikit_learn():
    random = np.random.default_rng(0)
    truth = (random.random((300, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    runs = [
        Predictions(truth, random.normal(size=truth.shape) + gain * (truth - 0.5), LABELS, "multi_label")
        for gain in (1, 4)
    ]
    rows = {(row.name, row.label): row for row in differences(runs, rounds=100)[0]}
    answer = runs[1].outputs >= 0
    assert rows["accuracy", None].second == pytest.approx((answer == (truth > 0)).mean())
    assert rows["exact", None].second == pytest.approx(accuracy_score(truth, answer))
    assert rows["macro.f1", None].second == pytest.approx(f1_score(truth, answer, average="macro"))
    assert rows["f1", "owl"].second == pytest.approx(f1_score(truth[:, 2], answer[:, 2]))
    loss = -np.log(np.where(truth > 0, runs[1].probabilities, 1 - runs[1].probabilities)).mean()
    assert rows["loss", None].second == pytest.approx(loss)
    assert rows["loss", None].verdict == rows["exact", None].verdict == "better"
    assert right(runs[1]).mean() == pytest.approx(rows["exact", None].second)


@pytest.mark.parametrize("width", [1, 2])
def test_numbers_are_measured_like_scikit_learn(width):
    random = np.random.default_rng(0)
    truth = 1e6 + random.normal(size=(200, width)).astype(np.float32) * [100, 5][:width]  # far from 0
    truth = truth.astype(np.float32)
    runs = [
        Predictions(truth, truth + scale * random.normal(size=truth.shape), ("height", "weight")[:width], "regression")
        for scale in (4, 1)
    ]
    rows = {(row.name, row.label): row for row in differences(runs, rounds=200)[0]}
    outputs = runs[1].outputs
    assert rows["r2", None].second == pytest.approx(r2_score(truth.astype(float), outputs), abs=1e-6)
    mae = mean_absolute_error(truth.astype(float), outputs, multioutput="raw_values")
    found = [rows["mae", None]] if width == 1 else [rows["mae", "height"], rows["mae", "weight"]]
    assert [row.second for row in found] == pytest.approx(mae)
    assert {row.verdict for row in rows.values()} == {"better"}
    assert ("rmse", None) in rows if width == 1 else ("rmse", None) not in rows
    assert right(runs[0]) is None


def test_lower_is_better_for_a_loss():
    assert Difference("loss", 1.0, 0.5, -0.6, -0.4).verdict == "better"
    assert Difference("accuracy", 1.0, 0.5, -0.6, -0.4).verdict == "worse"
    assert Difference("accuracy", 0.5, 0.5, -0.1, 0.1).verdict == "not told apart"


def test_mcnemar_is_the_binomial_test_of_what_only_one_has_right():
    first, second = np.zeros(50, bool), np.zeros(50, bool)
    first[:12], second[8:40] = True, True
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 28)
    assert found.p == pytest.approx(2 * stats.binom.cdf(8, 36, 0.5))
    assert mcnemar(first, first).p == 1.0


def test_holm_multiplies_the_smallest_most_and_never_falls():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
