import dataclasses

import keras
import pytest

from kerastrain import config as configs
from kerastrain import optimizers
from kerastrain.errors import InputError
from kerastrain.language import memory_need
from kerastrain.presets.decoders import DecoderNetwork
from kerastrain.recipe import language_memory
from kerastrain.system import resources

BLOCK = {
    **{
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_size": 8,
        "intermediate": 100,
        "rope": {"base": 1e4},
        "activation": "silu",
    },
    **dict.fromkeys(("attention_bias", "output_bias", "mlp_bias", "head_norms", "post_norms"), False),
}
NETWORK = DecoderNetwork(1000, 512, 32, 1e-6, True, 1.0, None, (BLOCK,) * 6)
WIDE = {**BLOCK, "num_heads": 32, "num_kv_heads": 32, "head_size": 128, "intermediate": 11008}
LLAMA_7B = DecoderNetwork(32000, 4096, 4096, 1e-5, False, 1.0, None, (WIDE,) * 32)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function from settings to a config, on a machine of 16 GB without a GPU."""
    (tmp_path / "text.txt").write_text("words")
    monkeypatch.setattr(resources, "available_bytes", lambda: 16e9)
    monkeypatch.setattr(resources, "gpu_bytes", lambda: None)
    fixed = ["data.kind=language", f"data.path={tmp_path}/text.txt", f"model.backbone={tmp_path}"]
    return lambda *settings: configs.load(overrides=[*fixed, *settings])


def need(config, network=NETWORK, length=64):
    return language_memory.need(config, network, length)


def test_the_parameters_of_a_known_model_are_counted():
    assert sum(memory_need.parameter_counts(LLAMA_7B).values()) == 6_738_415_616


def test_only_the_chosen_kernels_have_pairs(made):
    every = need(made("fine_tune.lora_rank=4")).gradients
    block = 4 * (3 * (32 + 100) + (32 + 32) + 2 * (32 + 16) + (32 + 32))
    assert every == 4 * 6 * block
    some = need(made("fine_tune.lora_rank=4", 'fine_tune.lora_layers=["query|value"]')).gradients
    assert some == 4 * 6 * 4 * ((32 + 32) + (32 + 16))
    one = need(made("fine_tune.lora_rank=4", 'fine_tune.lora_layers=["block_5/query"]')).gradients
    assert one == 4 * 4 * (32 + 32)
    with pytest.raises(InputError, match="`fine_tune.lora_layers` must be found in paths .* Received: 'q_proj'"):
        need(made("fine_tune.lora_rank=4", 'fine_tune.lora_layers=["q_proj"]'))


def test_what_the_settings_change(made):
    plain = need(made("fit.global_batch_size=8"))
    assert need(made("fit.global_batch_size=4")).activations == plain.activations // 2
    assert need(made("fit.global_batch_size=8", "memory.micro_batches=4")).activations == plain.activations // 4
    assert need(made("fit.global_batch_size=8", "memory.micro_batches=auto")).activations == plain.activations
    spared = need(made("fit.global_batch_size=8", "memory.remat_blocks=auto"))
    assert spared.activations < 0.6 * plain.activations
    deep = dataclasses.replace(NETWORK, vocabulary_size=10)
    assert need(made("memory.remat_blocks=3"), deep).activations > need(made("memory.remat_blocks=6"), deep).activations
    assert need(made("fine_tune.last=2")).gradients < plain.gradients / 4
    eighth = need(made("fine_tune.lora_rank=1", "fine_tune.quantize=int8"), LLAMA_7B)
    assert eighth.parameters == pytest.approx(6.74e9 + 3 * 2 * 32000 * 4096, rel=0.01)
    two = need(made("fit.global_batch_size=8", "runtime.strategy=mirrored", "runtime.devices=2"))
    assert (two.parameters, two.slots) == (2 * plain.parameters, 2 * plain.slots)
    assert two.activations == pytest.approx(plain.activations)


@pytest.mark.parametrize(
    "settings",
    [
        ["optimizer.name=sgd"],
        ["optimizer.name=sgd", "optimizer.momentum=0.9"],
        ["optimizer.name=rmsprop", "optimizer.momentum=0.9"],
        ["optimizer.name=adamw", "optimizer.arguments={amsgrad: true}"],
        ["optimizer.name=adamw", "optimizer.ema_momentum=0.9"],
        *([f"optimizer.name={name}"] for name in ("adagrad", "adamax", "ftrl", "lion", "lamb", "nadam", "adadelta")),
        ["optimizer.name=schedule_free_adamw"],
    ],
)
def test_the_slots_are_those_that_the_optimizer_makes(made, settings):
    options = made(*settings).optimizer
    optimizer = optimizers.make(
        options.name, 0.1, momentum=options.momentum, ema_momentum=options.ema_momentum, **options.arguments
    )
    weight = keras.Variable([[0.0] * 50] * 20)
    optimizer.build([weight])
    made_numbers = sum(
        variable.shape.num_elements() for variable in map(keras.ops.convert_to_tensor, optimizer.variables)
    )
    assert language_memory.slots(made(*settings)) == made_numbers // 1000


def test_the_line_says_what_would_take_less(made):
    [line] = language_memory.lines(made("fine_tune.lora_rank=8", "fit.global_batch_size=8"), NETWORK, 64)
    assert line.startswith("memory: 1.1 GB of 16.0, at most (parameters 0.00, gradients ")
    assert "; with memory" not in line
    [line] = language_memory.lines(made("fine_tune.lora_rank=8", "fit.global_batch_size=64"), NETWORK, 512)
    assert "; with memory.remat_blocks=auto " in line


def test_what_does_not_fit_is_warned_about_with_what_would(made, monkeypatch):
    _, warning = language_memory.lines(made("fit.global_batch_size=8"), LLAMA_7B, 512)
    assert warning.startswith("warning: that is more than is free, and it takes ")
    monkeypatch.setattr(resources, "available_bytes", lambda: 48e9)
    _, warning = language_memory.lines(made("fit.global_batch_size=8"), LLAMA_7B, 512)
    assert warning.startswith(
        "warning: that is more than is free. It would fit with memory.remat_blocks=auto memory.micro_batches=8 "
        "fine_tune.lora_rank=8 ("
    )


def test_a_gpu_has_its_own_room(made, monkeypatch):
    monkeypatch.setattr(resources, "gpu_bytes", lambda: 80e9)
    [line] = language_memory.lines(made("fine_tune.lora_rank=8"), LLAMA_7B, 128)
    assert " GB of 80.0 on the GPU, at most (parameters 27." in line
    assert "TensorFlow" not in line
