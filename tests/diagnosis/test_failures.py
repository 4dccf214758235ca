"""Where a model fails, on predictions whose errors are known."""

import numpy as np
import pytest

from kerastrain.diagnosis.failures import class_failures, label_failures, largest_residuals


def test_errors_pairs_and_hard_examples_of_classes():
    probabilities = np.array(
        [[0.9, 0.1, 0], [0.05, 0.9, 0.05], [0.6, 0.3, 0.1], [0.5, 0.45, 0.05], [0.1, 0.1, 0.8], [0.4, 0.2, 0.4]]
    )
    targets = np.array([0, 0, 1, 1, 2, 2])
    found = class_failures(probabilities, targets, most=2)
    assert found.errors == 4
    assert [(one.index, one.true, one.predicted, one.probability) for one in found.confident] == [
        (1, 0, 1, 0.9),
        (2, 1, 0, 0.6),
    ]
    assert found.confident[0].loss == pytest.approx(-np.log(0.05))
    assert [(pair.true, pair.predicted, pair.count, pair.share, pair.index) for pair in found.pairs] == [
        (1, 0, 2, 1, 2),
        (0, 1, 1, 0.5, 1),
    ]
    assert [one.index for one in found.hardest] == [5, 3]


def test_a_perfect_model_has_hard_examples_but_no_errors():
    found = class_failures(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 1]))
    assert (found.errors, found.confident, found.pairs) == (0, (), ())
    assert [one.index for one in found.hardest] == [1, 0]


def test_the_worst_answers_about_labels():
    probabilities = np.array([[0.9, 0.2], [0.1, 0.6], [0.7, 0.4]])
    targets = np.array([[0, 0], [1, 1], [1, 0]], np.float32)
    found = label_failures(probabilities, targets)
    assert found.errors == 2
    assert [(one.index, one.true, round(one.probability, 6)) for one in found.confident] == [(0, 0, 0.9), (1, 0, 0.9)]
    assert [(pair.true, pair.predicted, pair.count, pair.share, pair.index) for pair in found.pairs] == [
        (0, 1, 1, 1, 0),
        (0, 0, 1, 0.5, 1),
    ]
    assert [one.index for one in found.hardest] == [2]


def test_residuals_are_compared_in_units_of_their_targets():
    targets = np.array([[0, 0], [2, 2000], [4, 4000]], np.float32)
    outputs = np.array([[0, 1000], [2, 2000], [7, 4000]], np.float32)
    spread = targets.std(axis=0)
    assert largest_residuals(outputs, targets, most=2) == [
        (2, pytest.approx(np.sqrt((3 / spread[0]) ** 2 / 2))),
        (0, pytest.approx(np.sqrt((1000 / spread[1]) ** 2 / 2))),
    ]
