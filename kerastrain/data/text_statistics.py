"""What a text network will see of its texts, said before it is trained: how many are cut, which words are unknown.

Takes the parts of a data set and the settings of the tokenizer; returns lines of text. The numbers are those of the model's
own tokenizer, which `tokenization` describes for both. Must not import TensorFlow.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from kerastrain import tokenization
from kerastrain.data.examples import Examples
from kerastrain.data.sources.text_pairs import shown
from kerastrain.data.text_scan import shortened
from kerastrain.errors import InputError
from kerastrain.tokenization import Tokens
from kerastrain.tokenization.text_rules import WORD_START

# Texts of more characters are sampled, so that `check` answers within seconds.
_MOST_CHARACTERS = 10_000_000
_MOST_COMPARED_CHARACTERS = 100_000_000
_NOTABLE_FRACTION = 0.05
_PERCENTILE = 95
_NOUNS = {"words": "word", "characters": "character", "subwords": "subword"}
_TOKENIZERS = {"whitespace": "words", "character": "characters", "pieces": "subwords"}
_SCRIPTS = {
    "Chinese characters": "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "Japanese kana": "\u3040-\u30ff\u31f0-\u31ff",
    "Thai": "\u0e01-\u0e4f",
    "Lao": "\u0e81-\u0ecf",
    "Khmer": "\u1780-\u17d3",
    "Burmese": "\u1000-\u1049",
}
_HTML = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>|&(?:[a-z]{2,6}|#\d{2,5});")


@dataclasses.dataclass(frozen=True)
class TextNetwork:
    """The settings of a text network that decide what it sees of a text.

    Args:
        name: str, a key of `tokenization.NETWORKS`.
        tokenizer: str, one of `tokenization.TOKENIZERS`.
        sequence_length: int >= 1; None for the default.
        vocabulary_size: int > 2; None for the default.
    """

    name: str
    tokenizer: tokenization.Tokenizer = "words"
    sequence_length: int | None = None
    vocabulary_size: int | None = None

    def learned(self, texts: Sequence[str]) -> tokenization.SavedTokens:
        """Learns the tokenizer from the training texts, as the network will.

        Args:
            texts: sequence of str.

        Returns:
            tokenization.SavedTokens.

        Raises:
            InputError: the texts have no words.
        """
        network = tokenization.NETWORKS[self.name]
        tokens = tokenization.learn(texts, self.tokenizer, network=self.name, size=self.vocabulary_size)
        if not tokens.vocabulary:
            raise InputError(
                "the training texts have no words, only punctuation or white space. Give other texts, or set "
                "model.tokenizer=characters."
            )
        default = network.lengths[self.tokenizer]
        return tokenization.SavedTokens(tokens, default if self.sequence_length is None else self.sequence_length)


@dataclasses.dataclass(frozen=True)
class _Reading:
    """How the network reads: its tokenizer, the word for a token, and its settings; None if they cannot change."""

    tokens: Tokens
    length: int
    network: TextNetwork | None

    @property
    def tokenizer(self) -> str:
        return _TOKENIZERS[self.tokens.rules.split]

    @property
    def noun(self) -> str:
        return _NOUNS[self.tokenizer]

    @property
    def joins(self) -> str:
        """What the network reads beside single tokens."""
        if self.tokens.inside is not None or max(self.tokens.ngrams) > 2:
            return "n-grams"
        return f"pairs of {self.noun}s" if len(self.tokens.ngrams) > 1 else ""

    def total(self, counts: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """How many tokens and n-grams the network makes of texts with these numbers of tokens."""
        totals = sum(np.maximum(counts - size + 1, 0) for size in self.tokens.ngrams)
        if self.tokens.inside is None:
            return totals
        return totals + [
            sum(
                max(len(word) + 3 - size, 0)
                for word in self.tokens.inside.tokens(text)
                for size in self.tokens.characters
            )
            for text in texts
        ]


def lines(parts: Mapping[str, Examples], network: TextNetwork | None = None, *, drops_words: bool = False) -> list[str]:
    """Describes texts as a network will see them, with the setting to change where it would lose much.

    Args:
        parts: mapping from "train", "validation" and "test" (those that exist) to their Examples.
        network: TextNetwork, the settings of a network that will learn its vocabulary; tokenization.SavedTokens, the
            tokenizer of a trained one; or None for a module with a tokenizer of its own, of which nothing is known.
        drops_words: bool, whether the augmentation `word_dropout` is used.

    Returns:
        list of str, lines without line ends.

    Raises:
        InputError: the training texts have no words.

    Example:
        >>> texts = np.array(["a film", "a very long film", "?!"], object)
        >>> train = Examples(np.array([0, 1, 0]), ("bad", "good"), texts)
        >>> for line in lines({"train": train}, TextNetwork("transformer", sequence_length=3)):
        ...     print(line)
        length: a text has 0 to 4 words, half of the texts at most 2
        cut: 1 of 3 training texts (33.3%) has more than the 3 words of model.sequence_length;
        model.sequence_length=4 holds 95% of the texts whole
        without words: 1 text, such as '?!'
    """
    texts = {name: _sampled(part.inputs.ravel()) for name, part in parts.items()}
    described, count = [], parts["train"].inputs.size
    if parts["train"].shape:
        described.append("pairs: the two texts of a pair are counted as two texts in the following")
    if len(texts["train"]) < count:
        described.append(f"texts: the following is measured on {len(texts['train']):,} of the {count:,} training texts")
    if network is not None:
        is_new = isinstance(network, TextNetwork)
        saved = network.learned(texts["train"]) if is_new else network
        reading = _Reading(saved.tokens, saved.length, network if is_new else None)
        tokens = {name: [saved.tokens.rules.tokens(text) for text in of_part] for name, of_part in texts.items()}
        described += _lengths(texts["train"], tokens["train"], reading)
        described += _unknown(tokens.get("validation", ()), reading)
        described += _empty(texts, tokens, reading)
        described += _scripts(texts["train"], reading)
    described += _single_words(texts["train"]) if drops_words else []
    return described + _html(texts["train"]) + _near_copies(parts)


def _sampled(texts: Sequence[str]) -> list[str]:
    texts = [str(text) for text in texts]
    step = math.ceil(sum(map(len, texts)) / _MOST_CHARACTERS) if texts else 1
    return texts[:: max(step, 1)]


def _lengths(texts: Sequence[str], tokens: Sequence[Sequence[str]], reading: _Reading) -> list[str]:
    counts = np.array([len(of_text) for of_text in tokens])
    noun, least, most = reading.noun, counts.min(), counts.max()
    described = [
        f"length: a text has {least:,} to {most:,} {noun}s, half of the texts at most {np.median(counts):,.0f}"
        if least < most
        else f"length: every text has {most:,} {noun}{'' if most == 1 else 's'}"
    ]
    totals = reading.total(counts, texts)
    long, limit = int((totals > reading.length).sum()), reading.length
    if not long:
        return described
    unit = f"{limit:,} {noun}s{f' and {reading.joins}' if reading.joins else ''}"
    enough = math.ceil(np.percentile(totals, _PERCENTILE, method="higher"))
    if enough > limit and reading.network is not None:
        advice = f"model.sequence_length={enough} holds {_PERCENTILE}% of the texts whole"
    else:
        advice = f"the longest has {totals.max():,}"
    return [
        *described,
        f"cut: {_of(long, len(totals), 'training text')} {'has' if long == 1 else 'have'} more than the {unit} of "
        f"model.sequence_length; {advice}",
    ]


def _unknown(validation: Sequence[Sequence[str]], reading: _Reading) -> list[str]:
    learned, noun, network = reading.tokens, reading.noun, reading.network
    known = frozenset(learned.vocabulary)
    validation = [tokens[: reading.length] for tokens in validation]  # what the network reads
    missing = [sum(token not in known for token in tokens) for tokens in validation]
    total, unknown = sum(map(len, validation)), sum(missing)
    if not unknown:
        return []
    described = (
        f"unknown: {_of(unknown, total, noun)} of the validation texts {'is' if unknown == 1 else 'are'} not in the vocabulary "
        f"of {len(learned.vocabulary):,} {noun}s{' and ' + reading.joins.split()[0] if reading.joins else ''}"
    )
    if unknown > _NOTABLE_FRACTION * total and network is not None:
        advice, size = [], network.vocabulary_size or tokenization.NETWORKS[network.name].vocabulary_size
        if len(learned.vocabulary) >= size - tokenization.SPECIAL_TOKENS:
            advice.append(f"model.vocabulary_size={2 * size} knows more of them")
        if network.tokenizer == "words" and learned.inside is None:
            advice.append("model.tokenizer=subwords reads unknown words in pieces")
        described += f"; {', and '.join(advice)}" if advice else ""
    only = [tokens for tokens, count in zip(validation, missing, strict=True) if tokens and count == len(tokens)]
    if only and learned.inside is None:
        more = f"{len(only):,} validation texts have" if len(only) > 1 else "1 validation text has"
        example = (" " if reading.tokenizer == "words" else "").join(only[0]).replace(WORD_START, " ")
        return [described, f"unknown only: {more} no known {noun}, such as '{shortened(example)}'"]
    return [described]


def _empty(texts: Mapping, tokens: Mapping, reading: _Reading) -> list[str]:
    empty = [
        text for name in texts for text, of_text in zip(texts[name], tokens[name], strict=True) if not len(of_text)
    ]
    if not empty:
        return []
    count = "1 text" if len(empty) == 1 else f"{len(empty):,} texts"
    return [f"without {reading.noun}s: {count}, such as '{shortened(empty[0])}'"]


def _scripts(texts: Sequence[str], reading: _Reading) -> list[str]:
    if reading.tokenizer != "words":
        return []
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    counts = {name: sum(len(re.findall(f"[{span}]", text)) for text in texts) for name, span in _SCRIPTS.items()}
    share = sum(counts.values()) / max(letters, 1)
    if share <= _NOTABLE_FRACTION:
        return []
    names = [name for name in counts if counts[name] > _NOTABLE_FRACTION * letters] or [max(counts, key=counts.get)]
    advice = "" if reading.network is None else "; set model.tokenizer=characters (or subwords)"
    return [
        f"script: {share:.0%} of the letters are {' and '.join(names)}, written without spaces between words, so that "
        f"model.tokenizer=words takes a sentence as one word{advice}"
    ]


def _single_words(texts: Sequence[str]) -> list[str]:
    single = sum(len(text.split()) < 2 for text in texts)
    if single <= len(texts) / 2:
        return []
    return [
        f"word_dropout: {_of(single, len(texts), 'training text')} without white space between words, which data.augment="
        "[word_dropout] leaves as they are"
    ]


def _html(texts: Sequence[str]) -> list[str]:
    found = [match.group() for text in texts if (match := _HTML.search(text))]
    if len(found) <= _NOTABLE_FRACTION * len(texts):
        return []
    return [
        f"HTML: {_of(len(found), len(texts), 'training text')} with HTML, such as '{shortened(found[0])}', which is read as words"
    ]


def _near_copies(parts: Mapping[str, Examples]) -> list[str]:
    if sum(len(str(text)) for part in parts.values() for text in part.inputs.flat) > _MOST_COMPARED_CHARACTERS:
        return []
    to_words = tokenization.rules("words").tokens
    words = lambda text: tuple(tuple(to_words(str(one))) for one in np.ravel(text))
    known = {key for text in parts["train"].inputs if any(key := words(text))}
    described, noun = [], "pair" if parts["train"].shape else "text"
    for name, part in parts.items():
        copies = [] if name == "train" else [text for text in part.inputs if words(text) in known]
        if copies:
            are = f"is a training {noun}" if len(copies) == 1 else f"are training {noun}s"
            described.append(
                f"near copies: {_of(len(copies), len(part), f'{name} {noun}')} {are} but for case, white space or "
                f"punctuation, such as '{shortened(shown(copies[0]))}'"
            )
    return described


def _of(count: int, total: int, noun: str) -> str:
    return f"{count:,} of {total:,} {noun}{'' if total == 1 else 's'} ({count / total:.1%})"
