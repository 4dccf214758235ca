import math

import numpy as np
import pytest
from scipy import stats

from kerastrain.errors import InputError
from kerastrain.evaluation import Predictions
from kerastrain.evaluation.cross_validation import headlines, over_folds, pooled, summary


def test_the_interval_over_folds_is_that_of_nadeau_and_bengio():
    values = [0.80, 0.84, 0.78, 0.83, 0.85]
    found = over_folds(values)
    variance = (1 / 5 + 1 / 4) * np.var(values, ddof=1)
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=math.sqrt(variance))
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["stddev"] == pytest.approx(np.std(values, ddof=1))
    assert found["interval"] == pytest.approx(expected)
    usual = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found["interval"][0] < usual[0] < usual[1] < found["interval"][1]
    assert over_folds([1.0, 1.0, 1.0]) == {"mean": 1.0, "stddev": 0.0, "interval": None, "values": [1.0] * 3}
    assert over_folds([0.5]) == {"mean": 0.5, "stddev": None, "interval": None, "values": [0.5]}


def test_an_interval_ends_at_the_limits_of_its_measure():
    folds = [
        {"task": "single_label", "accuracy": accuracy, "loss": loss} for accuracy, loss in ((1.0, 0.0), (0.9, 0.4))
    ]
    found = summary(folds)
    assert found["accuracy"]["interval"] == [0.0, 1.0]
    assert found["loss"]["interval"][0] == 0.0
    assert found["loss"]["interval"][1] > 1


def test_a_measure_that_a_fold_lacks_is_left_out():
    folds = [{"task": "single_label", "accuracy": 0.5, "macro": {"roc_auc": auc}} for auc in (0.5, None)]
    assert list(summary(folds)) == ["accuracy"]


def test_the_errors_of_several_numbers_are_named_after_them():
    rows = [{"label": label, "mae": 1.0, "rmse": 2.0} for label in ("height", "weight")]
    assert headlines({"task": "regression", "r2": 0.5, "outputs": rows}) == {
        "r2": 0.5,
        "height.mae": 1.0,
        "height.rmse": 2.0,
        "weight.mae": 1.0,
        "weight.rmse": 2.0,
    }
    assert headlines({"task": "regression", "r2": None, "outputs": rows[:1]}) == {"mae": 1.0, "rmse": 2.0}


def part(count, start=0, labels=("cat", "dog")):
    return Predictions(
        np.zeros(count, np.int64),
        np.full((count, 2), start),
        labels,
        "single_label",
        keys=tuple(f"{start + index}.png" for index in range(count)),
        digests=np.arange(start, start + count),
        slices={"site": np.array(["here"] * count, object)},
    )


def test_pooled_predictions_keep_what_all_folds_have():
    whole = pooled([part(2), part(1, start=5)])
    assert whole.keys == ("0.png", "1.png", "5.png")
    assert whole.digests.tolist() == [0, 1, 5]
    assert whole.outputs[:, 0].tolist() == [0, 0, 5]
    assert whole.slices["fold"].tolist() == ["0", "0", "1"]
    assert whole.slices["site"].tolist() == ["here"] * 3


def test_examples_without_names_are_named_after_their_fold():
    nameless = [Predictions(np.zeros(count), np.zeros((count, 2)), ("cat", "dog"), "single_label") for count in (2, 1)]
    assert pooled(nameless).keys == ("fold_0/1", "fold_0/2", "fold_1/1")


def test_folds_of_other_labels_are_refused():
    with pytest.raises(InputError, match="fold 0 with cat, dog and fold 1 with dog, cat"):
        pooled([part(1), part(1, labels=("dog", "cat"))])
