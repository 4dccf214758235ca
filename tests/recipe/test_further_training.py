import numpy as np
import pytest
import untrained

from kerastrain import config, data, models
from kerastrain.recipe import building, further_training


def split(labels, *, task="single_label", seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (12, 8, 8, 3)).astype("uint8")
    if task == "single_label":
        targets = np.arange(12) % len(labels)
    elif task == "multi_label":
        targets = np.eye(len(labels), dtype="float32")[np.arange(12) % len(labels)]
    else:
        targets = rng.normal(size=(12, len(labels))).astype("float32")
    part = data.Examples(targets, tuple(labels), pixels, task)
    return data.Split(part, part)


def built(run, parts, *overrides):
    start = further_training.open_start(run.directory / "model.keras")
    return start, further_training.build(start, further_training.image_backbone(start), parts, {"dropout": 0.5})


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_rows_of_the_head_are_kept_by_the_names_of_the_labels(tmp_path, task):
    run = untrained.images(tmp_path / "run", task=task, labels=["dog", "cat", "cow"])
    start, model = built(run, split(["bird", "cat", "dog"], task=task), "model.dropout=0.5")
    kernel, bias = model.get_layer("logits").get_weights()
    old_kernel, old_bias = start.get_layer("logits").get_weights()
    np.testing.assert_array_equal(kernel[:, 1:], old_kernel[:, [1, 0]])
    np.testing.assert_array_equal(bias[1:], old_bias[[1, 0]])
    assert np.ptp(kernel[:, 0]) > 0  # fresh
    assert models.labels(model) == ("bird", "cat", "dog")
    assert models.task(model) == task
    assert model.get_layer("dropout").rate == 0.5
    assert not model.get_layer("backbone").trainable


def test_the_model_starts_with_the_predictions_of_the_run(tmp_path):
    run = untrained.images(tmp_path / "run", overrides=["model.dropout=0"])
    parts = split(["green", "red", "blue"])
    model = built(run, parts)[1]
    pixels = parts.train.inputs
    before, after = run.model.predict(pixels, verbose=0), model.predict(pixels, verbose=0)
    np.testing.assert_allclose(after, before[:, [1, 2, 0]], rtol=1e-6)


def test_a_regression_keeps_its_scale(tmp_path):
    run = untrained.images(tmp_path / "run", task="regression", labels=["price", "age"])
    parts = split(["age", "price"], task="regression")
    model = built(run, parts)[1]
    before, after = (one.predict(parts.train.inputs, verbose=0) for one in (run.model, model))
    np.testing.assert_allclose(after, before[:, ::-1], rtol=1e-6)


def test_texts_keep_their_vocabulary_and_train_in_two_phases(tmp_path):
    run = untrained.texts(tmp_path / "run")
    start = further_training.open_start(run.directory / "model.keras")
    assert further_training.image_backbone(start) is None
    texts = np.array(["a good film", "a new word"] * 4, object)
    part = data.Examples(np.arange(8) % 2, ("neg", "pos"), texts)
    model = further_training.build(start, None, data.Split(part, part), {"dropout": 0.5})
    strings = np.array(["a good film", "bad"], object)
    predict = lambda one: one.predict(untrained.strings(strings), verbose=0)
    np.testing.assert_allclose(predict(model), predict(run.model), rtol=1e-6)
    settings = config.load(overrides=["data.kind=text", "data.path=x", f"model.from_run={run.directory}"])
    assert not settings.from_scratch
    assert [layer.name for layer in building.build(settings, None, data.Split(part, part), start=start).layers][
        -1
    ] == "labels"
