import numpy as np
import pytest

from kerastrain import data, tokenization
from kerastrain.data.text_statistics import TextNetwork, lines
from kerastrain.errors import InputError


def examples(*texts):
    return data.Examples(np.arange(len(texts)) % 2, ("a", "b"), np.array(texts, object))


def described(train, validation=("it seen it",), **network):
    return lines({"train": examples(*train), "validation": examples(*validation)}, TextNetwork("embedding", **network))


def test_the_share_of_texts_that_are_cut_and_the_length_that_would_hold_them():
    train = [" ".join(["seen", "it", *["seen"] * 28][:count]) for count in (1, 2, 3, 30)]
    # A text of n words has n - 1 pairs too: 1, 3, 5 and 59 tokens.
    assert described(train, sequence_length=4) == [
        "length: a text has 1 to 30 words, half of the texts at most 2",
        "cut: 2 of 4 training texts (50.0%) have more than the 4 words and pairs of words of model.sequence_length; "
        "model.sequence_length=59 holds 95% of the texts whole",
    ]
    assert described(train) == ["length: a text has 1 to 30 words, half of the texts at most 2"]


def test_a_network_of_ngrams_counts_the_characters_inside_words_too():
    train = {"train": examples("ab", "ab ab ab!"), "validation": examples("ab new")}
    # "▁ab▁" has 3 n-grams of two characters, 2 of three and 1 of four; "▁ab!▁" has 4, 3, 2 and 1.
    assert lines(train, TextNetwork("ngrams", sequence_length=10)) == [
        "length: a text has 1 to 3 words, half of the texts at most 2",
        "cut: 1 of 2 training texts (50.0%) has more than the 10 words and n-grams of model.sequence_length; "
        "model.sequence_length=27 holds 95% of the texts whole",
        "unknown: 1 of 2 words (50.0%) of the validation texts is not in the vocabulary of 15 words and n-grams",
    ]


def test_the_share_of_unknown_words_in_validation():
    validation = ["seen new", "seen seen", "other words", "?!"]
    assert described(["seen it"] * 4, validation) == [
        "length: every text has 2 words",
        "unknown: 3 of 6 words (50.0%) of the validation texts are not in the vocabulary of 3 words and pairs; "
        "model.tokenizer=subwords reads unknown words in pieces",
        "unknown only: 1 validation text has no known word, such as 'other words'",
        "without words: 1 text, such as '?!'",
    ]
    [_, unknown] = described(["seen seen all all it"] * 4, ["all it seen"], vocabulary_size=4)
    assert unknown == (
        "unknown: 1 of 3 words (33.3%) of the validation texts is not in the vocabulary of 2 words and pairs; "
        "model.vocabulary_size=8 knows more of them, and model.tokenizer=subwords reads unknown words in pieces"
    )


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("我喜欢这部电影。", "100% of the letters are Chinese characters"),
        ("この映画が好きです", "100% of the letters are Chinese characters and Japanese kana"),
        ("ฉันชอบหนังเรื่องนี้", "Thai"),
    ],
)
def test_scripts_without_spaces(text, script):
    [line] = [line for line in described([text], [text]) if line.startswith("script: ")]
    assert script in line
    assert line.endswith("takes a sentence as one word; set model.tokenizer=characters (or subwords)")
    assert not any("script" in line for line in described([text], [text], tokenizer="characters"))
    assert not any("script" in line for line in described(["한국어 문장 입니다", "Привет, мир"]))


def test_html_and_near_copies():
    train = ["A fine film.", "so <br /><br /> bad", "tea &amp; cake", "plain < text"]
    assert lines({"train": examples(*train), "test": examples("a  FINE film", "seen")}) == [
        "HTML: 2 of 4 training texts (50.0%) with HTML, such as '<br />', which is read as words",
        "near copies: 1 of 2 test texts (50.0%) is a training text but for case, white space or punctuation, such as "
        "'a FINE film'",
    ]


def test_training_texts_without_a_word_are_refused():
    with pytest.raises(InputError, match="the training texts have no words, only punctuation or white space"):
        described(["?!", "..."])


def test_many_characters_are_sampled(monkeypatch):
    monkeypatch.setattr("kerastrain.data.text_statistics._MOST_CHARACTERS", 100)
    [sampled, *_] = described(["four"] * 100)
    assert sampled == "texts: the following is measured on 25 of the 100 training texts"


def test_word_dropout_finds_no_words_without_white_space():
    train = examples("我喜欢这部电影。", "我喜欢", "two words")
    [line] = lines({"train": train}, drops_words=True)
    assert line == (
        "word_dropout: 2 of 3 training texts (66.7%) without white space between words, which data.augment=[word_dropout] "
        "leaves as they are"
    )
    assert lines({"train": train}) == []


def test_a_trained_tokenizer_is_described_without_settings_that_it_no_longer_has():
    saved = tokenization.SavedTokens(tokenization.learn(["seen it"]), 2)
    parts = {"train": examples("seen it all"), "validation": examples("seen never 我喜欢")}
    assert lines(parts, saved) == [
        "length: every text has 3 words",
        "cut: 1 of 1 training text (100.0%) has more than the 2 words of model.sequence_length; the longest has 3",
        "unknown: 1 of 2 words (50.0%) of the validation texts is not in the vocabulary of 2 words",
    ]
