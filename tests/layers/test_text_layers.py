import random
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from odd_texts import ODD

from kerastrain import models, tokenization
from kerastrain.layers.text import StandardizedText

CHARACTERS = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]


def odd_texts():
    """Every assigned character once, and random mixtures of the first planes."""
    draw = random.Random(0)
    every = ["".join(CHARACTERS[start : start + 61]) for start in range(0, 0x30000, 61)]
    return ODD + every + ["a".join(draw.choices(CHARACTERS[:70_000], k=30)) for _ in range(500)]


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", tokenization.TOKENIZERS)
def test_a_graph_makes_the_tokens_of_plain_python_from_any_character(tokenizer):
    texts = odd_texts()
    learned = tokenization.learn(texts[::3] + ODD * 2, tokenizer, network="embedding", size=5000)
    layer = keras.layers.TextVectorization(
        standardize=StandardizedText.of(learned.rules),
        split="character" if tokenizer == "characters" else "whitespace",
        ngrams=2,
        output_sequence_length=80,
    )
    layer.set_vocabulary(list(learned.vocabulary))
    numbers = {token: number for number, token in enumerate(learned.vocabulary, 2)}
    expected = np.zeros((len(texts), 80), int)
    for row, text in zip(expected, texts, strict=True):
        ids = [numbers.get(token, 1) for token in learned.tokens(text)][:80]
        row[: len(ids)] = ids
    np.testing.assert_array_equal(layer(tf.constant(texts)), expected)


def test_the_layer_keeps_its_rules_in_its_file_whatever_the_next_version_does(tmp_path, monkeypatch):
    model = models.text_classifier(labels=["a", "b"], texts=["été à Paris", "ÇA va"], vocabulary_size=50)
    texts = tf.constant(["ÉTÉ", "ça", "“Paris”", "été!"])
    before = model.predict(texts, verbose=0)
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr("kerastrain.tokenization.text_rules._character_rules", lambda _: ({}, ""))
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras").predict(texts, verbose=0), before)
    np.testing.assert_array_equal(before[0], before[3])


def test_words_of_ascii_texts_get_the_ids_that_keras_gives_them():
    texts = ["The film's BEST scene (not #1!)", "a well-made film,\tfunny... 7/10", "the best of the best", "a A a"]
    keras_layer = keras.layers.TextVectorization(20, ngrams=2, output_sequence_length=12)
    keras_layer.adapt(texts)
    options = {"labels": ["a", "b"], "texts": texts, "vocabulary_size": 20, "sequence_length": 12}
    model = models.text_classifier("keras:embedding", **options)
    layer = model.get_layer("backbone").get_layer("tokens")
    assert list(map(str, layer.get_vocabulary())) == list(map(str, keras_layer.get_vocabulary()))
    np.testing.assert_array_equal(layer(tf.constant(texts)), keras_layer(tf.constant(texts)))


def test_a_word_of_a_million_characters_is_split_at_once():
    standardize = StandardizedText.of(tokenization.rules("subwords", ("ab", "▁")))
    [split] = standardize(tf.constant(["ab" * 500_000])).numpy()
    assert split.decode() == "▁ " + " ".join(["ab"] * 500_000)
