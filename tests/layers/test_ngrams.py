import keras
import numpy as np
import pytest
import tensorflow as tf
from odd_texts import ODD

from kerastrain import models, saving, tokenization
from kerastrain.errors import InputError
from kerastrain.layers.ngrams import SplitIntoNgrams, TfIdfPooling, inverse_document_frequencies


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", tokenization.TOKENIZERS)
def test_a_graph_splits_texts_into_the_ngrams_of_plain_python(tokenizer, tmp_path):
    learned = tokenization.learn(ODD, tokenizer, network="ngrams", size=500)
    split = tf.function(SplitIntoNgrams.of(learned, 700))
    for text, ngrams in zip(ODD, split(tf.constant(ODD)), strict=True):
        assert [ngram.decode() for ngram in ngrams.numpy()] == learned.tokens(text)[:700]
    model = models.text_classifier(labels=["a", "b"], texts=ODD, tokenizer=tokenizer, vocabulary_size=500)
    model.save(tmp_path / "model.keras")
    saved = tokenization.read(tmp_path / "model.keras")
    assert saved.length == 10_000
    assert [saved.tokens.tokens(text) for text in ODD] == [learned.tokens(text) for text in ODD]
    ids = {token: place for place, token in enumerate(saved.tokens.vocabulary, 2)}
    expected = [[ids.get(token, 1) for token in learned.tokens(text)][:10_000] for text in ODD]
    layer = saving.load(tmp_path / "model.keras").get_layer("backbone").get_layer("tokens")
    longest = max(map(len, expected))  # the batch is padded to its longest text, no further
    np.testing.assert_array_equal(layer(tf.constant(ODD)), [row + [0] * (longest - len(row)) for row in expected])


def test_a_mark_of_word_starts_in_a_text_is_a_space():
    tokens = tokenization.learn(["▁a▁b"], network="ngrams")
    assert tokens.tokens("▁a▁b") == tokens.tokens(" a b")
    assert [token for token in tokens.tokens("▁a▁b▁") if not tokens.is_inside(token)] == ["a", "b", "a b"]


def test_a_word_gives_its_characters_with_punctuation_to_ngrams_and_without_to_words():
    tokens = tokenization.learn(["No!"], network="ngrams")
    inside = ["▁▁n", "n▁o", "o▁!", "!▁▁", "▁▁n▁o", "n▁o▁!", "o▁!▁▁", "▁▁n▁o▁!", "n▁o▁!▁▁", "▁▁n▁o▁!▁▁"]
    assert tokens.tokens("No!") == ["no", *inside]
    assert [tokens.is_inside(token) for token in ("no", "no no", *inside)] == [False, False, *[True] * len(inside)]


def test_pooling_of_one_hot_embeddings_is_the_tf_idf_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts = ["a fine film", "a dull film", "a new film with fine songs", "unknown"]
    rules = tokenization.rules("words")
    counted = text.TfidfVectorizer(analyzer=rules.tokens).fit(texts[:3])
    vocabulary = tuple(counted.get_feature_names_out())
    counts = [sum(word in rules.tokens(one) for one in texts[:3]) for word in vocabulary]
    tokens = tokenization.Tokens(rules, (1,), vocabulary, text_counts=counts, texts=3)
    frequencies = inverse_document_frequencies(tokens, special=2)
    ids = np.zeros((4, 6), "int32")
    for row, one in zip(ids, texts, strict=True):
        words = rules.tokens(one)
        row[: len(words)] = [vocabulary.index(word) + 2 if word in vocabulary else 1 for word in words]
    pooling = TfIdfPooling(*frequencies.shape, scale=2.0)
    pooling.build(None)
    pooling.idf.assign(frequencies)
    features = pooling([np.eye(len(vocabulary) + 2)[ids], ids])
    np.testing.assert_allclose(features[:, 2:], 2 * counted.transform(texts).toarray(), atol=1e-6)
    np.testing.assert_array_equal(features[3], np.zeros(len(vocabulary) + 2))


def test_each_kind_of_ngrams_has_length_one():
    pooling = TfIdfPooling(4, 2)
    pooling.build(None)
    pooling.idf.assign([[0, 0], [3, 0], [4, 0], [0, 7]])
    ids = np.array([[1, 2, 3, 0]])
    np.testing.assert_allclose(pooling([np.eye(4)[ids], ids]), [[0, 3 / 5, 4 / 5, 1]], rtol=1e-6)


def test_dropout_drops_whole_tokens_in_training_only():
    pooling = TfIdfPooling(3, dropout=0.5)
    pooling.build(None)
    ids = np.ones((200, 1), "int32")
    values = pooling([np.ones((200, 1, 2)), ids], training=True).numpy()
    assert set(np.unique(values)) == {0.0, 2.0}
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    np.testing.assert_array_equal(pooling([np.ones((200, 1, 2)), ids]), np.ones((200, 2)))


def test_common_ngrams_weigh_less_and_only_their_own_kind():
    tokens = tokenization.learn(["film film", "film", "no"], network="ngrams", size=4000)
    values = inverse_document_frequencies(tokens, special=2)
    place = {token: place for place, token in enumerate(tokens.vocabulary, 2)}
    assert not values[:2].any()
    np.testing.assert_allclose(values[place["film"]], [1 + np.log(4 / 3), 0], rtol=1e-6)
    np.testing.assert_allclose(values[place["film film"]], [1 + np.log(4 / 2), 0], rtol=1e-6)
    np.testing.assert_allclose(values[place["▁▁f"]], [0, 1 + np.log(4 / 3)], rtol=1e-6)


def test_ngrams_that_classes_use_unequally_weigh_more():
    texts = ["good film", "good, good film", "bad film"]
    model = models.text_classifier(labels=["neg", "pos"], texts=texts, targets=np.array([1, 1, 0]))
    backbone = model.get_layer("backbone")
    vocabulary = backbone.get_layer("tokens").get_vocabulary()
    weights = backbone.get_layer("tf_idf").idf.numpy()
    plain = models.text_classifier(labels=["neg", "pos"], texts=texts).get_layer("backbone").get_layer("tf_idf").idf
    known = len(vocabulary) - 2
    counts = {label: {token: 1 for token in vocabulary[2:]} for label in (0, 1)}
    tokens = tokenization.learn(texts, network="ngrams")
    for text, label in zip(texts, (1, 1, 0), strict=True):
        for token in set(tokens.tokens(text)):
            counts[label][token] += 1
    sums = [sum(counts[label].values()) for label in (0, 1)]
    assert len(counts[0]) == known
    for token in ("good", "film", "bad", "good good", "▁▁b"):
        ratio = abs(np.log(counts[1][token] / sums[1]) - np.log(counts[0][token] / sums[0]))
        place = vocabulary.index(token)
        np.testing.assert_allclose(weights[place], plain[place] * (1 + 2 * ratio), rtol=1e-5)
    np.testing.assert_array_equal(weights[:2], 0)


def test_ratios_of_labels_are_the_largest_of_all_of_them():
    tokens = tokenization.Tokens(tokenization.rules("words"), (1,), ("a", "b", "c"))
    texts = ["a", "a b", "c", "c"]
    classes = tokenization.log_count_ratios(tokens, texts, np.array([0, 1, 2, 2]))
    labels = tokenization.log_count_ratios(tokens, texts, np.eye(3, dtype="float32")[[0, 1, 2, 2]])
    np.testing.assert_array_equal(classes, labels)
    np.testing.assert_allclose(classes[2], np.log(3 / 5) - np.log(1 / 6))
    np.testing.assert_array_equal(tokenization.log_count_ratios(tokens, texts, np.zeros((4, 1), "float32")), 0)


def test_targets_for_other_texts_are_refused():
    with pytest.raises(
        InputError, match=r"`targets` must hold the class of each of the 2 texts\. Received: shape \(3,\)\."
    ):
        models.text_classifier(labels=["a", "b"], texts=["one", "two"], targets=np.array([0, 1, 1]))


def test_many_characters_are_sampled(monkeypatch):
    monkeypatch.setattr("kerastrain.tokenization.vocabulary._MOST_CHARACTERS", 20)
    tokens = tokenization.learn(["one", "two"] * 10, network="ngrams")  # every third of 20 texts
    assert (tokens.texts, tokens.text_counts[tokens.vocabulary.index("one")]) == (7, 4)
    assert keras.ops.shape(inverse_document_frequencies(tokens, special=2))[0] == len(tokens.vocabulary) + 2
