"""Folders of language models and their tokenizers are read, or refused in one sentence, before TensorFlow starts."""

import json

import pytest

pytest.importorskip("tokenizers")

from language_folders import CHATML, SPECIALS, tokenizer, write_language_model
from pretrained_folders import write_images, write_json, write_safetensors

from kerastrain import presets
from kerastrain.errors import InputError
from kerastrain.presets import decoders, language_folders, language_tokenizers
from kerastrain.presets.safetensors import Tensors

BUILT = "gemma, gemma2, gemma3, gemma3_text, llama, mistral, qwen2, qwen3, smollm3"


def refusal(folder, kind="language"):
    with pytest.raises(InputError) as raised:
        language_tokenizers.read(presets.read(folder, kind=kind), needs_template=True)
    return str(raised.value)


def tokens_of(folder):
    return language_tokenizers.read(presets.read(folder, kind="language"))


def changed(folder, name="tokenizer_config.json", **settings):
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    write_json(path, {key: value for key, value in {**content, **settings}.items() if value is not None})


def test_a_folder_is_read_whole(tmp_path):
    preset = presets.read(write_language_model(tmp_path / "llama"), kind="language")
    assert (preset.architecture, preset.family, preset.kind, preset.is_fetched) == ("llama", "llama3", "language", True)
    network = decoders.network(preset)
    assert preset.tensors[decoders.names(network)["embedding/embeddings"]] == (network.vocabulary_size, 16)
    tokens = language_tokenizers.read(preset)
    assert (tokens.begin, tokens.end, tokens.pad, tokens.adds_begin) == (3, 4, 0, False)
    assert tokens.stops == (SPECIALS.index("</s>"), SPECIALS.index("<|im_end|>"))
    assert tokens.template == CHATML
    assert tokens.names == {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|endoftext|>"}
    language_tokenizers.check_fits(preset, tokens, network.vocabulary_size)
    with pytest.raises(
        InputError, match=r"do not belong together: the tokenizer has 3\d\d tokens, and the network 8 emb"
    ):
        language_tokenizers.check_fits(preset, tokens, 8)


def test_what_the_files_say_of_tokens(tmp_path):
    folder = write_language_model(tmp_path / "llama")
    write_json(folder / "generation_config.json", {"eos_token_id": [4, 2, 0, 9_999]})
    changed(folder, eos_token=None, pad_token=None, add_bos_token=True, bos_token={"content": "<s>", "lstrip": False})
    write_json(folder / "special_tokens_map.json", {"eos_token": {"content": "<|im_end|>"}, "bos_token": "</s>"})
    tokens = tokens_of(folder)
    assert (tokens.begin, tokens.end, tokens.pad, tokens.adds_begin) == (3, 2, 2, False)
    assert tokens.stops == (2, 4, 0)
    changed(folder, add_bos_token=False)
    tokenizer(adds_begin=True).save(str(folder / "tokenizer.json"))
    assert tokens_of(folder).adds_begin


def test_the_template_is_found_where_libraries_write_it(tmp_path):
    folder = write_language_model(tmp_path / "llama", template=None)
    assert tokens_of(folder).template is None
    write_json(folder / "chat_template.json", {"chat_template": "of chat_template.json"})
    assert tokens_of(folder).template == "of chat_template.json"
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "of the list"}]
    changed(folder, chat_template=named)
    assert tokens_of(folder).template == "of the list"
    (folder / "chat_template.jinja").write_text("of chat_template.jinja")
    assert tokens_of(folder).template == "of chat_template.jinja"
    (folder / "chat_template.jinja").unlink()
    changed(folder, chat_template=[named[0], {"name": "rag", "template": "r"}])
    assert "none of its chat templates is called default: tool_use, rag. Write the one" in refusal(folder)
    changed(folder, chat_template=5)
    assert "chat_template in tokenizer_config.json must be a text. Received: int." in refusal(folder)


def test_tokens_that_do_not_exist_are_refused(tmp_path):
    folder = write_language_model(tmp_path / "llama")
    changed(folder, eos_token="<|eot_id|>")
    assert "the tokenizer has no token '<|eot_id|>', which tokenizer_config.json names as its eos_token." in refusal(
        folder
    )
    changed(folder, eos_token=None)
    changed(folder, "config.json", eos_token_id=None)
    assert "no file names the token that ends a text. Set eos_token in tokenizer_config.json" in refusal(folder)


def test_incomplete_folders_are_refused(tmp_path):
    folder = write_language_model(tmp_path / "llama")
    content = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    assert "is a pointer of Git LFS instead of the file. Run `git lfs pull` in" in refusal(folder)
    (folder / "tokenizer.json").write_text(content[:500])
    assert "tokenizer.json' is no tokenizer (" in refusal(folder)
    (folder / "tokenizer.json").unlink()
    assert "holds no tokenizer (tokenizer.json), without which texts cannot become tokens." in refusal(folder)
    (folder / "tokenizer.model").write_bytes(b"\n")
    message = refusal(folder)
    assert (
        "holds no tokenizer.json, only the tokenizer in an older format. Make it with the library transformers: "
        in message
    )
    assert f"T.from_pretrained('{folder}').save_pretrained('{folder}')" in message
    (folder / "tokenizer.json").write_text(content)
    (folder / "model.safetensors").unlink()
    assert "holds no model.safetensors, the weights. Download the folder again." in refusal(folder)


def test_other_networks_are_refused_by_name(tmp_path):
    folder = write_language_model(tmp_path / "llama")
    changed(folder, "config.json", model_type="mixtral")
    message = refusal(folder)
    assert f"must be a language model that kerastrain builds: {BUILT}. Received: " in message
    assert message.endswith("a network of the kind 'mixtral'. Give the folder of one of these.")
    changed(folder, "config.json", model_type="bert")
    assert (
        "`model.backbone` must be a language model, which writes text. Received: "
        f"'{folder}', a network of the kind bert. Give the folder of one of {BUILT}, or set data.kind=text."
        in refusal(folder)
    )
    message = refusal(write_images(tmp_path / "timm", "timm_vit"))
    assert message.startswith("`model.backbone` must be a language model, which writes text. Received: ")
    message = refusal("kerashub:llama9_1b")
    assert "unknown preset of KerasHub 'llama9_1b'. It has " in message
    assert ", of gemma, gemma3, llama, llama3, mistral, qwen, qwen3, smollm3. Did you mean 'llama" in message
    message = refusal("kerashub:gpt2_base_en")
    assert "'kerashub:gpt2_base_en' is a network of the family gpt2, which kerastrain does not build" in message


def test_a_language_model_says_which_data_it_is_for(tmp_path):
    message = refusal(write_language_model(tmp_path / "llama"), "text")
    assert message.endswith("mpnet, roberta, xlm-roberta, or set data.kind=chat.")


GEMMA_3 = {"head_dim": 4, "query_pre_attn_scalar": 4, "sliding_window": 3, "hidden_activation": "gelu_pytorch_tanh"}


def test_of_gemma_3_with_images_the_part_for_texts_is_read(tmp_path):
    folder = write_language_model(tmp_path / "gemma", model_type="gemma3_text", num_hidden_layers=7, **GEMMA_3)
    whole = presets.read(folder, kind="language")
    own = json.loads((folder / "config.json").read_text())
    usual = {
        "query_pre_attn_scalar",
        "model_type",
        "architectures",
        "eos_token_id",
        "tie_word_embeddings",
        "hidden_activation",
    }
    inner = {key: value for key, value in own.items() if key not in usual} | {"query_pre_attn_scalar": 4}
    outer = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [4, 2]}
    write_json(folder / "config.json", {**outer, "text_config": inner, "vision_config": {}})
    preset = presets.read(folder, kind="language")
    assert preset.architecture == "gemma3_text"
    assert preset.notes == ("backbone: the part for texts is used, without the image encoder",)
    assert preset.config["architectures"] == ["Gemma3ForCausalLM"]
    network = decoders.network(preset)
    assert language_tokenizers.read(preset).stops == (4, 2)
    local, full = ({"base": base} for base in (10_000.0, 1_000_000.0))
    assert [block["rope"] for block in network.blocks] == [local] * 5 + [full, local]
    before = decoders.network(whole)  # Its config has no rope_theta, which is another number there.
    assert [{**block, "rope": None} for block in network.blocks] == [{**block, "rope": None} for block in before.blocks]
    changed(folder, "config.json", text_config=None)
    assert refusal(folder).endswith(
        "must hold text_config, the sizes of its part for texts. Received: none. Download it again."
    )


def test_weights_are_read_from_several_files(tmp_path):
    folder = write_language_model(tmp_path / "llama", tie_word_embeddings=False)
    network = decoders.network(presets.read(folder, kind="language"))
    whole = dict(decoders.weights(presets.read(folder, kind="language"), network))
    tensors = dict(Tensors(folder))
    names = list(tensors)
    parts = {f"model-0000{number}-of-00002.safetensors": names[number - 1 :: 2] for number in (1, 2)}
    for name, own in parts.items():
        write_safetensors(folder / name, {key: tensors[key] for key in own})
    weight_map = {key: name for name, own in parts.items() for key in own}
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    (folder / "model.safetensors").unlink()
    found = dict(decoders.weights(presets.read(folder, kind="language"), network))
    assert found.keys() == whole.keys()
    assert all((found[path] == value).all() for path, value in whole.items())
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "is half downloaded: model-00002-of-00002.safetensors is missing, one of 2 files" in refusal(folder)


def test_stops_of_another_template_are_written_beside_those_of_the_folder(tmp_path):
    folder = write_language_model(tmp_path / "llama", template=None)
    write_json(folder / "generation_config.json", {"eos_token_id": 0, "temperature": 0.6})
    preset = presets.read(folder, kind="language")
    tokens = language_tokenizers.read(preset)
    for template, stops in ((None, [0, 4]), (CHATML, [0, 4, 2])):
        written = tmp_path / str(len(stops))
        written.mkdir()
        language_folders.write(written, preset, tokens.with_template(template))
        content = json.loads((written / "generation_config.json").read_text())
        assert content == {"eos_token_id": stops, "temperature": 0.6}
        assert (written / "chat_template.jinja").exists() == (template is not None)
