"""The keys of data for language models, and what is refused with them."""

import pytest

from kerastrain import config
from kerastrain.errors import ConfigError

CHAT = ("data.kind=chat", "data.path=qa.jsonl", "model.backbone=llama")
DPO = ("fit.objective=dpo", "fine_tune.lora_rank=8")
TEXTS = ("data.kind=language", "data.path=book.txt", "model.backbone=llama")


def refusal(*overrides):
    with pytest.raises(ConfigError) as raised:
        config.load(overrides=overrides)
    return raised.value.faults[0]


def test_the_keys_are_read():
    data = config.load(overrides=[*CHAT, "data.columns.prompt=q", "data.columns.response=a", "data.packing=true"]).data
    assert (data.learn, data.packing, data.chat_template, data.columns.prompt) == ("answers", True, None, "q")
    assert config.load(overrides=[*TEXTS, "data.columns.input=body"]).data.columns.input == "body"
    assert config.load(overrides=[*CHAT, "model.sequence_length=64", "data.learn=all"]).model.sequence_length == 64
    assert (
        config.load(overrides=["data.kind=chat", "data.path=a", "model.backbone=b", "data.augment=null"]).data.learn
        == "answers"
    )


def test_preferences_have_defaults_of_their_own():
    read = config.load(overrides=[*CHAT, *DPO, "data.columns.response=good", "data.columns.rejected=bad"])
    assert (read.fit.dpo_beta, read.optimizer.learning_rate, read.data.columns.prompt) == (0.1, None, None)
    assert config.load(overrides=CHAT).fit.dpo_beta is None
    assert config.validate(read.model_dump()) == read


@pytest.mark.parametrize(
    ("overrides", "path", "message"),
    [
        (CHAT[:1], "data", "path must name a folder of conversations. Received: digits, the bundled images."),
        ((*CHAT, "data.task=regression"), "data", "task is not for data.kind=chat. Received: 'regression'. Remove it."),
        ((*TEXTS, "data.folds=3"), "data", "folds is not for data.kind=language. Received: 3. Remove it."),
        (("data.learn=all",), "data", "learn is not for data.kind=images. Received: 'all'. Remove it."),
        ((*TEXTS, "data.learn=all"), "data", "learn is not for data.kind=language."),
        (("data.packing=true",), "data", "packing is not for data.kind=images. Received: true. Remove it."),
        (
            (*TEXTS, "data.columns.prompt=q"),
            "data",
            "columns.prompt is not for data.kind=language. Received: 'q'. Remove it, or set data.kind=chat.",
        ),
        ((*CHAT, "data.columns.targets=[a]"), "data", "Remove it, or name columns.prompt and columns.response."),
        (
            (*CHAT, "data.columns.prompt=q"),
            "data",
            "columns.prompt needs columns.response. Received: only columns.prompt. Name both.",
        ),
        ((*CHAT, "data.columns.rejected=q"), "data", "columns.rejected needs columns.response, the preferred answer."),
        (
            (*CHAT, "data.columns.messages=m", "data.columns.prompt=q", "data.columns.response=r"),
            "data",
            "columns.messages holds whole conversations, and columns.prompt and columns.response their parts.",
        ),
        ((*CHAT, "fit.dpo_beta=0.2"), "config", "fit.dpo_beta is only for fit.objective=dpo. Received: 0.2,"),
        (
            (*CHAT, "fit.objective=dpo"),
            "config",
            "fit.objective=dpo needs LoRA, because the reference is the model without its LoRA matrices.",
        ),
        ((*TEXTS, *DPO), "config", "fit.objective=dpo learns from conversations with a chosen and a rejected answer."),
        (
            (*CHAT, *DPO, "data.packing=true"),
            "config",
            "data.packing is not for fit.objective=dpo: each answer of a pair has a sequence of its own.",
        ),
        ((*CHAT, *DPO, "data.learn=all"), "config", "data.learn must be answers for fit.objective=dpo,"),
        (
            (*CHAT, "data.augment=[flip]"),
            "data",
            "augment is for examples that are classified. Received: flip for data.kind=chat.",
        ),
        (
            CHAT[:2],
            "config",
            "model.backbone must name a pretrained language model for data.kind=chat: a folder of Hugging Face",
        ),
        ((*CHAT, "model.num_layers=2"), "config", "model.num_layers is only for `keras:transformer` on texts."),
        (
            (*CHAT, "fit.head_epochs=3"),
            "config",
            "fit.head_epochs is for networks that classify; a language model has no new head. Received: 3. Remove it.",
        ),
        ((*CHAT, "model.hidden_units=[3]"), "config", "model.hidden_units is for networks that classify; a language"),
        ((*TEXTS, "fit.label_smoothing=0.1"), "config", "fit.label_smoothing is for networks that classify; the loss"),
        ((*CHAT, "fine_tune.from_layer=block_1"), "config", "fine_tune.last names the number of blocks that train."),
        (
            (*CHAT, "export.probabilities=true"),
            "config",
            "export.probabilities is for networks that classify; files of",
        ),
        (
            (*CHAT, "fit.epochs=0"),
            "config",
            "fit.epochs must be above 0 for a language model, which has no other phase.",
        ),
        (
            (*CHAT, "runtime.precision=measure"),
            "config",
            "runtime.precision=measure is for networks that classify: nothing is measured for a language model. Set",
        ),
        (
            (*CHAT, "runtime.precision=mixed_float16"),
            "config",
            "runtime.precision of a language model must be float32 or mixed_bfloat16, because what its blocks compute",
        ),
        (
            (*CHAT, "memory.micro_batches=9"),
            "config",
            "memory.micro_batches must be at most fit.global_batch_size. Received: 9 and 8.",
        ),
        (
            ("evaluation.answers=2",),
            "config",
            "evaluation.answers is for language models. Received: 2, and data.kind=images. Remove it.",
        ),
        (
            ("fine_tune.lora_rank=2", "fine_tune.quantize=int8"),
            "config",
            "fine_tune.quantize is for language models. Received: 'int8', and data.kind=images. Remove it.",
        ),
    ],
)
def test_settings_of_other_kinds_are_refused(overrides, path, message):
    where, fault = refusal(*overrides)
    assert where == path
    assert message in fault
