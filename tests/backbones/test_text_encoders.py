"""Pretrained text encoders as backbones: their values, their files, and which of their layers train."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from pretrained_folders import write_json
from text_encoder_folders import BERT, BLOCKS, DISTIL_BERT, VOCABULARY, hidden_states, tensors, write_encoder

from kerastrain import backbones, memory, models, optimizers, transfer
from kerastrain.backbones import text_encoders
from kerastrain.errors import InputError

keras_hub = pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

TEXTS = ["A good film, great!", "dull", "", "the story was bad. is it?"]
ROBERTA = {**BERT, "model_type": "roberta", "vocab_size": 300, "type_vocab_size": 1, "pad_token_id": 1}


def tokens_of(model):
    layer = model.get_layer("tokens")
    return np.asarray(layer(tf.constant(TEXTS))), layer.tokens.pad


def last_block(model):
    return keras.Model(model.input, model.get_layer(f"block_{BLOCKS - 1}").output)(tf.constant(TEXTS)).numpy()


def test_an_encoder_is_described_with_what_its_files_say(tmp_path):
    described = backbones.describe(str(write_encoder(tmp_path / "bert")))
    network = f"a bert network of {BLOCKS} blocks, {BERT['hidden_size']} wide"
    assert described["facts"] == [f"{network}; a text's vector is the mean over its tokens"]


def test_hidden_states_and_features_are_those_of_the_formulas(tmp_path):
    prefix = "bert."
    for name, config in {"bert": BERT, "distilbert": DISTIL_BERT, "roberta": ROBERTA}.items():
        model = text_encoders.load(write_encoder(tmp_path / name, config, prefix=prefix), texts=TEXTS)
        (ids, pad), values, features = tokens_of(model), last_block(model), model(tf.constant(TEXTS)).numpy()
        for row, value, feature in zip(ids, values, features, strict=True):
            expected = hidden_states(config, tensors(config, prefix), row[row != pad], pad, prefix)
            np.testing.assert_allclose(value[: len(expected)], expected, atol=1e-5)
            np.testing.assert_allclose(feature, expected.mean(axis=0), atol=1e-5)


def test_a_saved_model_needs_no_folder(tmp_path):
    folder = write_encoder(tmp_path / "bert")
    model = text_encoders.load(folder, texts=TEXTS)
    expected = model(tf.constant(TEXTS)).numpy()
    model.save(tmp_path / "model.keras")
    for file in folder.iterdir():
        file.unlink()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(tf.constant(TEXTS)).numpy(), expected)
    assert not loaded.trainable_weights


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Bert", "DistilBert", "Electra", "Roberta"])
def test_presets_of_kerashub_answer_as_kerashub_does(tmp_path, name):
    keras.utils.set_random_seed(3)
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12, "max_sequence_length": 16}
    sizes |= {"vocab_size": 70, "embedding_dim": 4} if name == "Electra" else {"vocabulary_size": 70}
    original = getattr(keras_hub.models, f"{name}Backbone")(**sizes, dropout=0.0)
    for weight in original.weights:
        weight.assign(weight + 0.3 * np.random.default_rng(len(weight.path)).normal(size=weight.shape))
    original.save_to_preset(tmp_path / "preset")
    vocabulary = {"vocabulary": VOCABULARY[:70]}
    if name == "Roberta":
        letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefgh", "Ġ", "ab"]
        vocabulary = {"vocabulary": {token: index for index, token in enumerate(letters)}, "merges": ["a b"]}
    getattr(keras_hub.models, f"{name}Tokenizer")(**vocabulary).save_to_preset(tmp_path / "preset")
    model = text_encoders.load(tmp_path / "preset")
    assert model.get_layer("tokens").sequence_length == 16
    ids, pad = tokens_of(model)
    inputs = {"token_ids": ids, "padding_mask": (ids != pad).astype("int32"), "segment_ids": np.zeros_like(ids)}
    expected = original({key: inputs[key] for key in original.input})
    expected = np.asarray(expected["sequence_output"] if isinstance(expected, dict) else expected)
    np.testing.assert_allclose(last_block(model)[ids != pad], expected[ids != pad], atol=2e-6)


def test_pooling_and_prefix_of_sentence_transformers_are_in_the_model(tmp_path):
    folder = write_encoder(tmp_path / "bert")
    plain = text_encoders.load(folder, texts=TEXTS)
    parts = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in parts]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    prompts = {"prompts": {"query": "the "}, "default_prompt_name": "query"}
    write_json(folder / "config_sentence_transformers.json", prompts)
    model = text_encoders.load(folder, texts=TEXTS)
    first = last_block_of(plain, [f"the {text}" for text in TEXTS])[:, 0]
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(model(tf.constant(TEXTS)).numpy(), expected, atol=1e-5)


def last_block_of(model, texts):
    return keras.Model(model.input, model.get_layer(f"block_{BLOCKS - 1}").output)(tf.constant(texts)).numpy()


def test_blocks_unfreeze_from_the_end_and_rates_fall_by_block(tmp_path):
    backbone = text_encoders.load(write_encoder(tmp_path / "bert"), texts=TEXTS)
    model = models.text_classifier(backbone, labels=["bad", "good"])
    assert [weight.path for weight in model.trainable_weights] == ["logits/kernel", "logits/bias"]
    models.unfreeze(model, last=1)
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"block_1", "logits"}
    models.unfreeze(model)
    rates = transfer.freezing.layer_rates(model, 0.5)
    assert rates[r"^block_1/query/kernel$"] == 0.5
    assert rates[r"^embedding/tokens/embeddings$"] == 0.125


@pytest.mark.slow
def test_lora_trains_pairs_beside_the_frozen_kernels_of_every_block(tmp_path):
    backbone = text_encoders.load(write_encoder(tmp_path / "bert"), texts=TEXTS)
    model = models.text_classifier(backbone, labels=["bad", "good"], dropout=0.0)
    before = model(tf.constant(TEXTS)).numpy()
    assert models.add_lora(model, 2) == 2 + 6 * BLOCKS
    np.testing.assert_allclose(model(tf.constant(TEXTS)).numpy(), before, atol=1e-6)
    trained = {weight.path.rpartition("/")[2] for weight in backbone.trainable_weights}
    assert trained == {"bias", "lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b"}
    kernel = backbone.get_layer("block_0").query_dense._kernel.numpy()
    model.compile(optimizers.make("adamw", 0.01), models.loss(model))
    model.fit(tf.constant(TEXTS), np.eye(2)[[1, 0, 0, 1]], epochs=2, verbose=0)
    np.testing.assert_array_equal(backbone.get_layer("block_0").query_dense._kernel.numpy(), kernel)
    assert np.abs(model(tf.constant(TEXTS)).numpy() - before).max() > 1e-3


@pytest.mark.slow
def test_rematerialized_blocks_give_the_same_weights(tmp_path):
    folder, weights = write_encoder(tmp_path / "bert"), []
    for blocks in (None, 3):
        keras.utils.set_random_seed(1)
        model = models.text_classifier(text_encoders.load(folder, texts=TEXTS), labels=["bad", "good"], dropout=0.0)
        models.unfreeze(model)
        model.compile(keras.optimizers.SGD(0.1), models.loss(model), jit_compile=False)
        if blocks:
            memory.remat(model, blocks=blocks)
        model.fit(tf.constant(TEXTS), np.eye(2)[[1, 0, 0, 1]], epochs=2, batch_size=4, shuffle=False, verbose=0)
        weights.append([weight.numpy() for weight in model.weights if weight.path.endswith(("kernel", "gamma"))])
    for plain, recomputed in zip(*weights, strict=True):
        np.testing.assert_allclose(plain, recomputed, atol=1e-6)


def test_half_precision_keeps_the_answers(tmp_path):
    folder = write_encoder(tmp_path / "bert")
    expected = text_encoders.load(folder, texts=TEXTS)(tf.constant(TEXTS)).numpy()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = text_encoders.load(folder, texts=TEXTS)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("block_0").query_dense.kernel.dtype == "float32"
    features = model(tf.constant(TEXTS))
    assert features.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(features, "float32").numpy(), expected, atol=0.1)


def test_a_sequence_longer_than_the_places_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`sequence_length` must lie in \[3, 24\]"):
        text_encoders.load(write_encoder(tmp_path / "bert"), sequence_length=30)
