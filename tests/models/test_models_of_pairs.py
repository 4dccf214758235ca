"""Models of pairs of texts: training, files, and the exported signatures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerastrain as kt
from kerastrain.errors import InputError
from kerastrain.export import litert
from kerastrain.layers.text_pairs import ComparePair

WORDS = ["cat", "dog", "fox", "hen", "cow", "pig"]
PAIRS = np.array([[f"a {first}", f"the {second}"] for first in WORDS for second in WORDS], object)
TARGETS = np.array([int(first[2:] == second[4:]) for first, second in PAIRS])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    model = kt.models.text_classifier(labels=["other", "same"], pair=True, texts=PAIRS, vocabulary_size=50)
    random = np.random.default_rng(0)  # the n-grams start at zero, which would make all pairs equal
    for weight in model.trainable_weights:
        weight.assign(random.normal(size=weight.shape))
    return model


def test_features_are_those_of_both_texts_and_their_difference_and_product():
    first, second = np.array([[1.0, -2.0]]), np.array([[3.0, 0.5]])
    assert np.allclose(ComparePair()([first, second]), [[1, -2, 3, 0.5, 2, 2.5, 3, -1]])


def test_both_texts_are_read_with_the_same_weights_and_their_order_counts(model):
    backbone = model.get_layer("backbone")
    outputs = np.asarray(backbone(tf.constant([["a cat", "a cat"], ["a cat", "the dog"], ["the dog", "a cat"]])))
    first, second, difference, product = np.split(outputs, 4, axis=1)
    assert np.array_equal(first[0], second[0])
    assert not difference[0].any()
    assert np.array_equal(first[1], second[2])
    assert np.array_equal(second[1], first[2])
    assert np.allclose(product, first * second)


def test_a_backbone_of_pairs_is_refused_for_single_texts(model):
    with pytest.raises(InputError, match="the backbone reads pairs of texts, and the examples are single texts"):
        kt.models.text_classifier(model.get_layer("backbone"), labels=["other", "same"])


@pytest.mark.slow
def test_a_saved_model_takes_two_strings_and_a_tflite_file_two_arrays_of_token_ids(model, tmp_path):
    samples = PAIRS[:8]
    kt.export.saved_model(model, tmp_path / "served", samples=samples)
    serve = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    texts = {"text": tf.constant(samples[:, 0].tolist()), "pair": tf.constant(samples[:, 1].tolist())}
    expected = model.predict(tf.constant(samples.tolist()), verbose=0)
    assert np.allclose(serve(**texts)["logits"], expected, atol=1e-6)
    kt.export.tflite(model, tmp_path / "model.tflite", samples=samples)
    ids = [kt.export.tokenize(tmp_path / "model.tflite", samples[:, place].tolist()) for place in (0, 1)]
    outputs = litert.run(tmp_path / "model.tflite", {"tokens": ids[0], "pair_tokens": ids[1]})
    assert np.allclose(outputs, expected, atol=1e-5)
    swapped = litert.run(tmp_path / "model.tflite", {"tokens": ids[1], "pair_tokens": ids[0]})
    assert not np.allclose(swapped, expected, atol=1e-5)


@pytest.mark.slow
def test_a_model_of_pairs_is_opened_again(model, tmp_path):
    kt.export.keras_file(model, tmp_path / "model.keras", samples=PAIRS[:4])
    opened = kt.models.load(tmp_path / "model.keras")
    inputs = tf.constant(PAIRS.tolist())
    assert np.array_equal(opened.predict(inputs, verbose=0), model.predict(inputs, verbose=0))


@pytest.mark.slow
def test_word_dropout_draws_for_each_text_of_a_pair():
    examples = kt.data.Examples(TARGETS[:8], ("other", "same"), np.array([["a b c d e f g h"] * 2] * 8, object))
    augment = kt.data.augment(word_dropout={"probability": 0.5})
    inputs, _ = next(iter(kt.data.batches(examples, 8, augment=augment)))
    assert inputs.shape == (8, 2)
    assert bool(tf.reduce_any(inputs[:, 0] != inputs[:, 1]))
