"""Linear probes of features, and rankings of backbones by them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from kerastrain import data, finders
from kerastrain.errors import InputError

RANDOM = np.random.default_rng(0)


def examples(targets, features, labels, task="single_label", **options):
    return data.Examples(targets, labels, features.astype("float32"), task, **options)


def classes(count, noise, seed=0):
    random = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    features = np.eye(3)[targets] * [1, 10, 100] + random.normal(0, noise, (count, 3)) * [1, 10, 100]
    return examples(targets, features, ("a", "b", "c"))


def probe(handle, outputs, seconds=0.01):
    return finders.BackboneProbe(handle, outputs, seconds, 10, (8, 8))


def test_a_probe_is_a_logistic_regression_of_standardized_features():
    train, held_out = classes(90, 0.3), classes(30, 0.3, seed=1)
    outputs = finders.linear_probe(train, held_out)
    mean, stddev = train.inputs.mean(axis=0), train.inputs.std(axis=0)
    fits = [
        LogisticRegression(C=strength, tol=1e-3, max_iter=200).fit((train.inputs - mean) / stddev, train.targets)
        for strength in 10.0 ** np.arange(-4, 1)
    ]
    expected = [fit.decision_function((held_out.inputs - mean) / stddev) for fit in fits]
    assert min(np.abs(outputs - other).max() for other in expected) < 1e-6
    assert (outputs.argmax(axis=1) == held_out.targets).mean() > 0.85


def test_a_class_without_training_examples_is_never_predicted():
    train = examples(np.array([0, 2] * 6), RANDOM.normal(size=(12, 2)), ("a", "b", "c"))
    outputs = finders.linear_probe(train, train)
    assert np.isneginf(outputs[:, 1]).all()
    assert np.isfinite(outputs[:, [0, 2]]).all()


def test_numbers_are_probed_by_ridge_regression_and_labels_one_by_one():
    features = RANDOM.normal(size=(60, 3))
    train = examples((features @ [[1.0], [2.0], [0.0]]).astype("float32"), features, ("y",), "regression")
    outputs = finders.linear_probe(train, train)
    standard = (train.inputs - train.inputs.mean(axis=0)) / train.inputs.std(axis=0)
    expected = Ridge(alpha=0.01).fit(standard, train.targets).predict(standard)
    np.testing.assert_allclose(outputs, expected.reshape(-1, 1), atol=1e-3)
    many = np.stack([features[:, 0] > 0, features[:, 1] > 0, np.ones(60)], axis=1).astype("float32")
    train = examples(many, features, ("a", "b", "always"), "multi_label")
    outputs = finders.linear_probe(train, train)
    assert ((outputs > 0) == many).mean() > 0.9
    assert np.isposinf(outputs[:, 2]).all()


def test_what_no_probe_can_use_is_refused():
    train = classes(9, 0.1)
    with pytest.raises(InputError, match="its features are not finite"):
        finders.linear_probe(train.subset(range(9), inputs=np.full((9, 3), np.nan, "float32")), train)
    with pytest.raises(InputError, match="a probe needs training examples of at least two classes"):
        finders.linear_probe(train.subset([0, 3, 6]), train)


def test_backbones_are_ranked_with_intervals_and_the_fastest_of_equals_is_recommended():
    held_out = classes(60, 0.1)
    right = np.eye(3)[held_out.targets]
    nearly = right.copy()
    nearly[0] = [0, 1, 0]
    wrong = np.roll(right, 1, axis=1)
    failed = finders.BackboneProbe("none", reason="no such file")
    probes = [probe("wrong", wrong, 0.001), probe("nearly", nearly, 0.01), failed, probe("right", right, 0.02)]
    ranking = finders.rank_backbones(probes, held_out, held_out)
    assert [item.probe.handle for item in ranking.ranked] == ["right", "nearly", "wrong"]
    assert [round(item.value, 4) for item in ranking.ranked] == [1.0, round(59 / 60, 4), 0.0]
    assert ranking.ranked[0].behind_best == (0.0, 0.0)
    assert (ranking.ranked[2].behind_best, ranking.ranked[2].within_noise) == ((1.0, 1.0), False)
    assert ranking.recommended.probe.handle == "nearly"
    assert (ranking.measure, ranking.counts, ranking.unusable) == ("accuracy", (60, 60), (failed,))
    assert ranking.baseline == pytest.approx(1 / 3)
    assert finders.rank_backbones([failed], held_out, held_out).recommended is None
