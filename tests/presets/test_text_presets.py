"""Folders of pretrained text encoders are read, or refused in one sentence, before TensorFlow starts."""

import json

import numpy as np
import pytest
from pretrained_folders import write_json, write_safetensors
from text_encoder_folders import BERT, DISTIL_BERT, VOCABULARY, tensors, write_encoder

from kerastrain.errors import InputError
from kerastrain.presets import encoder_lengths, encoders
from kerastrain.presets.sentence_transformers import Pooling, pooling
from kerastrain.presets.text_presets import read_text

pytest.importorskip("keras_hub")
tokenizers = pytest.importorskip("tokenizers")

TEXT = "A good film, great!"


def ids_of(folder):
    return read_text(folder).tokens.ids([TEXT])[0]


def written_tokenizer(lowercase=True):
    vocabulary = {token: index for index, token in enumerate(VOCABULARY)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def test_vocabulary_is_read_from_vocab_txt_or_tokenizer_json(tmp_path):
    from_lines = write_encoder(tmp_path / "lines")
    expected = [2, *(VOCABULARY.index(token) for token in ("a", "good", "film", ",", "great", "!")), 3]
    assert ids_of(from_lines) == expected
    from_json = write_encoder(tmp_path / "json")
    (from_json / "vocab.txt").unlink()
    (from_json / "tokenizer_config.json").unlink()
    tokenizer = written_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(from_json / "tokenizer.json"))
    assert ids_of(from_json) == expected


def test_the_whole_vocabulary_counts_beside_a_tokenizer_of_special_tokens_only(tmp_path):
    folder = write_encoder(tmp_path / "both")
    few = {token: index for index, token in enumerate(VOCABULARY[:5])}
    tokenizers.Tokenizer(tokenizers.models.WordPiece(few, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    assert len(read_text(folder).tokens.vocabulary) == len(VOCABULARY)


def test_a_tokenizer_with_other_rules_is_refused(tmp_path):
    folder = write_encoder(tmp_path / "odd")
    tokenizer = written_tokenizer()
    tokenizer.normalizer = tokenizers.normalizers.Replace("good", "bad")
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(
        InputError, match="its tokenizer.json has rules that kerastrain does not know: it reads 'A moving"
    ):
        read_text(folder)


def test_a_vocabulary_that_is_cut_off_or_of_another_network_is_refused(tmp_path):
    folder = write_encoder(tmp_path / "cut")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY[:3]), encoding="utf-8")
    with pytest.raises(InputError, match="the vocabulary of 3 tokens lacks .*the sep_token"):
        read_text(folder)
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]), encoding="utf-8")
    with pytest.raises(
        InputError, match=f"has {len(VOCABULARY) + 1} tokens, and the network {len(VOCABULARY)} embeddings"
    ):
        read_text(folder)


def test_sizes_are_read_by_each_library_s_keys(tmp_path):
    for name, config in {"bert": BERT, "distilbert": DISTIL_BERT}.items():
        network = read_text(write_encoder(tmp_path / name, config)).network
        assert (network.width, network.intermediate, network.num_layers, network.num_heads) == (16, 24, 2, 2)
        assert (network.positions, network.activation, network.dropout) == (24, "gelu", 0.0)


def test_what_is_no_block_of_bert_is_refused(tmp_path):
    cases = {
        "position_embedding_type": ("relative_key", "reads bert networks with position_embedding_type='absolute'"),
        "is_decoder": (True, "reads bert networks with is_decoder=False"),
        "hidden_act": ("swiglu", "unknown activation in config.json 'swiglu'"),
        "num_attention_heads": (3, "must be a multiple of the number of attention heads. Received: 16 and 3"),
        "intermediate_size": (25, r"must have the shape \(25, 16\). Received: \(24, 16\)"),
        "num_hidden_layers": (3, "the weights lack 'encoder.layer.2.attention.self.query.weight'"),
        "hidden_size": (None, "config.json must hold hidden_size or dim, a whole number above 0. Received: nothing"),
    }
    for key, (value, message) in cases.items():
        folder = write_encoder(tmp_path / key, {**BERT, key: value}, values=tensors(BERT))
        with pytest.raises(InputError, match=message):
            read_text(folder)


def test_weights_of_a_model_with_a_head_and_of_old_names_are_found(tmp_path):
    values = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma"): value for name, value in tensors(BERT, "bert.").items()
    }
    values = {name.replace("LayerNorm.bias", "LayerNorm.beta"): value for name, value in values.items()}
    values["cls.predictions.bias"] = np.zeros(3, np.float32)
    old, new = (
        read_text(write_encoder(tmp_path / name, values=given)) for name, given in (("old", values), ("new", None))
    )
    of_old, of_new = (dict(encoders.weights(source.preset, source.network)) for source in (old, new))
    assert of_old.keys() == of_new.keys()
    for name, value in of_new.items():
        np.testing.assert_array_equal(of_old[name], value)


def test_weights_of_another_network_are_refused(tmp_path):
    folder = write_encoder(tmp_path / "other")
    write_safetensors(folder / "model.safetensors", {"conv.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(
        InputError, match="the weights hold no 'embeddings.word_embeddings.weight', so they are not those"
    ):
        read_text(folder)


def test_pooling_is_what_sentence_transformers_wrote(tmp_path):
    assert pooling(tmp_path) == Pooling(("mean",))
    parts = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")]
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in parts]
    (tmp_path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(InputError, match="is half downloaded: it holds no 1_Pooling/config.json"):
        pooling(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    file = tmp_path / "1_Pooling" / "config.json"
    write_json(
        file, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": False}
    )
    assert pooling(tmp_path) == Pooling(("cls", "mean"), True, ("Dense",))
    write_json(file, {"pooling_mode": "cls"})
    assert pooling(tmp_path).modes == ("cls",)
    write_json(file, {"pooling_mode_lasttoken": True})
    with pytest.raises(InputError, match="must pool by cls_token, .*. Received: lasttoken"):
        pooling(tmp_path)


def test_the_default_prompt_is_put_before_every_text_and_said(tmp_path):
    folder = write_encoder(tmp_path / "e5")
    prompts = {"prompts": {"query": "the ", "passage": "a "}}
    write_json(folder / "config_sentence_transformers.json", prompts)
    assert read_text(folder).tokens.prefix == ""
    write_json(folder / "config_sentence_transformers.json", {**prompts, "default_prompt_name": "query"})
    source = read_text(folder)
    assert source.tokens.ids(["film"]) == [[2, VOCABULARY.index("the"), VOCABULARY.index("film"), 3]]
    assert "prefix: 'the ' is put before every text, as the folder says" in source.lines(["film"], None)


def test_sequence_length_is_chosen_from_the_texts_and_said(tmp_path):
    source = read_text(write_encoder(tmp_path / "bert"))
    texts = ["good film"] * 99 + ["film " * 40]
    counts = encoder_lengths.counts(source.tokens, texts)
    assert counts.tolist() == [4] * 99 + [42]
    assert encoder_lengths.chosen(source.preset, source.network, counts) == 8
    assert encoder_lengths.chosen(source.preset, source.network, None) == 24
    write_json(tmp_path / "bert" / "sentence_bert_config.json", {"max_seq_length": 20})
    assert encoder_lengths.chosen(source.preset, source.network, None) == 20
    assert source.lines(texts, None)[1] == (
        "length: a text has 4 to 42 tokens of the encoder, half of the texts at most 4; model.sequence_length is 8, and 1 of "
        "100 training texts is cut (1.0%)"
    )
    with pytest.raises(InputError, match=r"must lie in \[3, 24\], because .* has 24 places for tokens. Received: 25."):
        source.lines(texts, 25)
    assert source.lines(["яяя"], 8)[2].startswith(
        "unknown: 1 of 1 tokens (100.0%) are not in the encoder's vocabulary of 70"
    )
