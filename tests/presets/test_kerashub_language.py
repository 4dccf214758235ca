"""Language models of KerasHub are read as Hugging Face would describe them."""

import json

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from kerashub_language import SIZES, byte_pairs, sentence_pieces, write_backbone, write_preset
from pretrained_folders import write_json

from kerastrain import presets
from kerastrain.errors import InputError
from kerastrain.keras_internals.kerashub_presets import builtin_presets
from kerastrain.presets import decoders, kerashub_decoders, language_folders, language_tokenizers
from kerastrain.system import network

GEMMA_2 = {
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "attention_logit_soft_cap": 50,
    "final_logit_soft_cap": 30,
    "use_sliding_window_attention": True,
    "sliding_window_size": 4,
}
ROPE = {
    "rope_max_wavelength": 500_000,
    "rope_frequency_adjustment_factor": 8.0,
    "rope_low_freq_factor": 1.0,
    "rope_high_freq_factor": 4.0,
    "rope_pretraining_sequence_length": 8,
}
POST_NORMS = {key: GEMMA_2[key] for key in ("use_post_ffw_norm", "use_post_attention_norm")}
SMOLLM = {
    **{key: SIZES[key] for key in ("num_key_value_heads", "hidden_dim", "intermediate_dim")},
    "num_layers": 4,
    "num_attention_heads": 4,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True, True, True, False],
    "layer_types": ["full_attention"] * 4,
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 64,
    "rope_theta": 5e6,
    "partial_rotary_factor": 1.0,
}
FAMILIES = {  # name: (class of KerasHub, model type, its settings)
    "llama": ("Llama", "llama", SIZES),
    "llama3": ("Llama3", "llama", {**SIZES, **ROPE, "tie_word_embeddings": True}),
    "mistral": ("Mistral", "mistral", {**SIZES, "rope_scaling_factor": 2.0, "sliding_window": 4, "head_dim": 8}),
    "qwen": ("Qwen", "qwen2", SIZES),
    "qwen_window": (
        "Qwen",
        "qwen2",
        {**SIZES, "tie_word_embeddings": False, "use_sliding_window_attention": True, "sliding_window_size": 4},
    ),
    # KerasHub 0.32 normalizes the heads of Qwen 3 with 1e-5, whatever layer_norm_epsilon is.
    "qwen3": ("Qwen3", "qwen3", {**SIZES, "head_dim": 8, "sliding_window_size": 4, "layer_norm_epsilon": 1e-5}),
    "gemma": ("Gemma", "gemma", {**SIZES, "head_dim": 8}),
    "gemma2": ("Gemma", "gemma2", {**SIZES, **GEMMA_2, "head_dim": 8}),
    "gemma3": (
        "Gemma3",
        "gemma3_text",
        {
            **{**SIZES, "num_layers": 7, "image_size": 16, "head_dim": 8, "vision_encoder": None},
            **{**POST_NORMS, "use_sliding_window_attention": True, "sliding_window_size": 4},
            "global_rope_scaling_factor": 8.0,
        },
    ),
    "smollm3": ("SmolLM3", "smollm3", SMOLLM),
}


def content(name, **settings):
    return {"registered_name": f"keras_hub>{name}Backbone", "config": {"vocabulary_size": 320, **SIZES, **settings}}


@pytest.mark.slow
def test_logits_are_those_of_kerashub(tmp_path):
    pytest.importorskip("keras_hub")
    from kerastrain.language import decoders as models

    for family, (name, model_type, settings) in FAMILIES.items():
        folder = tmp_path / family
        ids, expected = write_backbone(folder, name, vocabulary_size=320, **settings)
        (folder / "tokenizer.json").write_text("{}")
        preset = presets.read(folder, kind="language")
        network = decoders.network(preset)
        assert preset.architecture == model_type
        assert network.tied == (family not in ("llama", "mistral", "qwen_window"))
        found = models.load(preset, network)({"token_ids": ids, "segments": np.ones_like(ids)})
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=family)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama3", "Qwen", "Gemma"])
def test_tokens_are_those_of_kerashub(tmp_path, name):
    pytest.importorskip("keras_hub")
    theirs = write_preset(tmp_path / "preset", name)
    preset = presets.read(tmp_path / "preset", kind="language")
    tokens = language_tokenizers.read(preset)
    language_tokenizers.check_fits(preset, tokens, decoders.network(preset).vocabulary_size)
    texts = ["The capital of France is Paris.", " two  spaces\n\nand don't 12345 ünï 日本 "]
    assert tokens.ids(texts) == [np.asarray(theirs(text)).tolist() for text in texts]
    assert [tokens.text(ids) for ids in tokens.ids(texts)] == texts
    assert tokens.template is None
    assert tokens.adds_begin == (name != "Qwen")


def write_byte_pairs(folder, name="Qwen", **settings):
    assets = folder / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    vocabulary, merges = byte_pairs(name)
    write_json(folder / "config.json", content(name, tie_word_embeddings=True))
    write_json(folder / "tokenizer.json", {"config": {"unsplittable_tokens": ["<|endoftext|>"], **settings}})
    write_json(assets / "vocabulary.json", vocabulary)
    (assets / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    return folder


def write_weights(folder):
    """The weights of the preset of `write_byte_pairs` as Keras stores them, in two files."""
    import h5py

    width, sizes = SIZES["hidden_dim"], {"key": 2, "query": 4, "value": 2}
    whole = {"reversible_embedding/vars/0": (320, width), "qwen_layer_norm/vars/0": (width,)}
    for suffix in ("", "_1"):
        block = f"qwen_transformer_decoder{suffix}"
        for name, heads in sizes.items():
            whole[f"{block}/_self_attention_layer/_{name}_dense/vars/0"] = (width, heads, 4)
            whole[f"{block}/_self_attention_layer/_{name}_dense/vars/1"] = (heads, 4)
        whole[f"{block}/_self_attention_layer/_output_dense/vars/0"] = (4, 4, width)
        for name in ("gate", "intermediate"):
            whole[f"{block}/_feedforward_{name}_dense/vars/0"] = (width, 24)
        whole[f"{block}/_feedforward_output_dense/vars/0"] = (24, width)
        whole |= {f"{block}/_{name}_layernorm/vars/0": (width,) for name in ("self_attention", "feedforward")}
    random, parts = np.random.default_rng(0), {"model_00000.weights.h5": [], "model_00001.weights.h5": []}
    values = {name: random.normal(size=shape).astype("float32") for name, shape in whole.items()}
    for index, name in enumerate(values):
        parts[f"model_0000{index % 2}.weights.h5"].append(name)
    for file_name, names in parts.items():
        with h5py.File(folder / file_name, "w") as file:
            for name in names:
                file[f"layers/{name}"] = values[name]
    write_json(folder / "model.weights.json", {"weight_map": {"/layers/a": list(parts)}})
    return values


def read(folder):
    preset = presets.read(folder, kind="language", needs_weights=False)
    return preset, language_tokenizers.read(preset)


def test_a_folder_of_hugging_face_is_written_of_a_preset(tmp_path):
    folder = write_byte_pairs(tmp_path / "preset")
    (folder / "LICENSE").write_text("free")
    preset, tokens = read(folder)
    assert preset.notes == (
        "backbone: the files of KerasHub do not say how long texts may be; taken as 32,768 tokens, for which qwen2 was trained",
    )
    assert list(tokens.specials) == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    template = "{{ messages[0].content }}<|im_end|>"
    (tmp_path / "written").mkdir()
    language_folders.write(tmp_path / "written", preset, tokens.with_template(template))
    written = {path.name for path in (tmp_path / "written").iterdir()}
    names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert written == {*names, "LICENSE"}
    generation = json.loads((tmp_path / "written/generation_config.json").read_text())
    assert generation["eos_token_id"] == [tokens.end, tokens.end + 2]
    again, others = read(tmp_path / "written")
    assert (again.origin, again.architecture, again.notes) == ("transformers", "qwen2", ())
    assert decoders.network(again) == decoders.network(preset)
    assert others.template == template
    assert (others.content, others.end, others.stops) == (tokens.content, tokens.end, (tokens.end, tokens.end + 2))
    assert others.ids(["Paris is 12 <|im_end|>"]) == tokens.ids(["Paris is 12 <|im_end|>"])
    assert json.loads((tmp_path / "written/config.json").read_text())["eos_token_id"] == tokens.end


def test_what_is_not_built_is_refused(tmp_path):
    cases = {
        "use_query_key_norm=False, and gemma3_text is built with use_query_key_norm=True only": content(
            "Gemma3", head_dim=8, use_query_key_norm=False, **POST_NORMS
        ),
        "final_logit_soft_cap=30, and gemma is built with final_logit_soft_cap=None only": content(
            "Gemma", head_dim=8, final_logit_soft_cap=30
        ),
        "partial_rotary_factor=0.5, and smollm3": content("SmolLM3", **{**SMOLLM, "partial_rotary_factor": 0.5}),
        "layer_types=['sliding_attention'], and smollm3 is built with full attention only": content(
            "SmolLM3", **{**SMOLLM, "layer_types": ["sliding_attention"] * 4}
        ),
    }
    for message, config in cases.items():
        with pytest.raises(InputError) as raised:
            kerashub_decoders.config("x", config, {})
        assert message in str(raised.value)
    write_json(tmp_path / "config.json", content("GPT2"))
    with pytest.raises(InputError, match="must be a language model that kerastrain builds: .*'GPT2Backbone'"):
        presets.read(tmp_path, kind="language")
    for name, value, message in (
        ("vision_encoder", {"class_name": "x"}, "the part for texts is used, without the image encoder"),
        ("dropout", 0.1, "the dropout of KerasHub's layers is left out; fine_tune.lora_dropout has one"),
        ("query_head_dim_normalize", False, "as config.json says; KerasHub 0.32 takes head_dim"),
    ):
        assert any(
            message in note for note in kerashub_decoders.notes(content("Gemma3", **POST_NORMS, **{name: value}))
        )


def test_tokenizers_that_cannot_be_described_are_refused(tmp_path):
    folder = write_byte_pairs(tmp_path / "preset")
    (folder / "assets/tokenizer/merges.txt").write_text("ab cd\n")
    with pytest.raises(
        InputError, match=r"vocabulary.json and merges.txt do not belong together \(.*\). Copy both of one"
    ):
        read(folder)
    (folder / "assets/tokenizer/merges.txt").unlink()
    with pytest.raises(InputError, match=r"half downloaded: it holds no assets/tokenizer/merges.txt, the vocabulary"):
        read(folder)
    pytest.importorskip("sentencepiece")
    write_json(folder / "config.json", content("Gemma", head_dim=8))
    cases = ({"model_type": "UNIGRAM"}, "other pieces"), ({"normalization_rule_name": "nfkc"}, "the rule nfkc")
    for options, received in cases:
        (folder / "assets/tokenizer/vocabulary.spm").write_bytes(sentence_pieces(**options))
        with pytest.raises(
            InputError, match=f"must be of byte pairs, and leave texts as they are. Received: {received}."
        ):
            read(folder)


def test_weights_in_several_files_are_turned(tmp_path):
    folder = write_byte_pairs(tmp_path / "preset")
    values = write_weights(folder)
    preset = presets.read(folder, kind="language")
    found = dict(decoders.weights(preset, decoders.network(preset)))
    layer = "qwen_transformer_decoder_1/_self_attention_layer/_{}_dense/vars/{}"
    np.testing.assert_array_equal(found["block_1/query/kernel"], values[layer.format("query", 0)].reshape(16, 16))
    np.testing.assert_array_equal(found["block_1/key/bias"], values[layer.format("key", 1)].reshape(8))
    np.testing.assert_array_equal(
        found["block_1/attention_output/kernel"], values[layer.format("output", 0)].reshape(16, 16)
    )
    np.testing.assert_array_equal(found["embedding/embeddings"], values["reversible_embedding/vars/0"])
    assert "embedding/reverse_embeddings" not in found
    content = json.loads((folder / "config.json").read_text())
    content["config"]["intermediate_dim"] = 32
    write_json(folder / "config.json", content)
    with pytest.raises(
        InputError, match=r"config.json and the weights do not belong together: 'model.layers.0.mlp.gate_proj.w"
    ):
        decoders.network(presets.read(folder, kind="language"))


def test_presets_are_read_from_the_caches_of_kaggle_and_hugging_face(tmp_path, monkeypatch):
    pytest.importorskip("kagglehub")
    pytest.importorskip("keras_hub")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(network, "reachable", lambda *_: False)
    name = "qwen2.5_0.5b_en"
    with pytest.raises(ConnectionError, match=f"'kerashub:{name}' is not in the cache of Kaggle"):
        presets.read(f"kerashub:{name}", kind="language")
    address = builtin_presets()[name].address.removeprefix("kaggle://")
    kaggle = tmp_path / "kaggle" / "models" / address
    commit = "0123456789abcdef0123456789abcdef01234567"
    base = tmp_path / "hf" / "models--keras--qwen"
    for folder in (kaggle, base / "snapshots" / commit):
        write_weights(write_byte_pairs(folder))
    kaggle.with_name(kaggle.name + ".complete").touch()
    (base / "refs").mkdir()
    (base / "refs/main").write_text(commit)
    for handle in (f"kerashub:{name}", "hf:keras/qwen"):
        preset = presets.fetch(presets.read(handle, kind="language"))
        assert (preset.architecture, preset.is_fetched, preset.handle) == ("qwen2", True, handle)
        assert len(dict(decoders.weights(preset, decoders.network(preset)))) == 26
        assert language_tokenizers.read(preset).text([10, 11])
