"""Integrated gradients of texts against formulas: what linear networks must give, and NumPy's BERT for its baseline."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import explain, models, testing
from kerastrain.errors import InputError
from kerastrain.explain.token_words import token_words

TEXTS = ["a fine film", "a dull film", "what a fine and well-made thing"]


def randomized(model, stddev=0.5):
    for seed, weight in enumerate(model.trainable_weights):
        weight.assign(keras.random.normal(weight.shape, stddev=stddev, seed=seed))
    return model


def values(explanation):
    return {word.text: word.value for word in explanation.words}


def spans(layer, text):
    words = token_words(layer, text)
    return [text[start:end] for start, end in words.spans], words.tokens


def test_words_of_a_mean_of_embeddings_have_their_parts_of_the_log_odds():
    model = randomized(models.text_classifier("keras:embedding", labels=["no", "yes"], texts=TEXTS, dropout=0.0))
    backbone = model.get_layer("backbone")
    vocabulary = backbone.get_layer("tokens").get_vocabulary()
    kernel, bias = model.get_layer("logits").get_weights()
    direction = backbone.get_layer("words").get_weights()[0] @ (kernel[:, 1] - kernel[:, 0]) / 5  # of five tokens
    worth = {name: direction[vocabulary.index(name)] for name in vocabulary}
    [one] = explain.integrated_gradients(model, ["a fine, film!"], 1)
    expected = {
        "a": worth["a"] + worth["a fine"] / 2,
        "fine,": worth["fine"] + (worth["a fine"] + worth["fine film"]) / 2,
        "film!": worth["film"] + worth["fine film"] / 2,
    }
    assert list(values(one)) == list(expected)
    np.testing.assert_allclose(list(values(one).values()), list(expected.values()), atol=1e-5)
    complete = one.completeness
    assert (complete.reached, complete.steps, complete.baseline) == (True, 8, "zeros")
    np.testing.assert_allclose([complete.total, complete.difference], sum(expected.values()), atol=1e-4)
    np.testing.assert_allclose(one.score, sum(expected.values()) + bias[1] - bias[0], atol=1e-5)
    [other] = explain.integrated_gradients(model, ["a fine, film!"], 0)
    np.testing.assert_allclose([word.value for word in other.words], [-value for value in expected.values()], atol=1e-5)


@pytest.mark.slow
def test_values_of_attention_add_up_for_pairs_of_texts():
    pairs = [("a fine film", "a dull film"), ("fine", "fine")]
    model = randomized(models.text_classifier("keras:transformer", labels=["a", "b", "c"], texts=pairs, pair=True))
    for one, text in zip(explain.integrated_gradients(model, pairs), pairs, strict=True):
        logits = model(tf.constant([text])).numpy()[0].astype(float)
        others = np.logaddexp.reduce(np.delete(logits, one.index))
        assert one.index == logits.argmax()
        np.testing.assert_allclose(one.score, logits[one.index] - others, rtol=1e-4)
        assert [word.text for word in one.words if word.place == 0] == text[0].split()
        assert [word.text for word in one.words if word.place == 1] == text[1].split()
        total = sum(word.value for word in one.words)
        assert one.completeness.reached
        assert abs(total - one.completeness.difference) < max(0.01 * abs(one.completeness.difference), 0.005)
    # Too few points for steep attention are admitted.
    [steep] = explain.integrated_gradients(randomized(model, 3.0), pairs[:1], most_steps=8)
    assert not steep.completeness.reached


def test_numbers_beside_texts_stay_and_a_regression_is_explained_in_its_unit():
    numbers = np.array([[1.0], [3.0]], "float32")
    model = randomized(
        models.text_regressor("keras:embedding", labels=["x", "y"], texts=["fine", "dull"], numbers=numbers, stddev=2.0)
    )
    [one] = explain.integrated_gradients(model, ["fine"], 1, numbers=numbers[1:])
    whole, nothing = model((tf.constant(["fine", ""]), tf.constant([[3.0]] * 2))).numpy()[:, 1]
    np.testing.assert_allclose([one.score, one.words[0].value], [whole, whole - nothing], rtol=1e-4)


def test_the_activation_of_a_model_made_elsewhere_is_left_out():
    vectorization = keras.layers.TextVectorization(vocabulary=["fine", "dull"])
    layers = [vectorization, keras.layers.Embedding(4, 3), keras.layers.GlobalAveragePooling1D()]
    layers += [keras.layers.Dense(1, activation="sigmoid")]
    model = randomized(keras.Sequential([keras.Input((), dtype="string"), *layers]))
    vectors, (kernel, bias) = layers[1].get_weights()[0], layers[3].get_weights()
    [one] = explain.integrated_gradients(model, ["Dull, fine"], 1)
    np.testing.assert_allclose([word.value for word in one.words], (vectors[[3, 2]] @ kernel)[:, 0] / 2, atol=1e-5)
    np.testing.assert_allclose(one.score, sum(word.value for word in one.words) + bias[0], atol=1e-5)


def test_a_word_holds_its_tokens_and_a_token_joins_its_words():
    model = models.text_classifier("keras:ngrams", labels=["a", "b"], texts=TEXTS)
    layer = model.get_layer("backbone").get_layer("tokens")
    words, tokens = spans(layer, "a well-made 好 film")
    assert words == ["a", "well-made", "好", "film"]
    split = layer.get_config()["split"]
    names = [token.decode() for token in split(tf.constant(["a well-made 好 film"])).numpy()[0]]
    assert len(names) == len(tokens)
    owners = dict(zip(names, tokens, strict=True))
    assert (owners["wellmade"], owners["a wellmade"], owners["f▁i▁l"]) == ((1,), (0, 1), (3,))
    model = models.text_classifier("keras:embedding", labels=["a", "b"], texts=TEXTS, sequence_length=3)
    words, tokens = spans(model.get_layer("backbone").get_layer("tokens"), "好坏 - fine film a")
    assert (words, tokens) == (["好坏", "-", "fine", "film", "a"], [(0,), (2,), (3,)])
    [one] = explain.integrated_gradients(randomized(model), ["fine dull film zoo zoo"])
    assert [word.value for word in one.words[3:]] == [0, 0]  # Behind the end of the sequence nothing is read.
    subwords = models.text_classifier("keras:transformer", labels=["a", "b"], texts=TEXTS, tokenizer="subwords")
    layer = subwords.get_layer("backbone").get_layer("tokens")
    words, tokens = spans(layer, "zfine film")
    assert words == ["zfine", "film"]
    assert len(tokens) == np.count_nonzero(layer(tf.constant(["zfine film"])))
    assert tokens == sorted(tokens)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pretrained_encoders_start_from_padding_between_their_special_tokens(tmp_path, kind):
    pytest.importorskip("keras_hub")
    pytest.importorskip("tensorflow_text")
    from text_encoder_folders import BERT, hidden_states, tensors, write_encoder

    roberta = {**BERT, "model_type": "roberta", "vocab_size": 300, "type_vocab_size": 1, "pad_token_id": 1}
    config = {"bert": BERT, "roberta": roberta}[kind]
    model = models.text_classifier(str(write_encoder(tmp_path / kind, config)), labels=["a", "b"], texts=["good"])
    model.get_layer("logits").set_weights([np.eye(16, 2) * 3, np.array([0.0, 0.5])])
    layer = model.get_layer("backbone").get_layer("tokens")
    text = "The goodbad filmz, is good!"
    words, tokens = spans(layer, text)
    assert words == text.split()
    ids = np.asarray(layer(tf.constant([text])))[0]
    assert (len(ids), tokens[0], tokens[-1], tokens[1]) == (len(tokens), (), (), (0,))
    [one] = explain.integrated_gradients(model, [text], 1)
    empty = [ids[0], *[layer.tokens.pad] * (len(ids) - 2), ids[-1]]
    scores = []
    for one_ids in (ids, empty):
        feature = hidden_states(config, tensors(config), one_ids, layer.tokens.pad).mean(axis=0)
        scores.append(3 * feature[1] + 0.5 - 3 * feature[0])
    np.testing.assert_allclose(one.score, scores[0], atol=1e-4)
    np.testing.assert_allclose(one.completeness.difference, scores[0] - scores[1], atol=1e-4)
    assert (one.completeness.reached, one.completeness.baseline) == (True, "padding")


def test_the_method_is_chosen_with_a_reason(tmp_path):
    embedding = models.text_classifier("keras:embedding", labels=["a", "b"], texts=TEXTS)
    assert explain.text_method(embedding) == ("integrated_gradients", "the model shows the embeddings of its tokens")
    assert explain.text_method(embedding, "occlusion") == ("occlusion", "")
    ngrams = models.text_classifier("keras:ngrams", labels=["a", "b"], texts=TEXTS)
    reason = "a word is part of many n-grams, whose weights depend on each other"
    assert explain.text_method(ngrams) == ("occlusion", reason)
    assert explain.text_method(ngrams, "integrated_gradients") == ("integrated_gradients", "")
    strings = keras.Input((), dtype="string")
    layer = keras.layers.TextVectorization(output_mode="count", vocabulary=["fine"])
    counted = keras.Model(strings, keras.layers.Dense(2)(keras.ops.cast(layer(strings), "float32")))
    reason = (
        "integrated gradients need embeddings of tokens, and this is a model without a layer that turns texts into "
    )
    assert explain.text_method(counted) == ("occlusion", f"{reason}token ids")
    module = models.text_classifier(testing.text_saved_model(tmp_path / "module", words=["fine"]), labels=["a", "b"])
    reason = "a TF Hub module, whose embeddings are hidden inside it"
    assert explain.text_method(module) == (
        "occlusion",
        f"integrated gradients need embeddings of tokens, and this is {reason}",
    )
    with pytest.raises(
        InputError, match=r"Received: a model without a layer .* Use occlusion \(`--method occlusion`\)\."
    ):
        explain.text_method(counted, "integrated_gradients")
    with pytest.raises(
        InputError, match="unknown method for texts 'gradcam'. Known: auto, integrated_gradients, occlusion"
    ):
        explain.text_method(ngrams, "gradcam")
    with pytest.raises(InputError, match="`most_steps` must be at least 8. Received: 4"):
        explain.integrated_gradients(embedding, ["fine"], most_steps=4)


def test_the_answer_is_asked_for_without_the_strongest_words_and_with_them_alone():
    strings = keras.Input((), dtype="string")
    layer = keras.layers.TextVectorization(output_mode="count", vocabulary=["fine", "dull"])
    dense = keras.layers.Dense(1)
    model = keras.Model(strings, dense(keras.ops.cast(layer(strings), "float32")))
    dense.set_weights([np.array([[0], [2], [-1]], "float32"), np.zeros(1, "float32")])
    explanations = explain.occlusion(model, ["a fine dull film now so fine", "dull"], [1, 1])
    first, second = explain.deletion(model, explanations)
    sigmoid = lambda value: 1 / (1 + np.exp(-value))
    assert (first.words, second.words) == (2, 0)
    np.testing.assert_allclose([first.whole, first.without, first.only], sigmoid(np.array([3, -1, 4])), atol=1e-6)
    np.testing.assert_allclose([second.whole, second.without, second.only], sigmoid(np.array([-1, -1, 0])), atol=1e-6)
    assert explain.deletion(model, []) == []
