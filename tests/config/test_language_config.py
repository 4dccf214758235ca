"""The keys of data for language models, and what is refused with them."""

import pytest

from kerastrain import config
from kerastrain.errors import ConfigError

CHAT = ("data.kind=chat", "data.path=qa.jsonl", "model.backbone=llama")
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
        ((*CHAT, "data.columns.rejected=q"), "data", "columns.rejected needs columns.prompt and columns.response"),
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
    ],
)
def test_settings_of_other_kinds_are_refused(overrides, path, message):
    where, fault = refusal(*overrides)
    assert where == path
    assert message in fault
