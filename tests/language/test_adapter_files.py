import json

import numpy as np
import pytest
from language_folders import write_language_model
from pretrained_folders import write_safetensors
from test_adapters import BLOCK, IDS, VOCABULARY, fill, outputs, tiny
from transformers_program import computed

from kerastrain.errors import InputError
from kerastrain.language import adapter_files, adapters, decoders, generation
from kerastrain.presets import decoders as networks
from kerastrain.presets import preset
from kerastrain.presets.decoders import DecoderNetwork
from kerastrain.presets.safetensors import Tensors

block = {
    **BLOCK,
    "attention_bias": True,
    "output_bias": False,
    "mlp_bias": False,
    "head_norms": False,
    "post_norms": False,
}
NETWORK = DecoderNetwork(VOCABULARY, 20, 16, 1e-6, True, 1.0, None, (block, block))


def adapted(**options):
    model = tiny()
    adapters.add(model, 4, alpha=8, **options)
    fill(model)
    return model


def test_an_adapter_is_written_as_peft_does_and_read_again(tmp_path):
    model = adapted(dropout=0.25)
    adapter_files.write(model, tmp_path / "adapter", NETWORK, base="folder/of/llama")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    expected = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.25}
    assert expected.items() <= config.items()
    names = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert config["target_modules"] == names
    assert config["base_model_name_or_path"] == "folder/of/llama"
    tensors = Tensors.of_file(tmp_path / "adapter/adapter_model.safetensors")
    assert len(tensors) == 28
    pair = adapters.pairs(model)["block_1/down/kernel"]
    start = "base_model.model.model.layers.1.mlp.down_proj"
    np.testing.assert_array_equal(tensors[f"{start}.lora_A.weight"], pair.a.numpy().T)
    np.testing.assert_array_equal(tensors[f"{start}.lora_B.weight"], pair.b.numpy().T)
    other = tiny()
    assert adapter_files.read(other, tmp_path / "adapter", NETWORK) == 14
    np.testing.assert_array_equal(outputs(other), outputs(model))
    assert [v.path for v in other.trainable_weights] == [v.path for v in model.trainable_weights]


def test_an_adapter_that_is_not_what_was_written_is_removed(tmp_path, monkeypatch):
    model = adapted()
    adapter_files.write(model, tmp_path / "adapter", NETWORK, base="base", revision="v1")
    before = (tmp_path / "adapter/adapter_config.json").read_bytes()
    assert json.loads(before)["revision"] == "v1"
    alpha = adapter_files._whole
    monkeypatch.setattr(adapter_files, "_whole", lambda number: alpha(number) * 1.01)
    with pytest.raises(
        OSError, match="does not hold the pair of block_0/query/kernel that was written. It was removed."
    ):
        adapter_files.write(model, tmp_path / "adapter", NETWORK, base="base")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert (tmp_path / "adapter/adapter_config.json").read_bytes() == before


def test_pairs_of_some_blocks_are_named_in_full(tmp_path):
    adapter_files.write(adapted(layers="block_1/query"), tmp_path / "adapter", NETWORK, base="base")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["target_modules"] == ["model.layers.1.self_attn.q_proj"]


def test_other_ranks_and_strengths_of_single_layers_are_kept(tmp_path):
    settings = {"block_0/query/kernel": {"rank": 4, "scale": 2.0}, "block_1/up/kernel": {"rank": 2, "scale": 0.75}}
    model, other = tiny(), tiny()
    adapters.create(model, settings)
    fill(model)
    adapter_files.write(model, tmp_path / "adapter", NETWORK, base="base")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["rank_pattern"] == {"model.layers.1.mlp.up_proj": 2}
    assert config["alpha_pattern"] == {"model.layers.1.mlp.up_proj": 1.5}
    adapter_files.read(other, tmp_path / "adapter", NETWORK)
    np.testing.assert_array_equal(outputs(other), outputs(model))


def test_the_scale_for_the_root_of_the_rank_is_read(tmp_path):
    adapter_files.write(adapted(), tmp_path / "adapter", NETWORK, base="base")
    path = tmp_path / "adapter/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_rslora": True}))
    model = tiny()
    adapter_files.read(model, tmp_path / "adapter", NETWORK)
    assert {pair.scale for pair in adapters.pairs(model).values()} == {4.0}


def test_a_model_without_adapters_writes_none(tmp_path):
    with pytest.raises(InputError, match="must have adapters. Received: 'language_model' without any"):
        adapter_files.write(tiny(), tmp_path / "adapter", NETWORK, base="base")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "plain LoRA pairs of dense layers. Received: peft_type='IA3'"),
        ({"use_dora": True}, "Received: use_dora"),
        ({"modules_to_save": ["lm_head"]}, r"Received: modules_to_save=\['lm_head'\]"),
    ],
)
def test_another_kind_of_adapter_is_refused(tmp_path, change, message):
    adapter_files.write(adapted(layers="block_0/query"), tmp_path / "adapter", NETWORK, base="base")
    path = tmp_path / "adapter/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        adapter_files.read(tiny(), tmp_path / "adapter", NETWORK)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"model.embed_tokens.lora_embedding_A": (4, 23)}, "Received: 'base_model.model.model.embed_tokens.lora_emb"),
        ({"model.layers.0.self_attn.q_proj.lora_A.weight": (4, 16)}, "'query' in 'block_0' must read 16.*one matrix"),
        (
            {
                "model.layers.0.self_attn.q_proj.lora_A.weight": (4, 16),
                "model.layers.0.self_attn.q_proj.lora_B.weight": (32, 4),
            },
            "compute 16. Received: matrices of other sizes. Choose the model that the adapter was made for, 'base'",
        ),
        ({}, "must hold pairs. Received: none"),
    ],
)
def test_tensors_that_do_not_belong_to_the_model_are_refused(tmp_path, tensors, message):
    adapter_files.write(adapted(layers="block_0/query"), tmp_path / "adapter", NETWORK, base="base")
    values = {f"base_model.model.{name}": np.zeros(shape, "float32") for name, shape in tensors.items()}
    write_safetensors(tmp_path / "adapter/adapter_model.safetensors", values)
    model = tiny()
    with pytest.raises(InputError, match=message):
        adapter_files.read(model, tmp_path / "adapter", NETWORK)
    assert not adapters.pairs(model)


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no adapter_config\.json"):
        adapter_files.read(tiny(), tmp_path, NETWORK)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(InputError, match=r"holds no adapter_model\.safetensors"):
        adapter_files.read(tiny(), tmp_path, NETWORK)


@pytest.mark.slow
def test_peft_computes_the_same_with_the_adapter(tmp_path):
    folder = write_language_model(tmp_path / "base")
    source = preset.read(folder, kind="language")
    network = networks.network(source)
    model = decoders.load(source, network)
    adapters.add(model, 4, alpha=8, rank_stabilized=True)
    fill(model)
    adapter_files.write(model, tmp_path / "adapter", network, base=str(folder))
    prompts = IDS.tolist()
    expected, ids = computed(folder, tmp_path / "out", prompts, tmp_path / "adapter", max_new_tokens=8)
    assert generation.Generator(model).ids(prompts, max_new_tokens=8, stops=[4]) == ids
    np.testing.assert_allclose(outputs(model), np.stack(expected), atol=1e-5)
    other = decoders.load(source, network)
    adapter_files.read(other, tmp_path / "out.adapter", network)  # as PEFT has written it
    np.testing.assert_allclose(outputs(other), np.stack(expected), atol=1e-5)
