import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import explain, models
from kerastrain.errors import InputError

WORDS = {"fine": (1.5, 0.0, -1.0), "dull": (-2.0, 0.5, 0.0), "film": (0.25, 0.0, 0.0), "好": (1.0, 0.0, 0.0)}


def _counts(outputs=2, activation=None, *, pair=False):
    """A model whose logits are sums over the words of `WORDS`, with both texts of a pair counted."""
    strings = keras.Input((2,) if pair else (), dtype="string")
    layer = keras.layers.TextVectorization(output_mode="count", vocabulary=list(WORDS))
    flat = keras.layers.Lambda(lambda pairs: tf.strings.reduce_join(pairs, axis=1, separator=" "), output_shape=())
    counts = keras.ops.cast(layer(flat(strings) if pair else strings), "float32")
    dense = keras.layers.Dense(outputs, activation=activation)
    model = keras.Model(strings, dense(counts))
    dense.set_weights([np.array([(0, 0, 0), *WORDS.values()], "float32")[:, :outputs], np.zeros(outputs, "float32")])
    return model


def _values(explanation):
    return {word.text: round(word.value, 5) for word in explanation.words}


def _log_odds(words, index):
    logits = np.sum([WORDS.get(word, (0, 0, 0)) for word in words] or [(0, 0, 0)], axis=0)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    return np.log(probabilities[index] / (1 - probabilities[index]))


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_word_is_worth_the_log_odds_that_the_class_loses_without_it(activation):
    model = _counts(3, activation)
    first, second = explain.occlusion(model, ["fine,  dull film now", "dull"])
    [chosen] = explain.occlusion(model, ["fine dull film"], 2)
    whole = ["fine", "dull", "film", "now"]
    assert (first.text, first.index, first.words_at_once) == ("fine,  dull film now", 1, 1)
    np.testing.assert_allclose(first.score, _log_odds(whole, 1), atol=1e-5)
    for word, name in zip(first.words, ("fine,", "dull", "film", "now"), strict=True):
        rest = [other for other in whole if other != name.strip(",")]
        assert first.text[word.start : word.end] == word.text == name
        np.testing.assert_allclose(word.value, _log_odds(whole, 1) - _log_odds(rest, 1), atol=1e-4)
    assert (second.index, len(second.words)) == (1, 1)  # Without its only word a text is empty.
    np.testing.assert_allclose(second.words[0].value, _log_odds(["dull"], 1) - _log_odds([], 1), atol=1e-4)
    np.testing.assert_allclose(chosen.score, _log_odds(whole[:3], 2), atol=1e-5)


def test_a_model_of_one_logit_has_two_classes_and_scripts_without_spaces_have_words_of_a_character():
    strings = keras.Input((), dtype="string")
    layer = keras.layers.TextVectorization(output_mode="count", split="character", vocabulary=list("好坏a"))
    dense = keras.layers.Dense(1)
    model = keras.Model(strings, dense(keras.ops.cast(layer(strings), "float32")))
    dense.set_weights([np.array([[0], [1], [-3], [0.5]], "float32"), np.zeros(1, "float32")])
    [bad] = explain.occlusion(model, ["好坏 a\u0301b"])
    assert (bad.index, round(bad.score, 5)) == (0, 1.5)
    assert _values(bad) == {"好": -1.0, "坏": 3.0, "a\u0301b": -0.5}
    [good] = explain.occlusion(model, ["好坏 a"], 1)
    assert _values(good) == {"好": 1.0, "坏": -3.0, "a": 0.5}


def test_both_texts_of_a_pair_are_explained():
    [one] = explain.occlusion(_counts(2, pair=True), [("fine film", "so dull")], 0)
    differences = {word: WORDS[word][0] - WORDS[word][1] for word in ("fine", "film", "dull")}
    assert [(word.text, word.place, round(word.value, 5)) for word in one.words] == [
        ("fine", 0, differences["fine"]),
        ("film", 0, differences["film"]),
        ("so", 1, 0.0),
        ("dull", 1, differences["dull"]),
    ]


def test_adjacent_words_of_a_long_text_share_a_value():
    [one] = explain.occlusion(_counts(), ["fine film now dull\nfilm"], 0, most_variants=3)
    assert one.words_at_once == 2
    assert _values(one) == {"fine film": 1.75, "now dull": -2.5, "film": 0.25}
    [whole] = explain.occlusion(_counts(), ["x" * 150], 0, most_variants=1)
    assert [(word.start, word.end) for word in whole.words] == [(0, 150)]
    assert explain.occlusion(_counts(), [" "], 0)[0].words == ()


def test_a_regression_is_explained_in_its_unit_with_the_numbers_beside_the_texts():
    numbers = np.array([[1.0], [3.0]], "float32")
    model = models.text_regressor(
        "keras:embedding", labels=["stars", "age"], texts=["fine film", "dull"], mean=3.0, numbers=numbers, dropout=0.0
    )
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, seed=1))
    texts = tf.constant(["fine film", "film", "fine"])
    outputs = model((texts, tf.constant([[3.0]] * 3))).numpy()
    [one] = explain.occlusion(model, ["fine film"], 1, numbers=numbers[1:])
    np.testing.assert_allclose(one.score, outputs[0, 1], rtol=1e-5)
    np.testing.assert_allclose([word.value for word in one.words], outputs[0, 1] - outputs[1:, 1], atol=1e-5)
    with pytest.raises(InputError, match=r"`numbers` must hold one row for each text .* Received: None, for 1 texts\."):
        explain.occlusion(model, ["fine film"])


def test_labels_are_explained_apart_from_each_other():
    model = models.text_classifier(
        "keras:embedding", labels=["a", "b"], multi_label=True, texts=["fine film"], dropout=0.0
    )
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, seed=1))
    logits = model(tf.constant(["fine film", "film", "fine"])).numpy()
    [one] = explain.occlusion(model, ["fine film"], 1)
    np.testing.assert_allclose([word.value for word in one.words], logits[0, 1] - logits[1:, 1], atol=1e-5)


def test_what_cannot_be_explained_is_refused_in_a_sentence():
    model = _counts()
    with pytest.raises(InputError, match="`texts` must be a sequence of str, at least one. Received: 'fine'"):
        explain.occlusion(model, "fine")
    with pytest.raises(InputError, match=r"sequence of str, at least one. Received: \[\('a', 'b'\)\]"):
        explain.occlusion(model, [("a", "b")])
    with pytest.raises(InputError, match="one for each of 1 texts, from 0 to 1. Received: 2"):
        explain.occlusion(model, ["fine"], 2)
    with pytest.raises(InputError, match="`most_variants` must be at least 1. Received: 0"):
        explain.occlusion(model, ["fine"], most_variants=0)
    images = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
    with pytest.raises(InputError, match=r"`model` must take texts, .* It takes: float32 \(None, 2, 2, 3\)\."):
        explain.occlusion(images, ["fine"])
    with pytest.raises(TypeError, match="`model` must be a keras.Model. Received: builtins.str"):
        explain.occlusion("model", ["fine"])
