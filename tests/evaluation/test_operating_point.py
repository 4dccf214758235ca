"""Temperatures and thresholds, compared with formulas and with curves of scikit-learn."""

import json

import numpy as np
import pytest
from sklearn import metrics

from kerastrain.errors import InputError
from kerastrain.evaluation import operating_point, single_label, thresholds
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.evaluation.predictions import Predictions


def scored(count=500, seed=0):
    generator = np.random.default_rng(seed)
    scores = generator.random(count).round(2)  # with ties
    return (generator.random(count) < scores).astype(int), scores


def test_the_temperature_makes_the_confidence_the_share_of_right_answers():
    # With the same margin everywhere, sigmoid(margin / T) = 3 / 4, so that T = margin / log(3).
    outputs, targets = np.array([[0.0, 5.0]] * 40), np.array([1, 1, 1, 0] * 10)
    assert thresholds.fit_temperature(outputs, targets) == pytest.approx(5 / np.log(3), rel=1e-5)
    columns, hits = np.full((40, 2), 5.0), np.stack([targets, targets], axis=1)
    assert thresholds.fit_temperature(columns, hits, "multi_label") == pytest.approx(5 / np.log(3), rel=1e-5)


def test_the_temperature_finds_the_scale_of_outputs_that_are_too_certain():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([generator.choice(4, p=row) for row in probabilities])
    temperature = thresholds.fit_temperature(3 * logits, targets)
    assert temperature == pytest.approx(3, rel=0.1)
    loss = lambda value: metrics.log_loss(targets, OperatingPoint(value).probabilities(3 * logits, "single_label"))
    assert loss(temperature) == pytest.approx(
        thresholds.log_loss(3 * logits, targets, "single_label", temperature=temperature)
    )
    assert loss(temperature) < min(loss(0.99 * temperature), loss(1.01 * temperature))


def test_outputs_without_an_error_or_without_a_meaning_have_no_temperature():
    outputs = np.array([[4.0, 0.0], [0.0, 2.0]])
    with pytest.raises(InputError, match="these 2 examples are separated without error"):
        thresholds.fit_temperature(outputs, [0, 1])
    with pytest.raises(InputError, match=r"no temperature between 0\.05 and 20 .* far too certain"):
        thresholds.fit_temperature(np.array([[1.0, 0.0], [1.0, 0.0]]), [0, 1])


def test_thresholds_equal_the_best_of_the_curves_of_scikit_learn():
    targets, scores = scored()
    precision, recall, _ = metrics.precision_recall_curve(targets, scores)
    best = thresholds.choose_threshold(targets, scores, "f1")
    f1 = metrics.f1_score(targets, scores >= best.value)
    assert f1 == pytest.approx(np.max(2 * precision * recall / (precision + recall + 1e-12)))
    best = thresholds.choose_threshold(targets, scores, "precision>=0.8")
    assert best.recall == pytest.approx(recall[precision >= 0.8].max())
    assert metrics.precision_score(targets, scores >= best.value) == pytest.approx(best.precision)
    assert best.count == (scores >= best.value).sum()
    best = thresholds.choose_threshold(targets, scores, "recall>=0.9")
    assert best.precision == pytest.approx(precision[recall >= 0.9].max())
    false, true, _ = metrics.roc_curve(targets, scores, drop_intermediate=False)
    best = thresholds.choose_threshold(targets, scores, "equal_error")
    matrix = metrics.confusion_matrix(targets, scores >= best.value)
    assert abs(matrix[0, 1] / matrix[0].sum() - matrix[1, 0] / matrix[1].sum()) == pytest.approx(
        np.abs(false - 1 + true).min()
    )
    assert best.value not in scores


def test_a_precision_that_no_threshold_has_is_not_reached():
    best = thresholds.choose_threshold([1, 0, 1, 0], [0.2, 0.9, 0.8, 0.1], "precision>=0.9")
    assert (best.is_reached, best.precision, best.recall) == (False, pytest.approx(2 / 3), 1.0)
    with pytest.raises(InputError, match="examples with and without the label. Received: 2 of 2 with it"):
        thresholds.choose_threshold([1, 1], [0.2, 0.9], "f1")
    with pytest.raises(InputError, match=r"Use precision>=0\.9, or `choose_rejection`"):
        thresholds.choose_threshold([1, 0], [0.2, 0.9], "accuracy>=0.9")


def test_uncertain_predictions_are_rejected_until_the_others_are_accurate_enough():
    probabilities = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.4, 0.3, 0.3], [0.5, 0.25, 0.25]])
    best = thresholds.choose_rejection([0, 1, 1, 0], probabilities, 0.9)
    assert (best.value, best.precision, best.recall) == (pytest.approx(0.45), 1.0, 0.75)
    decided = OperatingPoint(reject_below=best.value).decide(probabilities, "abc", "single_label")
    assert decided.astype(int).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert thresholds.choose_rejection([1, 0, 1, 0], probabilities, 0.9).is_reached is False


def two_classes():
    outputs = np.stack([np.zeros(8), [-3.0, -2, -1, -0.5, 0.5, 1, 2, 3]], axis=1)
    return Predictions(np.array([0, 0, 1, 0, 1, 0, 1, 1]), outputs, ("ham", "spam"), "single_label")


def test_a_threshold_between_two_classes_is_that_of_the_positive_one():
    predictions = two_classes()
    point, notes = operating_point.choose(predictions, "recall>=1")
    assert (list(point.thresholds), notes) == (["spam"], [])
    assert point.thresholds["spam"] == pytest.approx((1 / (1 + np.e) + 1 / (1 + np.e**2)) / 2)
    measures = operating_point.measure(predictions, point)
    expected = {
        "threshold": point.thresholds["spam"],
        "precision": 4 / 6,
        "recall": 1.0,
        "f1": 0.8,
        "false_positive_rate": 0.5,
    }
    assert measures["labels"] == {"spam": pytest.approx(expected)}
    assert (measures["count"], measures["accuracy"], measures["accepted"]) == (8, 0.75, 1.0)
    without = operating_point.measure(predictions, OperatingPoint(), labels=["spam"])
    assert without["accuracy"] == metrics.accuracy_score(predictions.targets, predictions.outputs.argmax(axis=1))
    assert without["labels"]["spam"]["recall"] == 0.75
    whole = single_label.measure(predictions.targets, predictions.probabilities, predictions.labels)
    assert (without["loss"], without["calibration_error"]) == pytest.approx(
        (whole["loss"], whole["calibration"]["error"])
    )
    point, _ = operating_point.choose(predictions, "recall>=1", positive="ham")
    assert list(point.thresholds) == ["ham"]
    assert point.decide(np.array([[0.2, 0.8]]), ["ham", "spam"], "single_label").tolist() == [
        [point.thresholds["ham"] <= 0.2, point.thresholds["ham"] > 0.2]
    ]


def test_each_of_many_labels_has_a_threshold_and_one_that_nobody_has_keeps_a_half():
    targets = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]], np.float32)
    outputs = np.array([[2, 0, 1], [-1, 0, 3], [1, 0, 2], [0, 0, 0]], np.float32)
    predictions = Predictions(targets, outputs, ("a", "b", "c"), "multi_label")
    point, notes = operating_point.choose(predictions, "precision>=0.99", temperature=False)
    assert list(point.thresholds) == ["a", "c"]
    assert notes[1] == "'b' keeps the threshold 0.5, because none of the 4 examples have it."
    assert notes[0] == "precision>=0.99 rests on only 2 predictions of 'a', so that it may not hold for others."
    decided = point.decide(point.probabilities(outputs, "multi_label"), ["a", "b", "c"], "multi_label")
    assert decided.astype(int).tolist() == [[1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("labels", "task", "options", "message"),
    [
        ("abc", "single_label", {"objective": "f1"}, "f1 chooses a threshold between two classes.*one of 3 classes"),
        (
            "abc",
            "multi_label",
            {"objective": "accuracy>=0.9"},
            r"multi_label, where every label.*Use f1, precision>=0\.9",
        ),
        ("abc", "regression", {"temperature": True}, "is for classes. Received: a regression model"),
        ("ab", "single_label", {"objective": "f1", "positive": "c"}, "unknown label 'c'. Known: a, b"),
        (
            "abc",
            "single_label",
            {"positive": "c"},
            "a threshold between two classes. Received: 'c', 3 labels and the objective null",
        ),
    ],
)
def test_what_does_not_fit_the_labels_is_refused(labels, task, options, message):
    shape = (2,) if task == "single_label" else (2, len(labels))
    predictions = Predictions(np.zeros(shape), np.zeros((2, len(labels))), tuple(labels), task)
    with pytest.raises(InputError, match=message):
        operating_point.choose(predictions, **options)


def test_a_damaged_file_and_one_of_another_model_are_refused(tmp_path):
    path = tmp_path / operating_point.FILE
    assert operating_point.read(path, ["a", "b"]) is None
    path.write_text(json.dumps({"temperature": 1.5, "thresholds": {"b": 0.3}, "reject_below": None}))
    point = operating_point.read(path, ["a", "b"])
    assert point == OperatingPoint(1.5, {"b": 0.3})
    assert str(point) == "temperature 1.5, threshold 0.3 for 'b'"
    for content, message in (
        ("{", "is not an operating point"),
        ('{"temperature": 0, "thresholds": {}}', "the temperature above 0"),
        ('{"temperature": 1, "thresholds": {"b": 3}}', r"thresholds must be in \[0, 1\]"),
        ('{"temperature": 1, "thresholds": {"c": 0.3}}', "unknown label 'c'"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            operating_point.read(path, ["a", "b"])
