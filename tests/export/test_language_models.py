import json

import numpy as np
import pytest
from kerashub_language import write_preset
from language_folders import CHATML, language_tokens, write_language_model
from transformers_program import computed, require_transformers

from kerastrain.errors import InputError
from kerastrain.export import language_models, parity
from kerastrain.export.serving_process import ServingProcess
from kerastrain.language import adapters, decoders, generation, templates
from kerastrain.presets import decoders as networks
from kerastrain.presets import language_tokenizers
from kerastrain.presets import preset as presets
from kerastrain.presets.safetensors import Tensors

pytest.importorskip("tokenizers")
TOKENS = language_tokens(stops=("<|im_end|>",))
PROMPTS = [[3, 70, 71, 12], [5, 80, 90, 100, 110, 120, 7], [33]]


def source(folder, **config):
    preset = presets.read(write_language_model(folder, **config), kind="language")
    network = networks.network(preset)
    model = decoders.load(preset, network)
    adapters.add(model, 4, alpha=8)
    random = np.random.default_rng(0)
    for pair in adapters.pairs(model).values():
        pair.b.assign(random.normal(0, 0.2, pair.b.shape))
    return preset, network, model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return source(tmp_path_factory.mktemp("language") / "base")


@pytest.mark.slow
def test_a_merged_folder_opens_as_the_same_model(made, tmp_path):
    preset, network, model = made
    options = {"preset": preset, "network": network, "prompts": PROMPTS, "tokens": TOKENS}
    measured = language_models.hugging_face(model, tmp_path / "merged", **options)
    assert measured.sample_count == 12
    assert measured.relative_difference < 1e-5
    reopened = presets.read(tmp_path / "merged", kind="language")
    other = decoders.load(reopened, networks.network(reopened))
    ids = generation.Generator(model).ids(PROMPTS, max_new_tokens=8)
    assert generation.Generator(other).ids(PROMPTS, max_new_tokens=8) == ids
    assert generation.Generator(decoders.load(preset, network)).ids(PROMPTS, max_new_tokens=8) != ids
    written = {path.name for path in (tmp_path / "merged").iterdir()}
    assert written == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "parity.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert json.loads((tmp_path / "merged/config.json").read_text()) == {**preset.config, "torch_dtype": "float32"}
    assert json.loads((tmp_path / "merged/generation_config.json").read_text()) == {"eos_token_id": [4, 2]}
    with pytest.raises(FileExistsError, match="merged exists"):
        language_models.hugging_face(model, tmp_path / "merged", **options)
    with pytest.raises(InputError, match="unknown dtype 'int8'. Known: bfloat16, float16, float32"):
        language_models.hugging_face(model, tmp_path / "other", dtype="int8", **options)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_half_precision_are_rounded_to_the_nearest(made, tmp_path, dtype):
    import ml_dtypes

    preset, network, model = made
    language_models.hugging_face(
        model, tmp_path / "half", preset=preset, network=network, prompts=PROMPTS, tokens=TOKENS, dtype=dtype
    )
    tensors, own = Tensors(tmp_path / "half"), np.dtype(getattr(ml_dtypes, dtype, dtype))
    name = "model.layers.1.mlp.up_proj.weight"
    expected = adapters.merged_kernel(model, "block_1/up/kernel").T
    np.testing.assert_array_equal(tensors[name], expected.astype(own).astype("float32"))
    assert (tmp_path / "half/model.safetensors").stat().st_size < 0.6 * 4 * model.count_params()


@pytest.mark.slow
def test_a_folder_of_another_model_is_removed(made, tmp_path, monkeypatch):
    preset, network, model = made
    options = {"preset": preset, "network": network, "prompts": PROMPTS, "tokens": TOKENS}
    turned = networks.turned
    monkeypatch.setattr(
        networks,
        "turned",
        lambda path, value, *a, to_file: turned(path, value, *a, to_file=to_file) * (1 + to_file / 50),
    )
    with pytest.raises(parity.ParityError, match="`merged` .float32. does not match its model on 12 samples"):
        language_models.hugging_face(model, tmp_path / "merged", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_saved_model_writes_and_computes_as_the_model(made, tmp_path, monkeypatch):
    preset, _, model = made
    options = {"prompts": PROMPTS, "stops": (4,), "tokenizer": "{}"}
    with monkeypatch.context() as patch:
        patch.setattr(ServingProcess, "_answer", lambda *_: ["Traceback\nMemoryError: 3 GB"])
        with pytest.raises(InputError, match="does not run in a process of its own: MemoryError: 3 GB. Try again"):
            language_models.saved_model(model, tmp_path / "served", **options)
    assert not list(tmp_path.iterdir())
    measured = language_models.saved_model(model, tmp_path / "served", **options)
    assert measured.relative_difference < 1e-5
    assert (tmp_path / "served/assets.extra/tokenizer.json").read_text() == "{}"
    [values] = (tmp_path / "served/variables").glob("*.data-*")
    assert values.stat().st_size < 1.5 * 4 * model.count_params()  # Keras's `track` stores each weight twice.
    import tensorflow as tf

    signature = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    prompt = np.array([[3] * 60 + [9, 9]], "int32")
    ids = signature(
        token_ids=tf.constant(prompt),
        lengths=tf.constant([60]),
        max_new_tokens=tf.constant([50]),
        temperature=tf.constant([0.7]),
        top_k=tf.constant([0]),
        top_p=tf.constant([0.9]),
        seed=tf.constant([3]),
    )["ids"].numpy()
    drawn = generation.Generator(model).ids(
        [[3] * 60], max_new_tokens=50, temperature=0.7, top_p=0.9, seed=3, stops=[4]
    )
    assert ids.tolist()[0][: len(drawn[0])] == drawn[0]
    assert ids.shape == (1, 4)  # up to the last of 64 positions


def check_with_transformers(tmp_path, preset, network, model, tokens):
    """The merged folder computes and writes in transformers what the model does, and its tokenizer reads as ours."""
    options = {"preset": preset, "network": network, "prompts": PROMPTS, "tokens": tokens}
    language_models.hugging_face(model, tmp_path / "merged", **options)
    texts = ["The capital of France is Paris.", " two  spaces\n\nand don't 12345 "]
    logits, ids = computed(tmp_path / "merged", tmp_path / "out", PROMPTS, texts=texts, max_new_tokens=12)
    assert generation.Generator(model).ids(PROMPTS, max_new_tokens=12, stops=tokens.stops) == ids
    for prompt, expected in zip(PROMPTS, logits, strict=True):
        inputs = {"token_ids": np.array([prompt], "int32"), "segments": np.ones((1, len(prompt)), "int32")}
        np.testing.assert_allclose(model.predict(inputs, verbose=0)[0], expected, atol=1e-4)
    found = np.load(tmp_path / "out.npz")
    begin = [tokens.begin] if tokens.adds_begin else []
    assert [found[f"text_{number}"].tolist() for number in range(2)] == [begin + row for row in tokens.ids(texts)]
    chat = [{"role": "user", "content": texts[0]}]
    assert str(found["chat"]) == templates.rendered(chat, tokens, for_reply=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_transformers_opens_a_merged_folder_as_the_same_model(tmp_path, kind):
    classes = {"llama": "LlamaForCausalLM", "gemma2": "Gemma2ForCausalLM"}
    config = {"head_dim": 4, "sliding_window": 3, "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "silu"}
    config = {"query_pre_attn_scalar": 4, **config} if kind == "gemma2" else {"head_dim": 4}
    made = source(tmp_path / "base", model_type=kind, architectures=[classes[kind]], **config)
    check_with_transformers(tmp_path, *made, language_tokenizers.read(made[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama3", "Gemma"])
def test_transformers_opens_the_folder_of_a_preset_of_kerashub(tmp_path, name):
    pytest.importorskip("keras_hub")
    require_transformers()
    write_preset(tmp_path / "preset", name)
    preset = presets.read(tmp_path / "preset", kind="language")
    network = networks.network(preset)
    tokens = language_tokenizers.read(preset).with_template(CHATML)
    check_with_transformers(tmp_path, preset, network, decoders.load(preset, network), tokens)
