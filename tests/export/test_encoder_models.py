"""Exported files of models with a pretrained text encoder: tiny encoders of KerasHub with tokenizers of each kind."""

import base64
import io
import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import data, export, models
from kerastrain.errors import InputError
from kerastrain.export import litert, metadata, onnx_files
from kerastrain.tokenization.encoder_tokens import EncoderTokens

keras_hub = pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")
tokenizers = pytest.importorskip("tokenizers")

from kerastrain.layers.encoder_pieces import byte_letters  # noqa: E402
from kerastrain.layers.encoder_text import EncoderTokenizer, TokenPooling  # noqa: E402

LENGTH = 12
TEXTS = [
    "A moving, wonderful story!",
    "dull; dull, dull...",
    "",
    "?!",
    "Café – naïve it's\ttwo\nlines",
    "a " * 30 + "z",
]
ODD = [
    "",
    " ",
    "東京。日本語",
    "ΣΊΣΥΦΟΣ straße ẞ İ",
    "😀👩‍👩‍👧 ok👍🏽",
    "a\u200bb\u00adc\ufffdd",
    "e\u0301te\u0301",
    "x" * 100,
    "x" * 101,
    "y" * 3000,
    "\u00a0nb\u3000sp",
    "[CLS] a [SEP] <s> </s>",
    "##ing ``q''",
    "ภาษาไทย שלום العربية",
    "1½ ① ﬁ",
]


class Masks(keras.layers.Layer):
    """The mask and the segments of token ids."""

    def __init__(self, pad, **options):
        super().__init__(**options)
        self.pad = pad

    def call(self, ids):
        return keras.ops.cast(ids != self.pad, "int32"), keras.ops.zeros_like(ids)

    def compute_output_spec(self, ids):
        return keras.KerasTensor(ids.shape, "int32"), keras.KerasTensor(ids.shape, "int32")


def word_pieces():
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["a", "story", "mov", "##ing", "dull", "cafe", "京", "!", ",", ".", "?", "##s", "[", "]"]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *words,
        *letters[1:],
        *(f"##{letter}" for letter in letters),
    ]
    return EncoderTokens("word_pieces", 2, 3, 0, 1, list(dict.fromkeys(vocabulary)), lowercase=True, strip_accents=True)


def byte_pairs():
    merges = ["Ġ d", "u l", "ul l", "Ġd ull", "s t", "o r", "st or", "Ġ stor", "Ġstor y"]
    joined = [merge.replace(" ", "") for merge in merges]
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), *joined]
    return EncoderTokens("byte_pairs", 0, 2, 1, 3, vocabulary, merges=merges)


def sentence_pieces():
    sentencepiece = pytest.importorskip("sentencepiece")
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXTS[:2] * 20, *ODD[2:5]]),
        model_writer=proto,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=-1,
        minloglevel=2,
    )
    return EncoderTokens("sentence_pieces", 0, 2, 1, 3, proto=proto.getvalue(), offset=1)


KINDS = {
    "word_pieces": (word_pieces, "BertBackbone"),
    "byte_pairs": (byte_pairs, "RobertaBackbone"),
    "sentence_pieces": (sentence_pieces, "XLMRobertaBackbone"),
}


def classifier(kind):
    keras.utils.set_random_seed(0)
    make_tokens, network = KINDS[kind]
    tokens = make_tokens()
    encoder = getattr(keras_hub.models, network)(
        vocabulary_size=max(len(tokens.vocabulary), 80),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=LENGTH + 4,
    )
    for weight in encoder.weights:  # as far apart as trained ones, so that a wrong token shows
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape))
    strings = keras.Input((), dtype="string", name="strings")
    ids = EncoderTokenizer(tokens, LENGTH, name="tokens")(strings)
    mask, segments = Masks(tokens.pad, name="masks")(ids)
    inputs = {"token_ids": ids, "padding_mask": mask, "segment_ids": segments}
    outputs = encoder({name: inputs[name] for name in encoder.input})
    outputs = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    backbone = keras.Model(strings, TokenPooling(("mean",), name="pooling")(outputs, mask), name="backbone")
    return models.text_classifier(backbone, labels=["bad", "good"])


def tokenizer_of(model):
    return model.get_layer("backbone").get_layer("tokens")


def expected_ids(model, texts):
    ids = np.asarray(tokenizer_of(model)(tf.constant(texts)))
    return np.pad(ids, [(0, 0), (0, LENGTH - ids.shape[1])], constant_values=tokenizer_of(model).tokens.pad)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tflite_and_onnx_take_the_ids_that_they_describe_and_answer_as_the_model(kind, tmp_path):
    pytest.importorskip("tf2onnx")
    model, samples = classifier(kind), np.array(TEXTS, object)
    expected = model.predict(tf.constant(TEXTS), verbose=0)
    for write, run, path in (
        (export.tflite, litert.run, tmp_path / "model.tflite"),
        (export.onnx, onnx_files.run, tmp_path / "model.onnx"),
    ):
        assert write(model, path, samples=samples).relative_difference < 1e-5
        np.testing.assert_array_equal(export.tokenize(path, TEXTS), expected_ids(model, TEXTS))
        np.testing.assert_array_equal(export.tokenize(path, ODD), expected_ids(model, ODD))
        np.testing.assert_allclose(run(path, export.tokenize(path, TEXTS)), expected, rtol=1e-4, atol=1e-4)
    packed = metadata.packed_files((tmp_path / "model.tflite").read_bytes())
    read_by = json.loads(packed["tokens.json"])["read_by"]
    assert (tmp_path / f"model.{read_by}").read_text(encoding="utf-8") == packed[read_by]
    assert json.loads(onnx_files.properties(path)["input"])["described by"] == ["tokens.json", read_by]
    if kind == "sentence_pieces":
        assert base64.b64decode(packed[read_by]) == tokenizer_of(model).tokens.proto
    else:
        reader = tokenizers.Tokenizer.from_str(packed[read_by])
        assert reader.encode("a dull story").ids == expected_ids(model, ["a dull story"])[0].tolist()


@pytest.mark.slow
def test_onnx_answers_equally_without_the_padding(tmp_path):
    pytest.importorskip("tf2onnx")
    model, path = classifier("word_pieces"), tmp_path / "model.onnx"
    export.onnx(model, path, samples=np.array(TEXTS, object))
    ids = export.tokenize(path, ["a story"])
    assert ids[0].tolist() == [2, 5, 6, 3, *[0] * 8]
    np.testing.assert_allclose(onnx_files.run(path, ids[:, :4]), onnx_files.run(path, ids), rtol=1e-5)


@pytest.mark.slow
def test_dynamic_range_file_answers_as_the_model(tmp_path):
    model, path = classifier("word_pieces"), tmp_path / "model.tflite"
    measured = export.tflite(model, path, samples=np.array(TEXTS, object), quantize="dynamic")
    assert measured.agreement == 1
    assert measured.relative_difference < 0.1


@pytest.mark.slow
def test_saved_model_serves_strings_and_token_ids_where_tensorflow_text_is_imported(tmp_path):
    model, path = classifier("byte_pairs"), tmp_path / "served"
    assert export.saved_model(model, path, samples=np.array(TEXTS, object)).sample_count == 2 * len(TEXTS)
    assert {file.name for file in (path / "assets.extra").iterdir()} >= {"tokens.json", "tokenizer.json", "labels.txt"}
    program = (
        "import sys, json; import tensorflow as tf\n"
        "if sys.argv[2] == 'yes': import tensorflow_text\n"
        "signatures = tf.saved_model.load(sys.argv[1]).signatures\n"
        "texts, ids = json.loads(sys.argv[3])\n"
        "print(json.dumps([signatures['serving_default'](text=tf.constant(texts))['logits'].numpy().tolist(),\n"
        "                  signatures['tokens'](tokens=tf.constant(ids))['logits'].numpy().tolist()]))"
    )
    inputs = json.dumps([TEXTS[:2], [row.tolist() for row in expected_ids(model, TEXTS[:2])]])
    runs = {
        name: subprocess.run([sys.executable, "-c", program, path, name, inputs], capture_output=True, text=True)
        for name in ("yes", "no")
    }
    expected = model.predict(tf.constant(TEXTS[:2]), verbose=0)
    for outputs in json.loads(runs["yes"].stdout):
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert "Op type not registered" in runs["no"].stderr


def test_texts_that_the_described_tokenizer_reads_differently_are_refused(tmp_path, monkeypatch):
    model = classifier("word_pieces")
    words = tokenizers.models.WordLevel({"[PAD]": 0, "[CLS]": 2, "[SEP]": 3, "a": 5}, "[PAD]")
    monkeypatch.setattr(EncoderTokens, "tokenizer", lambda self: tokenizers.Tokenizer(words))
    with pytest.raises(InputError, match="read 5 of 6 texts differently, such as 'A moving, wonderful story!'"):
        export.tflite(model, tmp_path / "model.tflite", samples=np.array(TEXTS, object))
    assert list(tmp_path.iterdir()) == []


def test_long_words_are_read_like_by_the_library_and_take_few_steps():
    tokens = byte_pairs()
    texts = ["dullstory" * 600, "d" * 5000, "story", "ull" * 1700 + " dull"]
    layer = EncoderTokenizer(tokens, 700)
    start = time.perf_counter()
    pieces = layer.pieces(tf.constant(texts)).to_list()
    assert time.perf_counter() - start < 10
    assert [row[:700] for row in pieces] == [row[1:701] for row in map(lambda ids: ids[:-1], tokens.ids(texts))]


def test_a_pair_that_comes_before_the_one_that_makes_its_part_is_joined_first():
    # After "a b" at the first place, "ab a" comes before the second place.
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), "ab", "aba", "bb"]
    tokens = EncoderTokens("byte_pairs", 0, 2, 1, 3, vocabulary, merges=["ab a", "a b", "b b"])
    texts = ["abab", "ababab", "aabbab", "babbab"]
    expected = [row[1:-1] for row in tokens.ids(texts)]
    assert [vocabulary[token] for token in expected[0]] == ["aba", "b"]
    assert EncoderTokenizer(tokens, LENGTH).pieces(tf.constant(texts)).to_list() == expected


def test_a_batch_is_padded_to_its_longest_text_and_lengths_are_counted():
    model = classifier("word_pieces")
    assert tokenizer_of(model)(tf.constant(["a", "a story"])).shape == (2, 4)
    assert models.text_lengths(model, np.array(["a story", "", "a " * 30], object)).tolist() == [4, 2, 12]
    assert models.text_lengths(model, np.array([["a", "a story"], ["", ""]], object)).tolist() == [4, 2]
    fixed = EncoderTokenizer(word_pieces(), LENGTH, fixed_length=True)
    assert fixed(tf.constant(["a"])).shape == (1, LENGTH)
    strings = keras.Input((), dtype="string")
    assert models.text_lengths(keras.Model(strings, fixed(strings)), np.array(["a"], object)) is None


@pytest.mark.slow
def test_features_of_bucketed_texts_are_those_of_the_texts_alone():
    model = classifier("word_pieces")
    features = models.split_at_backbone(model)[0]
    texts = np.array([" ".join(["a", "story", "dull"] * (number % 4) + ["x"]) for number in range(30)], object)
    examples = data.Examples(np.zeros(30, np.int64), ("bad", "good"), texts)
    lengths = models.text_lengths(model, texts)
    bucketed = data.features.precompute(features, examples, 4, lengths=lengths).inputs
    alone = np.concatenate([features(tf.constant([text])) for text in texts])
    np.testing.assert_allclose(bucketed, alone, rtol=1e-4, atol=1e-5)
