import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import export, models, testing
from kerastrain.errors import InputError
from kerastrain.export import litert, metadata

TEXTS = ["A moving, wonderful story!", "dull; dull, dull...", "", "?!", "Café – naïve  it's\ttwo\nlines", "a story"]


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    options = {"vocabulary_size": 30, "sequence_length": 12, "embedding_dim": 8, "dropout": 0.0}
    return models.text_classifier(labels=["bad", "good"], texts=TEXTS, **options)


def test_the_file_takes_token_ids_and_answers_as_the_model_does_on_texts(classifier, tmp_path):
    path = tmp_path / "model.tflite"
    measured = export.tflite(classifier, path, samples=np.array(TEXTS, object))
    assert measured.largest_difference < 1e-6
    ids = export.tokenize(path, TEXTS)
    layer = classifier.get_layer("backbone").get_layer("tokens")
    np.testing.assert_array_equal(ids, layer(tf.constant(TEXTS)))
    assert (ids.dtype, ids[2].any(), ids[3].tolist()) == (
        np.int32,
        False,
        [*ids[3, :10], 0, 0],
    )  # "?!" has no word, but characters
    expected = classifier.predict(tf.constant(TEXTS), verbose=0)
    np.testing.assert_allclose(litert.run(path, ids), expected, atol=1e-6)


def test_vocabulary_and_description_lie_in_the_file_and_beside_it(classifier, tmp_path):
    path = tmp_path / "model.tflite"
    export.tflite(classifier, path, samples=np.array(TEXTS, object))
    packed = metadata.packed_files(path.read_bytes())
    assert set(packed) == {"labels.txt", "tokens.json", "vocabulary.txt"}
    for name, text in packed.items():
        assert (tmp_path / f"model.{name}").read_text(encoding="utf-8") == text
    vocabulary = classifier.get_layer("backbone").get_layer("tokens").get_vocabulary()
    assert packed["vocabulary.txt"].split("\n")[:-1] == vocabulary
    assert json.loads(packed["tokens.json"])["ngrams"] == [1, 2]
    assert metadata.labels(path.read_bytes()) == ("bad", "good")


@pytest.mark.parametrize("quantize", ["float16", "dynamic", "int8"])
@pytest.mark.slow
def test_quantized_files_take_token_ids_too(classifier, tmp_path, quantize):
    samples = np.array(TEXTS, object)
    export.tflite(classifier, tmp_path / "model.tflite", samples=samples, quantize=quantize, representative=samples)
    outputs = litert.run(tmp_path / "model.tflite", export.tokenize(tmp_path / "model.tflite", TEXTS))
    expected = classifier.predict(tf.constant(TEXTS), verbose=0)
    np.testing.assert_allclose(outputs, expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("tokenizer", ["words", "characters", "subwords"])
@pytest.mark.slow
def test_the_ids_of_a_file_are_those_of_the_model_in_every_script(tokenizer, tmp_path):
    texts = [
        "ÉTÉ à Paris, ÇA VA",
        "“Привет”—мир",
        "東京。日本語",
        "ภาษาไทย",
        "e\u0301 \0 \u200fשלום",
        "",
        "😀\u00a0été",
    ]
    model = models.text_classifier(
        labels=["a", "b"], texts=texts * 2, tokenizer=tokenizer, vocabulary_size=200, sequence_length=20
    )
    measured = export.tflite(model, tmp_path / "model.tflite", samples=np.array(texts, object))
    assert measured.largest_difference < 1e-6
    layer = model.get_layer("backbone").get_layer("tokens")
    for name in (texts, [text.upper() for text in texts]):
        np.testing.assert_array_equal(export.tokenize(tmp_path / "model.tflite", name), layer(tf.constant(name)))
    ids = export.tokenize(tmp_path / "model.tflite", ["été", "ÉTÉ"])
    np.testing.assert_array_equal(*ids)
    assert ids[0, 0] > 1


def test_files_of_earlier_versions_are_tokenized_as_they_were():
    description = {"lower_case_ascii": True, "strip": "!", "split": "whitespace", "ngrams": [1], "length": 3}
    description |= {"padding_id": 0, "unknown_id": 1}
    ids = export.tokens.token_ids(["A É!\u00a0é é"], description, ["", "[UNK]", "a", "É", "é"])
    assert ids.tolist() == [[2, 1, 4]]


def vectorizing(**options):
    layer = keras.layers.TextVectorization(**{"output_sequence_length": 6, **options})
    layer.adapt(TEXTS)
    return layer


@pytest.mark.parametrize(
    "options",
    [
        {"split": "character", "standardize": "lower"},
        {"standardize": "strip_punctuation", "ngrams": (2,)},
        {"standardize": None, "ngrams": 3},
    ],
)
def test_every_setting_that_is_described_is_followed(options, tmp_path):
    texts = [text.replace("\n", " ") for text in TEXTS]
    layer = keras.layers.TextVectorization(**{"output_sequence_length": 6, **options})
    layer.adapt(texts)
    rest = [keras.layers.Embedding(99, 2), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((), dtype="string"), layer, *rest])
    measured = export.tflite(model, tmp_path / "model.tflite", samples=np.array(texts, object))
    assert measured.largest_difference < 1e-6
    np.testing.assert_array_equal(export.tokenize(tmp_path / "model.tflite", texts), layer(tf.constant(texts)))


def upper(texts):
    return tf.strings.upper(texts)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"output_mode": "multi_hot", "output_sequence_length": None}, "output_mode='multi_hot', which no program"),
        ({"output_sequence_length": None}, "have no fixed length"),
        ({"standardize": upper}, "which no program beside the file could follow"),
        ({"split": None}, "split=None, which no program"),
        ({"split": "character"}, "contains a line break"),
    ],
)
def test_what_cannot_be_described_is_refused(options, match, tmp_path):
    layer = vectorizing(**options)
    strings = keras.Input((), dtype="string")
    model = keras.Model(strings, keras.layers.Dense(1)(keras.ops.mean(layer(strings), axis=1, keepdims=True)))
    with pytest.raises(InputError, match=match):
        export.tflite(model, tmp_path / "model.tflite", samples=np.array(TEXTS, object))
    assert not list(tmp_path.iterdir())


def test_texts_that_are_read_elsewhere_are_refused(classifier, tmp_path):
    strings = np.array(TEXTS, object)
    folder = testing.text_saved_model(tmp_path / "text", words=["good", "bad"])
    module = models.text_classifier(folder, labels=["a", "b"])
    with pytest.raises(InputError, match="read by 'backbone', a HubLayer, .* Export a SavedModel instead"):
        export.tflite(module, tmp_path / "model.tflite", samples=strings)
    inputs = keras.Input((), dtype="string")
    lengths = keras.layers.Hashing(10, name="hash")(inputs)
    both = keras.layers.Flatten()(keras.layers.Embedding(99, 1)(vectorizing()(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(1)(both) + keras.ops.cast(lengths, "float32")[:, None])
    with pytest.raises(InputError, match="its texts are read by 'hash' too"):
        export.tflite(model, tmp_path / "model.tflite", samples=strings)
    with pytest.raises(InputError, match="finds no range for token ids"):
        export.tflite(classifier, tmp_path / "m.tflite", samples=strings, quantize="int16x8", representative=strings)


def test_tokenize_says_when_a_file_takes_no_texts(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    export.tflite(model, tmp_path / "model.tflite", samples=np.ones((2, 2), "float32"))
    with pytest.raises(InputError, match="has no vocabulary"):
        export.tokenize(tmp_path / "model.tflite", ["a"])
