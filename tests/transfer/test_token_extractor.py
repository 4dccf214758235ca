import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import models

TEXTS = ["a fine film", "a dull film", "", "fine, fine songs"]


@pytest.mark.parametrize("network", ["keras:ngrams", "keras:embedding"])
def test_token_ids_lead_to_the_outputs_of_the_texts(network):
    model = models.text_classifier(network, labels=["bad", "good"], texts=TEXTS, vocabulary_size=50, sequence_length=20)
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, seed=1))
    tokens, after = models.split_at_tokens(model)
    texts = tf.constant(TEXTS)
    np.testing.assert_array_equal(after(tokens(texts)), model(texts))
    assert [id(weight) for weight in after.weights] == [id(weight) for weight in model.weights]
    assert not keras.src.trainers.trainer.model_supports_jit(after)


def test_numbers_beside_texts_are_inputs_after_the_tokens_too():
    numbers = np.array([[1.0], [2.0], [np.nan], [4.0]], np.float32)
    model = models.text_classifier(labels=["bad", "good"], texts=TEXTS, numbers=numbers, vocabulary_size=50)
    tokens, after = models.split_at_tokens(model)
    texts = tf.constant(TEXTS)
    np.testing.assert_array_equal(after((tokens(texts), tf.constant(numbers))), model((texts, tf.constant(numbers))))


def test_a_model_of_pairs_or_without_a_tokenizer_is_not_split():
    pairs = [("a film", "a song"), ("a day", "a night")]
    assert models.split_at_tokens(models.text_classifier(labels=["no", "yes"], texts=pairs, pair=True)) is None
    backbone = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.GlobalAveragePooling2D()], name="backbone")
    assert models.split_at_tokens(keras.Sequential([keras.Input((2, 2, 3)), backbone])) is None
