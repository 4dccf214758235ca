"""The tokenizer of a language model gives ids, places and texts."""

import pytest

tokenizers = pytest.importorskip("tokenizers")

from language_folders import SPECIALS, language_tokens  # noqa: E402

from kerastrain.errors import InputError  # noqa: E402
from kerastrain.tokenization.language_tokens import LanguageTokens, opened  # noqa: E402

TEXT = "<|im_start|>user\nIs é an 👩\u200d👧?<|im_end|>"


def test_every_text_survives_with_its_special_tokens():
    tokens = language_tokens()
    ids, places = tokens.encoded(TEXT)
    assert (ids[0], ids[-1]) == (SPECIALS.index("<|im_start|>"), SPECIALS.index("<|im_end|>"))
    assert tokens.text(ids, special=True) == TEXT
    assert tokens.text(ids) == "user\nIs é an 👩\u200d👧?"
    assert [TEXT[begin:end] for begin, end in places[:2]] == ["<|im_start|>", "user"]
    emoji = TEXT.index("👩")
    assert [place for place in places if place[0] == emoji] == [(emoji, emoji + 1)] * 4  # its four bytes
    assert tokens.ids([TEXT, ""]) == [ids, []]


def test_settings_survive_json():
    tokens = language_tokens(stops=("<|im_end|>",), adds_begin=True)
    assert LanguageTokens.from_config(tokens.to_config()) == tokens
    assert "<|im_end|>" not in repr(tokens)  # neither vocabulary nor template


def test_ends_of_turns_in_the_template_end_a_reply():
    assert language_tokens().stop_texts == ("<|im_end|>", "</s>")
    assert language_tokens("{{ messages[0].content }}").stop_texts == ("</s>",)


def test_truncation_and_padding_of_the_file_do_not_count():
    made = tokenizers.Tokenizer.from_str(language_tokens().content)
    made.enable_truncation(2)
    made.enable_padding(length=50)
    assert len(opened(made.to_str()).encode("What is two?").ids) == len(language_tokens().ids(["What is two?"])[0])


def test_a_damaged_file_is_refused():
    with pytest.raises(InputError, match=r"^'a/tokenizer\.json' is no tokenizer \(.+\)\. Download it again\.$"):
        opened('{"version": "1.0"', "'a/tokenizer.json'")
