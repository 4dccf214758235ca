"""Encoders that know distances, MPNet and DeBERTa, and ELECTRA: their values are those of the formulas, pair by pair."""

import io
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from text_encoder_folders import BLOCKS, DEBERTA, ELECTRA, HEADS, MPNET, hidden_states, tensors, write_encoder

from kerastrain.backbones import text_encoders
from kerastrain.errors import InputError
from kerastrain.presets.text_presets import read_text

keras_hub = pytest.importorskip("keras_hub")
sentencepiece = pytest.importorskip("sentencepiece")
pytest.importorskip("tensorflow_text")

TEXTS = ["a good film , great ! the story was not bad a bit", "dull", ""]


def write_pieces(file):
    """A model of SentencePiece with the special tokens of DeBERTa."""
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 4),
        model_writer=content,
        vocab_size=28,
        **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
        **{"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
        minloglevel=2,
    )
    file.write_bytes(content.getvalue())


def write_deberta(folder, config=DEBERTA):
    write_encoder(folder, config)
    (folder / "vocab.txt").unlink()
    write_pieces(folder / "spm.model")
    return folder


def check(folder, config, scores_of=None):
    """Compares the last block with the formulas."""
    model = text_encoders.load(folder, texts=TEXTS)
    layer = model.get_layer("tokens")
    ids, pad = np.asarray(layer(tf.constant(TEXTS))), layer.tokens.pad
    values = keras.Model(model.input, model.get_layer(f"block_{BLOCKS - 1}").output)(tf.constant(TEXTS)).numpy()
    assert ids.shape[1] > 12  # farther than the last bucket
    for row, value in zip(ids, values, strict=True):
        expected = hidden_states(config, tensors(config), row[row != pad], pad, scores_of=scores_of)
        np.testing.assert_allclose(value[: len(expected)], expected, atol=1e-5)


def test_electra_is_read_as_bert(tmp_path):
    check(write_encoder(tmp_path / "electra", ELECTRA), ELECTRA)


def test_mpnet_adds_the_bias_of_each_distance(tmp_path):
    def bucket(distance):  # of 8: four for each side, 0 and 1 by themselves, from 2 to 128 by the logarithm
        size = abs(distance)
        step = size if size < 2 else min(2 + int(math.log(size / 2) / math.log(128 / 2) * 2), 3)
        return step + 4 * (distance < 0)

    def scores(q, k, found, _, columns):
        bias = found["encoder.relative_attention_bias.weight"][:, columns[0] // (16 // HEADS)]
        values = q @ k.T / math.sqrt(len(columns))
        for i, j in np.ndindex(values.shape):
            values[i, j] += bias[bucket(i - j)]
        return values

    folder = write_encoder(tmp_path / "mpnet", MPNET)
    vocabulary = (folder / "vocab.txt").read_text().split("\n")
    (folder / "vocab.txt").write_text("\n".join(["<s>", "<pad>", "</s>", *vocabulary[3:]]))
    special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    assert read_text(folder).tokens.ids(["a"])[0][::2] == [0, 2]
    check(folder, MPNET, scores)


def deberta_scores(q, k, found, layers, columns):
    """DeBERTa's equation 4, with the weights of the first two dense layers for the distances too."""

    def bucket(distance):  # 4 of each side: 0 to 2 by themselves, then by the logarithm up to 24 places
        size = abs(distance)
        step = size if size <= 2 else math.ceil(math.log(size / 2) / math.log(23 / 2) * 1) + 2
        return int(np.clip(math.copysign(step, distance) + 4, 0, 7))

    vectors = found["encoder.rel_embeddings.weight"]
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    vectors = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    vectors = vectors * found["encoder.LayerNorm.weight"] + found["encoder.LayerNorm.bias"]
    query, key = ((vectors @ found[f"{layer}.weight"].T + found[f"{layer}.bias"])[:, columns] for layer in layers)
    values = np.empty((len(q), len(k)))
    for i, j in np.ndindex(values.shape):
        row = bucket(i - j)
        values[i, j] = (q[i] @ k[j] + q[i] @ key[row] + k[j] @ query[row]) / math.sqrt(3 * len(columns))
    return values


def test_deberta_compares_tokens_with_distances(tmp_path):
    folder = write_deberta(tmp_path / "deberta")
    assert read_text(folder).tokens.ids([""]) == [[1, 2]]
    check(folder, DEBERTA, deberta_scores)


def test_a_model_with_distances_is_saved_and_opened(tmp_path):
    for name, write in {"deberta": write_deberta, "mpnet": lambda folder: write_encoder(folder, MPNET)}.items():
        model = text_encoders.load(write(tmp_path / name), texts=TEXTS)
        model.save(tmp_path / f"{name}.keras")
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(loaded(tf.constant(TEXTS)).numpy(), model(tf.constant(TEXTS)).numpy())


def test_pieces_outlive_the_caches_of_tensorflow(tmp_path):
    layer = text_encoders.load(write_deberta(tmp_path / "deberta")).get_layer("tokens")
    expected = np.asarray(layer(tf.constant(TEXTS)))
    tf.random.set_seed(1)  # clears the caches
    np.testing.assert_array_equal(layer(tf.constant(TEXTS)), expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [("share_att_key", False), ("conv_kernel_size", 3), ("position_biased_input", True), ("pos_att_type", "c2p")],
)
def test_another_deberta_is_refused_with_its_key(tmp_path, key, value):
    folder = write_deberta(tmp_path / "deberta", {**DEBERTA, key: value})
    with pytest.raises(
        InputError, match=rf"reads deberta-v2 networks with {key}.*Received: '?{value}'? in config\.json"
    ):
        read_text(folder)


def test_deberta_needs_its_pieces(tmp_path):
    folder = write_deberta(tmp_path / "deberta")
    (folder / "spm.model").unlink()
    with pytest.raises(InputError, match=r"holds no tokenizer \(spm\.model\)"):
        read_text(folder)


@pytest.mark.slow
def test_a_preset_of_kerashub_answers_as_kerashub_does(tmp_path):
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12, "max_sequence_length": 16}
    original = keras_hub.models.DebertaV3Backbone(vocabulary_size=40, **sizes, bucket_size=4, dropout=0.0)
    random = np.random.default_rng(5)
    for weight in original.weights:
        weight.assign(weight + 0.3 * random.normal(size=weight.shape))
    original.save_to_preset(tmp_path / "preset")
    write_pieces(tmp_path / "spm.model")
    keras_hub.models.DebertaV3Tokenizer(str(tmp_path / "spm.model")).save_to_preset(tmp_path / "preset")
    model = text_encoders.load(tmp_path / "preset")
    ids = np.asarray(model.get_layer("tokens")(tf.constant(TEXTS)))
    expected = np.asarray(original({"token_ids": ids, "padding_mask": (ids != 0).astype("int32")}))
    values = keras.Model(model.input, model.get_layer("block_1").output)(tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(values[ids != 0], expected[ids != 0], atol=2e-6)
