"""Weights of labels in the loss of models of many labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerastrain as kt
from kerastrain import models
from kerastrain.errors import InputError
from kerastrain.losses import BinaryCrossentropy
from kerastrain.recipe import building, plan
from kerastrain.train_step import keras_trainer

TARGETS = np.random.default_rng(0).integers(0, 2, (8, 3)).astype("float32")
LOGITS = np.random.default_rng(1).normal(scale=4, size=(8, 3)).astype("float32")
WEIGHTS = [2.0, 0.5, 9.0]


def classifier(seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    outputs = models.Labels(["a", "b", "c"], "multi_label", name="labels")(keras.layers.Dense(3)(inputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_weighted_cross_entropy_of_tensorflow(smoothing):
    loss = models.loss(classifier(), label_smoothing=smoothing, positive_weights=WEIGHTS)
    smoothed = TARGETS * (1 - smoothing) + smoothing / 2
    expected = tf.nn.weighted_cross_entropy_with_logits(smoothed, LOGITS, tf.constant(WEIGHTS))
    np.testing.assert_allclose(loss(TARGETS, LOGITS), np.mean(expected), rtol=1e-6)
    ones = models.loss(classifier(), label_smoothing=smoothing, positive_weights=[1, 1, 1])
    plain = models.loss(classifier(), label_smoothing=smoothing)
    np.testing.assert_allclose(ones(TARGETS, LOGITS), plain(TARGETS, LOGITS), rtol=1e-6)


def test_the_weights_are_stored_with_the_compiled_model(tmp_path):
    model = classifier()
    model.compile("sgd", models.loss(model, positive_weights=WEIGHTS))
    model.save(tmp_path / "model.keras")
    assert models.load(tmp_path / "model.keras").loss.positive_weights == tuple(WEIGHTS)
    plain = models.loss(model)
    assert "positive_weights" not in plain.get_config()
    assert BinaryCrossentropy.from_config(plain.get_config()).positive_weights is None


def test_label_weights_are_refused_where_they_mean_nothing():
    with pytest.raises(InputError, match="`positive_weights` require logits. Received: from_logits=False"):
        BinaryCrossentropy(WEIGHTS)
    inputs = keras.Input((3,))
    single = keras.Model(inputs, models.Labels(["a", "b", "c"], name="labels")(keras.layers.Dense(3)(inputs)))
    with pytest.raises(
        InputError, match="`positive_weights` are for multi-label models. Received: a model for 'single"
    ):
        models.loss(single, positive_weights=WEIGHTS)


def test_two_devices_train_as_one():
    keras_trainer.patch()
    try:
        two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
        dataset = tf.data.Dataset.from_tensor_slices((LOGITS[:7], TARGETS[:7])).batch(5)
        trained = []
        for strategy in (tf.distribute.get_strategy(), two):
            with strategy.scope():
                model = classifier()
                model.compile(keras.optimizers.SGD(0.1), models.loss(model, positive_weights=WEIGHTS))
            model.fit(dataset, epochs=2, shuffle=False, verbose=0)
            trained.append(model.get_weights())
    finally:
        keras_trainer.unpatch()
    for on_one, on_two in zip(*trained, strict=True):
        np.testing.assert_allclose(on_one, on_two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("setting", "expected"), [("balanced", (2.0, 0.5)), ("{wet: 7}", (1.0, 7.0)), ("null", None)])
def test_a_run_weighs_the_labels_of_its_training_part(tmp_path, setting, expected):
    rows = [(f"text {number}", "hot|wet" if number % 3 == 0 else "wet", "train") for number in range(12)]
    rows = [(text, labels if number % 3 != 1 else "", part) for number, (text, labels, part) in enumerate(rows)]
    rows += [("seen", "hot", "val"), ("unseen", "wet", "val")]
    lines = [",".join(row) for row in [("text", "labels", "split"), *rows]]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    config = kt.config.load(
        overrides=[
            f"data={{kind: text, path: {tmp_path / 't.csv'}, task: multi_label, test_fraction: 0}}",
            f"data.class_weights={setting}",
            "model.vocabulary_size=50",
        ]
    )
    prepared = building.prepare_unmeasured(config, tf.distribute.get_strategy())
    assert prepared.split.train.positive_weights == expected
    assert prepared.build().loss.positive_weights == expected
    assert prepared.split.validation.positive_weights is None


def test_check_refuses_the_weight_of_an_unknown_label(tmp_path):
    (tmp_path / "t.csv").write_text("text,labels\n" + "".join(f"text {n},a|b\n" for n in range(9)))
    config = kt.config.load(
        overrides=[f"data={{kind: text, path: {tmp_path / 't.csv'}, task: multi_label}}", "data.class_weights={c: 2}"]
    )
    with pytest.raises(InputError, match="`data.class_weights`: unknown class 'c'. Known: a, b"):
        plan.parts(config)
