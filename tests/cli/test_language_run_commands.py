"""The commands that are not for language models say so before TensorFlow starts, and what else is done."""

import sys

import pytest
import yaml

from kerastrain import cli, config
from kerastrain.errors import ConfigError, InputError
from kerastrain.recipe import inputs, starting_run

CHAT = ("data.kind=chat", "data.path=qa.jsonl", "model.backbone=llama")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the config of a run of a language model, and an empty file where its model would be."""
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "run")
    return tmp_path


def made(folder, *overrides):
    folder.mkdir()
    (folder / "config.yaml").write_text(config.dump(config.load(overrides=[*CHAT, *overrides])))
    (folder / "model.keras").touch()
    return folder


def refusal(monkeypatch, capsys, command):
    """What a command prints that is refused, in a sentence."""
    monkeypatch.setattr(sys, "argv", ["kerastrain", *command.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")  # not even "starting TensorFlow"
    [line] = printed.err.splitlines()
    return line.removeprefix("kerastrain: ")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "predict run hello",
            "predict is for labels and numbers. Received: data.kind=chat, a language model, which writes text. To write with "
            "it: `kerastrain generate RUN PROMPT`.",
        ),
        (
            "explain run qa.jsonl",
            "explain is for labels and numbers. Received: data.kind=chat, a language model, which writes text. How well it "
            "predicts the words of texts: `kerastrain evaluate RUN FILE`.",
        ),
        (
            "compress run quantize=int8",
            "compress is for models that become TFLite files. Received: data.kind=chat, a language model, which writes text. "
            "Train with fine_tune.quantize=int8 to store kernels in eight bits, or export hugging_face and quantize that.",
        ),
        (
            "trust run",
            "trust is for runs with a Hub module. Received: data.kind=chat, a language model, which writes text. A language "
            "model has none, and needs no trust.",
        ),
        (
            f"find backbone {' '.join(CHAT)}",
            "find backbone is for networks that compute features. Received: data.kind=chat, a language model, which writes "
            "text. Train one run for each model.backbone and compare their perplexity.",
        ),
        (
            f"find memory {' '.join(CHAT)}",
            "find memory is for networks that classify. Received: data.kind=chat, a language model, which writes text. "
            "`kerastrain check` says the memory of a step of a language model.",
        ),
        (
            f"find batch-size {' '.join(CHAT)}",
            "find batch-size is for networks that classify. Received: data.kind=chat, a language model, which writes text. "
            "`kerastrain check` says the memory of a step of a language model.",
        ),
        (
            "export run --format onnx",
            "`export.formats` of a language model must be of adapter, hugging_face, saved_model. Received: onnx. Remove it.",
        ),
        (
            "export run --format adapter",
            "`export.formats`: an adapter is what LoRA trains. Received: adapter, without fine_tune.lora_rank. Set it, or use "
            "hugging_face.",
        ),
    ],
)
def test_a_command_that_is_not_for_language_models_says_what_is(place, monkeypatch, capsys, command, message):
    assert refusal(monkeypatch, capsys, command) == message


def test_a_run_trains_further_with_its_own_model_and_precision(place):
    further = starting_run.config_from("run", overrides=["fit.epochs=1", "data.kind=language", "data.path=book.txt"])
    assert (further.model.from_run, further.fit.epochs) == (str(place / "run"), 1)
    assert (further.data.kind, further.model.backbone) == ("language", "llama")
    for key, value in (("model.backbone", "qwen"), ("runtime.precision", "mixed_bfloat16")):
        with pytest.raises(InputError, match=f"`{key}` must be that of the run to start from, .* Received: '{value}'"):
            starting_run.config_from("run", overrides=[f"{key}={value}"])
    with pytest.raises((InputError, ConfigError), match=r"data\.kind"):
        starting_run.config_from("run", overrides=["data.kind=images"])


def test_another_way_of_training_further_has_defaults_of_its_own(place):
    made(place / "pairs", "fine_tune.lora_rank=4", "optimizer.learning_rate=0.02")
    same = starting_run.config_from("pairs", overrides=["fine_tune.lora_rank=8"])
    assert (same.optimizer.learning_rate, same.export.formats) == (0.02, ("adapter", "hugging_face"))
    whole = starting_run.config_from("pairs", overrides=["fine_tune.lora_rank=null"])
    assert (whole.optimizer.learning_rate, whole.export.formats) == (
        None,
        ("hugging_face",),
    )  # for the network to choose
    liked = starting_run.config_from("pairs", overrides=["fit.objective=dpo", "export.formats=[adapter]"])
    assert (liked.optimizer.learning_rate, liked.fit.dpo_beta, liked.export.formats) == (None, 0.1, ("adapter",))


def test_a_run_that_cannot_train_further_says_why(place):
    made(place / "eight", "fine_tune.lora_rank=4", "fine_tune.quantize=int8")
    with pytest.raises(InputError, match=r"must be floats.* fine_tune\.quantize=int8\. Export it to hugging_face, and"):
        starting_run.config_from("eight")
    (place / "run" / "model.keras").unlink()
    with pytest.raises(InputError, match="was stopped before its training finished"):
        starting_run.config_from("run")


def test_doctor_describes_a_language_model_without_tensorflow(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tokenizers")
    from language_folders import write_language_model

    folder = write_language_model(tmp_path / "llama", num_hidden_layers=1)
    monkeypatch.setattr(sys, "argv", ["kerastrain", "doctor", "--backbone", str(folder)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    # 300 embeddings of 16, and a block: two norms, queries and outputs, keys and values of half the heads, three of the mlp.
    parameters = 300 * 16 + 2 * 16 + 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24 + 16
    assert printed == {
        "handle": str(folder),
        "kind": "language model",
        "architecture": "llama",
        "parameters": parameters,
        "blocks": 1,
        "width": 16,
        "vocabulary": 300,
        "positions": 64,
        "chat_template": True,
        "ends": ["</s>", "<|im_end|>"],
        "facts": [],
    }
    (folder / "tokenizer.json").unlink()
    assert "holds no tokenizer (tokenizer.json)" in refusal(monkeypatch, capsys, f"doctor --backbone {folder}")


def test_conversations_and_texts_are_other_data_for_a_language_model():
    own = config.load(overrides=[*CHAT, "data.learn=all", "data.columns.prompt=q", "data.columns.response=a"])
    texts = inputs.override(own, ["data.kind=language", "data.columns.input=body"])
    assert (texts.data.kind, texts.data.learn, texts.data.columns.prompt) == ("language", "answers", None)
    assert inputs.override(own, ["evaluation.batch_size=2"]).data == own.data
    with pytest.raises(InputError, match=r"`data\.kind` belongs to the trained model and cannot be changed"):
        inputs.override(own, ["data.kind=text"])
    with pytest.raises(InputError, match=r"`fit\.epochs` belongs to the trained model"):
        inputs.override(own, ["fit.epochs=9"])
