"""Confident learning against the paper's definitions, and what is said about doubted labels."""

import numpy as np
import pytest
from sklearn.datasets import make_blobs

from kerastrain.diagnosis.label_errors import label_errors, multi_label_errors, number_errors
from kerastrain.diagnosis.label_findings import label_findings
from kerastrain.diagnosis.out_of_fold import out_of_fold


def test_the_joint_and_the_suspects_are_those_of_the_paper():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([0.5] * 4, 500)
    targets = np.where(generator.random(500) < 0.7, probabilities.argmax(axis=1), generator.integers(0, 4, 500))
    found = label_errors(targets, probabilities)
    thresholds = [probabilities[targets == label, label].mean() for label in range(4)]
    joint, suspects = np.zeros((4, 4)), []
    for row, given in enumerate(targets):  # Northcutt et al. 2021, eq. 1 and 2, word by word
        confident = [label for label in range(4) if probabilities[row, label] >= thresholds[label]]
        if confident:
            label = max(confident, key=lambda label: probabilities[row, label])
            joint[given, label] += 1
            if label != given and label == probabilities[row].argmax():
                suspects.append(row)
    counts = np.bincount(targets)
    joint = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]  # eq. 3
    np.testing.assert_allclose(found.joint, joint / joint.sum())
    assert np.flatnonzero(found.suspected).tolist() == suspects
    assert found.error_fraction == pytest.approx(1 - np.trace(joint) / joint.sum())
    margins = probabilities[np.arange(500), targets] - [
        np.delete(row, t).max() for row, t in zip(probabilities, targets, strict=True)
    ]
    np.testing.assert_allclose(found.scores, (1 - margins) / 2)


def test_flipped_labels_are_found_and_clean_ones_are_not():
    features, clean = make_blobs(600, n_features=8, centers=5, cluster_std=2.0, random_state=0)
    flipped = np.random.default_rng(0).choice(600, 30, replace=False)
    targets = clean.copy()
    targets[flipped] = (clean[flipped] + 1) % 5
    names, parts = list("abcde"), ["train"] * 500 + ["test"] * 100
    predicted = out_of_fold(features, targets, 5, "single_label")
    found = label_findings(predicted, targets, names, "single_label", parts)
    suspects = {finding.index for finding in found.findings}
    assert suspects <= set(flipped)
    assert len(suspects) >= 25
    assert all(finding.proposed == clean[finding.index] for finding in found.findings)
    for finding in found.findings:
        assert (finding.action == "exclude") == (finding.index < 500 and finding.score >= 0.9)
    assert found.error_fraction == pytest.approx(0.05, abs=0.01)
    predicted = out_of_fold(features, clean, 5, "single_label")
    assert label_findings(predicted, clean, names, "single_label", parts).findings == []


def test_a_model_that_only_guesses_doubts_nothing():
    generator = np.random.default_rng(0)
    features, targets = generator.normal(size=(200, 4)), generator.integers(0, 2, 200)
    predicted = out_of_fold(features, targets, 2, "single_label")
    found = label_findings(predicted, targets, ["a", "b"], "single_label", ["train"] * 200)
    assert found.findings == []
    assert found.sentence.endswith(", too little to doubt a label")


def test_a_weak_model_only_asks_to_look_at_its_surest_doubts():
    features, targets = make_blobs(900, n_features=2, centers=3, cluster_std=3.5, random_state=3)
    predicted = out_of_fold(features, targets, 3, "single_label")
    assert 0.5 < (predicted.argmax(axis=1) == targets).mean() < 0.85
    found = label_findings(predicted, targets, list("abc"), "single_label", ["train"] * 900)
    assert found.findings
    assert {finding.action for finding in found.findings} == {"look"}
    assert min(finding.score for finding in found.findings) >= 0.9
    assert found.sentence.endswith("so that only its surest doubts count, and only for a look")


def test_a_missing_prediction_doubts_nothing():
    predicted = np.array([[0.99, 0.01], [0.98, 0.02], [0.99, 0.01], [0.01, 0.99], [0.02, 0.98], [0.99, 0.01]] * 10)
    targets = np.array([0, 0, 0, 1, 1, 1] * 10)
    everything = label_findings(predicted, targets, ["a", "b"], "single_label", ["train"] * 60)
    assert {finding.index % 6 for finding in everything.findings} == {5}
    predicted[5] = np.nan
    found = label_findings(predicted, targets, ["a", "b"], "single_label", ["train"] * 60)
    assert {finding.index for finding in found.findings} == set(range(11, 60, 6))
    assert np.isnan(found.scores[5])


def test_several_labels_and_numbers_are_judged_one_by_one():
    features, classes = make_blobs(400, n_features=6, centers=4, cluster_std=1.0, random_state=1)
    targets = np.stack([classes % 2, classes // 2], axis=1).astype(np.float32)
    targets[7, 1] = 1 - targets[7, 1]
    predicted = out_of_fold(features, targets, 2, "multi_label")
    assert np.argmax(multi_label_errors(targets, predicted).scores) == 7
    found = label_findings(predicted, targets, ["odd", "big"], "multi_label", ["train"] * 400)
    assert [finding.index for finding in found.findings] == [7]
    assert "the label 'big', which similar examples make" in found.findings[0].reason
    numbers = (features @ [1.0, 2, 3, 4, 5, 6])[:, None].astype(np.float32)
    numbers += np.random.default_rng(0).normal(size=numbers.shape)
    numbers = np.concatenate([numbers, np.random.default_rng(1).normal(size=numbers.shape)], axis=1)
    numbers[3, 0] += 2000  # so much that the mean square of all others is nothing beside it
    predicted = out_of_fold(features, numbers, 2, "regression")
    assert np.argmax(number_errors(numbers, predicted)) == 3
    found = label_findings(predicted, numbers, ["age", "noise"], "regression", ["train"] * 400)
    assert [(finding.index, finding.kind, finding.action) for finding in found.findings] == [
        (3, "unlikely_number", "look")
    ]
    assert found.findings[0].reason.startswith("'age' is ")
    assert "'noise' is" not in found.findings[0].reason


def test_examples_of_a_group_are_not_in_two_folds():
    # Each label is random, but every example has a copy: only a model that has seen the copy predicts it.
    generator = np.random.default_rng(0)
    features, targets = generator.normal(size=(60, 200)), generator.integers(0, 2, 60)
    features, targets, groups = np.tile(features, (2, 1)), np.tile(targets, 2), np.tile(np.arange(60), 2)
    right = lambda **options: (
        out_of_fold(features, targets, 2, "single_label", **options).argmax(axis=1) == targets
    ).mean()
    assert right() > 0.8
    assert right(groups=groups) < 0.65
