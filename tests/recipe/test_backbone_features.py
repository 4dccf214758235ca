"""A model in two steps gives the predictions of the whole, and no example passes through its backbone twice."""

import dataclasses

import keras
import numpy as np
import pytest
import untrained

from kerastrain import config as configs
from kerastrain import data, evaluation, models, recipe
from kerastrain.errors import InputError
from kerastrain.recipe import backbone_features, head_features, named_predictions, plan, stages
from kerastrain.recipe.backbone_features import BackboneFeatures

SETTINGS = ("data.image_size=[8, 8]", "evaluation.batch_size=16", "fit.head_epochs=1", "fit.epochs=0")


@pytest.fixture(scope="module")
def split():
    whole = data.digits(image_size=(8, 8))
    counts = {"train": 40, "validation": 27, "test": 45}
    return dataclasses.replace(whole, **{name: whole.train.subset(np.arange(count)) for name, count in counts.items()})


def config():
    return configs.load(overrides=SETTINGS)


def network(inputs):
    values = keras.layers.Conv2D(4, 3, use_bias=False)(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.BatchNormalization()(values))


def classifier(**options):
    keras.utils.set_random_seed(0)
    labels = list("0123456789")
    return models.image_classifier(network(keras.Input((8, 8, 3))), labels=labels, dropout=0.3, **options)


def predicted(model, examples, *, are_images=True, name="test"):
    predict = named_predictions.predictor(BackboneFeatures(model, config()), are_images=are_images)
    return predict(name, examples)


def assert_same(found, expected, atol=1e-5):
    np.testing.assert_array_equal(found.targets, expected.targets)
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=atol)
    assert (found.labels, found.task) == (expected.labels, expected.task)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_images_in_two_steps_are_predicted_as_by_the_whole_model(split, precision):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = classifier(hidden_units=(5,))
    finally:
        keras.config.set_dtype_policy(before)
    found = predicted(model, split.test)
    expected = evaluation.predict(model, data.batches(split.test, 16))
    assert_same(found, expected, 1e-5 if precision == "float32" else 0.02)
    means = split.test.read(np.arange(45)).astype(np.float32).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.properties["brightness"], means, rtol=1e-5)


def test_numbers_beside_images_reach_the_head(split):
    numbers = np.random.default_rng(0).normal(size=(45, 2)).astype(np.float32)
    examples = dataclasses.replace(split.test, numbers=numbers, number_names=("age", "weight"))
    model = classifier(numbers=numbers, number_names=("age", "weight"))
    assert_same(predicted(model, examples), evaluation.predict(model, data.batches(examples, 16)))


def test_texts_come_back_in_their_order(tmp_path, monkeypatch):
    run = untrained.texts(tmp_path / "run")
    texts = np.array([" ".join(["good" if i % 3 else "bad"] * (1 + i * 7 % 11)) for i in range(40)], object)
    examples = data.Examples(np.arange(40) % 2, ("neg", "pos"), texts)
    monkeypatch.setattr(backbone_features, "CHUNK", 16)
    found = predicted(run.model, examples, are_images=False)
    assert_same(found, evaluation.predict(run.model, data.batches(examples, 16)))
    assert found.properties["words"].tolist() == [1 + i * 7 % 11 for i in range(40)]


def test_chunks_give_the_predictions_and_the_sample_of_one_pass(split, monkeypatch):
    model, results = classifier(), []
    monkeypatch.setattr(backbone_features, "_MOST_OTHERS", 20)
    for size in (4096, 20):
        monkeypatch.setattr(backbone_features, "CHUNK", size)
        features = BackboneFeatures(model, config())
        found = named_predictions.predictor(features, are_images=True)("test", split.test)
        with monkeypatch.context() as patch:
            patch.setattr(data.features, "precompute", lambda *values, **options: pytest.fail("computed again"))
            sample = features.sample("test", split.test)
        results.append((found.outputs, found.properties["brightness"], sample.inputs))
        computed = BackboneFeatures(model, config()).sample("test", split.test)
        np.testing.assert_allclose(sample.inputs, computed.inputs, atol=1e-6)
        np.testing.assert_array_equal(sample.targets, computed.targets)
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_array_equal(whole, parts)


def test_a_head_that_has_been_trained_is_evaluated_on_the_features_of_its_training(split, monkeypatch):
    model, settings = classifier(), config()
    (phase,) = plan.phases(settings, len(split.train))
    features = BackboneFeatures(model, settings)
    features.keep(stages.staged(model, settings, split, phase))
    with monkeypatch.context() as patch:
        patch.setattr(head_features, "inference_model", lambda model: pytest.fail("traced again"))
        patch.setattr(data.features, "precompute", lambda *values, **options: pytest.fail("computed again"))
        found = named_predictions.predictor(features, are_images=True)("validation", split.validation)
        assert features.sample("train", split.train).inputs.shape == (40, 4)
    # What a run that is resumed after its training computes is the same to the bit.
    resumed = predicted(model, split.validation, name="validation")
    np.testing.assert_array_equal(found.outputs, resumed.outputs)
    np.testing.assert_array_equal(found.properties["brightness"], resumed.properties["brightness"])


def test_a_model_that_is_no_chain_is_predicted_as_a_whole(split):
    inputs = keras.Input((8, 8, 3))
    backbone = network(inputs)
    backbone.name = "backbone"
    pooled = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    beside = keras.layers.GlobalMaxPooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Concatenate()([pooled, beside])))
    features = BackboneFeatures(model, config())
    assert not features.is_divided
    found = named_predictions.predictor(features, are_images=True)("test", split.test)
    assert_same(found, evaluation.predict(model, data.batches(split.test, 16)))
    assert found.properties["brightness"].shape == (45,)


def test_no_examples_are_refused(split):
    predict = named_predictions.predictor(BackboneFeatures(classifier(), config()), are_images=True)
    with pytest.raises(InputError, match="at least one example"):
        predict("test", split.test.subset(np.arange(0)))


def test_measures_are_those_of_the_whole_model(split):
    model = classifier()
    measured = recipe.measure(model, config(), split)
    expected = evaluation.evaluate(model, data.batches(split.test, 16))
    assert measured["test"]["accuracy"] == expected["accuracy"]
    np.testing.assert_allclose(measured["test"]["loss"], expected["loss"], rtol=1e-5)
