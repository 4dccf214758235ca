import json
import time

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from kerastrain.evaluation import curves, intervals, multi_label, regression, resampling, single_label


def predicted(count, classes, seed=0, margin=1.5):
    random = np.random.default_rng(seed)
    targets = random.choice(classes, count, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    logits = (random.normal(size=(count, classes)) + margin * np.eye(classes)[targets]).round(1)  # with ties
    return targets, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def brier(targets, probabilities):
    return np.square(probabilities - np.eye(probabilities.shape[1])[targets]).sum(axis=1).mean()


def step_area(curve):
    return np.sum(np.diff(curve["recall"]) * curve["precision"][1:])


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_measures_of_classes_equal_scikit_learn(classes):
    targets, probabilities = predicted(400, classes)
    measured = single_label.measure(targets, probabilities, [f"class {index}" for index in range(classes)])
    answers, one_hot = probabilities.argmax(axis=1), np.eye(classes)[targets]
    for name, expected in {
        "loss": sk.log_loss(targets, probabilities),
        "accuracy": sk.accuracy_score(targets, answers),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, answers),
        "kappa": sk.cohen_kappa_score(targets, answers),
        "matthews": sk.matthews_corrcoef(targets, answers),
        "brier": brier(targets, probabilities) if classes > 2 else sk.brier_score_loss(targets, probabilities[:, 1]),
    }.items():
        assert measured[name] == pytest.approx(expected), name
    apart = probabilities - 1e-9 * np.arange(
        classes
    )  # Of equal probabilities the first counts as higher, as in argmax.
    for k in (3, 5):
        assert (f"top_{k}" in measured) == (classes > k)
        if classes > k:
            assert measured[f"top_{k}"] == pytest.approx(sk.top_k_accuracy_score(targets, apart, k=k))
    for average in ("macro", "weighted", "micro"):
        scores = sk.precision_recall_fscore_support(targets, answers, average=average)[:3]
        scores += (sk.average_precision_score(one_hot, probabilities, average=average),)
        scores += (sk.roc_auc_score(one_hot, probabilities, average=average),)
        for name, expected in zip(("precision", "recall", "f1", "average_precision", "roc_auc"), scores, strict=True):
            assert measured[average][name] == pytest.approx(expected), (average, name)
    confusions = sk.multilabel_confusion_matrix(targets, answers)
    expected = [matrix[0, 0] / matrix[0].sum() for matrix in confusions]
    assert [row["specificity"] for row in measured["classes"]] == pytest.approx(expected)
    assert measured["macro"]["specificity"] == pytest.approx(np.mean(expected))
    assert measured["micro"]["specificity"] == pytest.approx(confusions[:, 0, 0].sum() / confusions[:, 0].sum())
    json.dumps(measured, allow_nan=False)


def test_top_k_counts_the_first_of_equal_probabilities_as_higher():
    measured = single_label.measure([3, 2, 0], np.full((3, 4), 0.25), list("abcd"))
    assert (measured["accuracy"], measured["top_3"], "top_5" in measured) == (1 / 3, 2 / 3, False)


def test_a_classifier_of_one_class_agrees_no_better_than_chance():
    measured = single_label.measure([0, 0, 0, 1], [[0.9, 0.1]] * 4, ["a", "b"])
    assert (measured["kappa"], measured["matthews"], measured["balanced_accuracy"]) == (0.0, 0.0, 0.5)
    alone = single_label.measure([0, 0], [[0.9, 0.1]] * 2, ["a", "b"])
    assert (alone["kappa"], alone["matthews"]) == (None, None)
    assert (alone["curves"]["roc"]["macro"], alone["curves"]["precision_recall"]["micro"]["recall"][-1]) == (None, 1.0)


def test_curves_go_through_the_points_of_scikit_learn():
    targets, probabilities = predicted(60, 3)
    found = single_label.measure(targets, probabilities, list("abc"))["curves"]
    for index, (roc, curve) in enumerate(
        zip(*(found[kind]["classes"] for kind in ("roc", "precision_recall")), strict=True)
    ):
        positive, scores = targets == index, probabilities[:, index]
        fpr, tpr, thresholds = sk.roc_curve(positive, scores, drop_intermediate=False)
        assert (roc["label"], roc["threshold"][0]) == ("abc"[index], None)
        for name, expected in (("fpr", fpr), ("tpr", tpr)):
            assert roc[name] == pytest.approx(expected, rel=1e-5)
        assert roc["threshold"][1:] == pytest.approx(thresholds[1:], rel=1e-5)
        precision, recall, _ = sk.precision_recall_curve(positive, scores)
        full = np.flatnonzero(recall == 1)[-1]  # lower thresholds only cost precision
        assert curve["recall"] == pytest.approx(recall[full:][::-1], rel=1e-5)
        assert curve["precision"] == pytest.approx(precision[full:][::-1], rel=1e-5)


@pytest.mark.parametrize(("count", "classes", "limit"), [(20_000, 2, 200), (3_000, 40, 100)])
def test_thinned_curves_keep_their_area(count, classes, limit):
    random = np.random.default_rng(0)
    targets = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + np.eye(classes)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one_hot = np.eye(classes, dtype=bool)[targets]
    rankings = [curves.ranking(*columns) for columns in zip(one_hot.T, probabilities.T, strict=True)]
    micro = curves.ranking(one_hot.ravel(), probabilities.ravel())
    drawn = curves.Curves(classes)
    for index, one in enumerate(rankings):
        drawn.add(str(index), one)
    found = drawn.result(micro)
    scores = [(one.roc_auc, one.average_precision) for one in rankings]
    scores = [np.mean(scores, axis=0), (micro.roc_auc, micro.average_precision), *scores]
    drawn = [
        [found[kind]["macro"], found[kind]["micro"], *found[kind]["classes"]] for kind in ("roc", "precision_recall")
    ]
    for number, ((roc_auc, precision), roc, curve) in enumerate(zip(scores, *drawn, strict=True)):
        most = 200 if number < 2 else limit
        assert max(len(roc["fpr"]), len(curve["recall"])) <= most
        assert sk.auc(roc["fpr"], roc["tpr"]) == pytest.approx(roc_auc, abs=0.002)
        assert step_area(curve) == pytest.approx(precision, abs=0.004)
        for values in (roc["fpr"], roc["tpr"], curve["recall"]):
            assert sorted(values) == values
        assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)


def naive(measure, strata, rounds=200):
    """The percentiles of resamples drawn and measured one by one."""
    random, values = np.random.default_rng(1), []
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for _ in range(rounds):
        values.append(measure(np.concatenate([random.choice(rows, len(rows)) for rows in members])))
    return np.percentile(values, (2.5, 97.5))


@pytest.mark.slow
def test_intervals_of_classes_equal_those_of_resamples_drawn_one_by_one():
    targets, probabilities = predicted(150, 3)
    answers, one_hot = probabilities.argmax(axis=1), np.eye(3)[targets]
    measured = single_label.measure(targets, probabilities, list("abc"))
    found = measured["intervals"]
    for name, measure in {
        "accuracy": lambda rows: (answers == targets)[rows].mean(),
        "loss": lambda rows: sk.log_loss(targets[rows], probabilities[rows], labels=range(3)),
        "brier": lambda rows: brier(targets[rows], probabilities[rows]),
        "kappa": lambda rows: sk.cohen_kappa_score(targets[rows], answers[rows]),
        "matthews": lambda rows: sk.matthews_corrcoef(targets[rows], answers[rows]),
        "balanced_accuracy": lambda rows: sk.balanced_accuracy_score(targets[rows], answers[rows]),
        "weighted.precision": lambda rows: sk.precision_score(targets[rows], answers[rows], average="weighted"),
        "macro.f1": lambda rows: sk.f1_score(targets[rows], answers[rows], average="macro"),
        "macro.roc_auc": lambda rows: sk.roc_auc_score(one_hot[rows], probabilities[rows]),
        "macro.average_precision": lambda rows: sk.average_precision_score(one_hot[rows], probabilities[rows]),
    }.items():
        low, high = naive(measure, targets)
        assert found[name] == pytest.approx([low, high], abs=0.25 * (high - low)), name
    low, high = found["calibration.error"]
    assert 0 <= low < measured["calibration"]["error"] < high
    assert single_label.measure(targets, probabilities, list("abc"))["intervals"] == found
    assert all(low <= value <= high for name, (low, high) in found.items() if (value := measured.get(name)) is not None)


def test_resamples_keep_the_number_of_examples_of_each_class():
    targets = np.repeat([2, 0, 1], [5, 1, 30])
    drawn = np.concatenate(list(resampling.resamples(targets, 300)), axis=1)
    assert drawn.shape == (36, 300)
    for stratum, count in ((2, 5), (0, 1), (1, 30)):
        assert (drawn[targets == stratum].sum(axis=0) == count).all()
    assert drawn[targets == 1].mean(axis=1) == pytest.approx(np.ones(30), abs=0.25)
    assert drawn[targets == 1].var() == pytest.approx(29 / 30, abs=0.05)


def test_no_mistake_says_little_about_the_next_examples():
    measured = single_label.measure([0, 1, 1, 0], np.eye(2)[[0, 1, 1, 0]], ["a", "b"])
    assert measured["intervals"] == {"accuracy": list(intervals.wilson(4, 4))}


@pytest.mark.slow
def test_many_examples_of_many_classes_are_measured_in_seconds():
    targets, probabilities = predicted(4_000, 100)
    start = time.process_time()
    measured = single_label.measure(targets, probabilities, [str(index) for index in range(100)])
    assert time.process_time() - start < 10  # 1 s on an idle core
    assert {"accuracy", "macro.f1", "macro.roc_auc"} < set(measured["intervals"])


@pytest.mark.slow
def test_measures_and_intervals_of_many_labels_equal_scikit_learn():
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 3)).round(1)
    targets = (logits + random.normal(size=logits.shape) > [0.0, 0.5, 1.2]).astype(int)
    probabilities = 1 / (1 + np.exp(-logits))
    measured = multi_label.measure(targets, probabilities, "abc")
    answers = (probabilities >= 0.5).astype(int)
    assert measured["brier"] == pytest.approx(np.square(probabilities - targets).mean())
    assert [row["matthews"] for row in measured["classes"]] == pytest.approx(
        [sk.matthews_corrcoef(targets[:, index], answers[:, index]) for index in range(3)]
    )
    assert measured["micro"]["matthews"] == pytest.approx(sk.matthews_corrcoef(targets.ravel(), answers.ravel()))
    for average in ("macro", "weighted", "micro"):
        assert measured[average]["precision"] == pytest.approx(sk.precision_score(targets, answers, average=average))
        for name, score in (("roc_auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
            assert measured[average][name] == pytest.approx(score(targets, probabilities, average=average))
    strata = np.zeros(200)
    for name, measure in {
        "accuracy": lambda rows: (answers == targets)[rows].mean(),
        "exact": lambda rows: (answers == targets)[rows].all(axis=1).mean(),
        "macro.f1": lambda rows: sk.f1_score(targets[rows], answers[rows], average="macro"),
        "micro.matthews": lambda rows: sk.matthews_corrcoef(targets[rows].ravel(), answers[rows].ravel()),
        "macro.average_precision": lambda rows: sk.average_precision_score(targets[rows], probabilities[rows]),
    }.items():
        low, high = naive(measure, strata)
        assert measured["intervals"][name] == pytest.approx([low, high], abs=0.25 * (high - low)), name
    json.dumps(measured, allow_nan=False)


def test_measures_and_intervals_of_numbers_equal_scikit_learn_and_scipy():
    random = np.random.default_rng(0)
    targets = random.normal(40, 10, (120, 1)).round()  # with ties
    predictions = targets + random.normal(2, 8, (120, 1)).round()
    measured = regression.measure(targets, predictions, ["age"])
    truth, answers = targets[:, 0], predictions[:, 0]
    measures = {
        "mae": sk.mean_absolute_error,
        "rmse": lambda one, other: np.sqrt(sk.mean_squared_error(one, other)),
        "r2": sk.r2_score,
        "spearman": lambda one, other: stats.spearmanr(one, other).statistic,
    }
    for name, measure in measures.items():
        assert measured[name] == pytest.approx(measure(truth, answers)) == measured["outputs"][0][name]
        low, high = naive(lambda rows, measure=measure: measure(truth[rows], answers[rows]), np.zeros(120))
        assert measured["intervals"][name] == pytest.approx([low, high], abs=0.25 * (high - low)), name
        assert measured["outputs"][0]["intervals"][name] == measured["intervals"][name]
    constant = regression.measure(targets, np.ones((120, 1)), ["age"])
    assert (constant["spearman"], "spearman" in constant["intervals"]) == (None, False)


def test_areas_of_resamples_equal_scikit_learn():
    targets, probabilities = predicted(80, 2)
    ranked = curves.ranking(targets == 1, probabilities[:, 1])
    weights = next(resampling.resamples(np.zeros(80, int), 20))
    areas = resampling.RankedResamples(ranked, targets == 1).areas(weights)
    for column, precision, roc_auc, positives in zip(weights.T, *areas, strict=True):
        rows = np.repeat(np.arange(80), column.astype(int))
        assert positives == targets[rows].sum()
        assert roc_auc == pytest.approx(sk.roc_auc_score(targets[rows], probabilities[rows, 1]))
        assert precision == pytest.approx(sk.average_precision_score(targets[rows], probabilities[rows, 1]))


def test_every_kind_of_small_set_can_be_measured():
    for targets, answers in (
        ((0,), (0,)),
        ((0,), (1,)),
        ((1, 1), (2, 0)),
        ((0, 1, 2), (1, 2, 0)),
        ((0, 0, 2), (0, 1, 2)),
    ):
        measured = single_label.measure(targets, np.eye(3)[list(answers)], list("abc"))
        json.dumps(measured, allow_nan=False)
        assert measured["count"] == len(targets)
        multi_hot = np.eye(3)[list(targets)]
        json.dumps(multi_label.measure(multi_hot, np.eye(3)[list(answers)], list("abc")), allow_nan=False)
        json.dumps(regression.measure(multi_hot, np.eye(3)[list(answers)], list("abc")), allow_nan=False)
