"""The vocabulary of a text network, learned from its training texts.

Takes texts, returns the rules and the tokens by their frequency. Must not import TensorFlow.
"""

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kerastrain.tokenization import subwords
from kerastrain.tokenization.text_rules import WORD_START, TextRules, Tokenizer, rules

VOCABULARY_SIZE = 30_000
SPECIAL_TOKENS = 2  # padding and unknown
_MOST_CHARACTERS = 20_000_000  # of the texts whose n-grams are counted, a minute's work
_LONGEST_TOKEN = (
    200  # characters; a file without spaces is one word, and Keras keeps every token in the space of the longest
)


@dataclasses.dataclass(frozen=True)
class Network:
    """How a network that kerastrain builds reads tokens.

    Args:
        ngrams: mapping from a tokenizer to the numbers of adjacent tokens that count as one.
        lengths: mapping from a tokenizer to the default of `sequence_length`.
        vocabulary_size: int > 2, the default of `vocabulary_size`.
        characters: tuple of int, the numbers of adjacent characters inside a word that count as one, for the tokenizer
            "words".
    """

    ngrams: Mapping[str, tuple[int, ...]]
    lengths: Mapping[str, int]
    vocabulary_size: int = VOCABULARY_SIZE
    characters: tuple[int, ...] = ()


NETWORKS = {
    "ngrams": Network(
        {"words": (1, 2), "characters": (1, 2, 3, 4), "subwords": (1, 2)},
        dict.fromkeys(("words", "characters", "subwords"), 10_000),
        vocabulary_size=60_000,
        characters=(2, 3, 4, 5),
    ),
    "embedding": Network(
        dict.fromkeys(("words", "characters", "subwords"), (1, 2)), {"words": 100, "characters": 400, "subwords": 160}
    ),
    "transformer": Network(
        dict.fromkeys(("words", "characters", "subwords"), (1,)), {"words": 64, "characters": 256, "subwords": 96}
    ),
}


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokenizer of a network.

    Args:
        rules: TextRules.
        ngrams: tuple of int, the numbers of adjacent tokens that count as one.
        vocabulary: sequence of str, the known tokens without padding and unknown, the most frequent first.
        inside: TextRules of the words whose characters count too, or None.
        characters: tuple of int, the numbers of adjacent characters of these words that count as one.
        text_counts: sequence of int, the number of training texts with each token of `vocabulary`; empty where they are
            not counted.
        texts: int, the number of training texts that were counted.
    """

    rules: TextRules
    ngrams: tuple[int, ...]
    vocabulary: Sequence[str]
    inside: TextRules | None = None
    characters: tuple[int, ...] = ()
    text_counts: Sequence[int] = ()
    texts: int = 0

    def tokens(self, text: str) -> list[str]:
        """Splits a text into tokens, and joins adjacent ones to n-grams.

        Args:
            text: str.

        Returns:
            list of str: all n-grams of the first size, then those of the next; then those of the characters of each
            word, with `WORD_START` at both of its ends and between the characters.

        Example:
            >>> words = rules("words")
            >>> Tokens(words, (1, 2), (), words, (3,)).tokens("to be")
            ['to', 'be', 'to be', '▁▁t▁o', 't▁o▁▁', '▁▁b▁e', 'b▁e▁▁']
        """
        tokens = joined(self.rules.tokens(text), self.ngrams)
        for word in self.inside.tokens(text) if self.inside else ():
            tokens += _inside(word, self.characters)
        return tokens

    def is_inside(self, token: str) -> bool:
        """Whether a token is an n-gram of the characters inside a word.

        Args:
            token: str, one of `tokens`.

        Returns:
            bool.
        """
        return self.inside is not None and WORD_START in token


@functools.lru_cache(1 << 16)
def _inside(word: str, sizes: tuple[int, ...]) -> list[str]:
    return joined(f"{WORD_START}{word}{WORD_START}", sizes, WORD_START)


def joined(tokens: Sequence[str], ngrams: Iterable[int], separator: str = " ") -> list[str]:
    """Joins adjacent tokens.

    Args:
        tokens: sequence of str.
        ngrams: iterable of int >= 1, the numbers of tokens to join.
        separator: str between two of them.

    Returns:
        list of str: all n-grams of the first size, then those of the next.

    Example:
        >>> joined(["a", "good", "film"], (1, 2))
        ['a', 'good', 'film', 'a good', 'good film']
    """
    return [
        separator.join(tokens[start : start + width]) for width in ngrams for start in range(len(tokens) - width + 1)
    ]


def counted_every(texts: Sequence[str]) -> int:
    """Which of many training texts are counted for the weights of tokens: every n-th.

    Args:
        texts: sequence of str.

    Returns:
        int >= 1, n.
    """
    return max(1, math.ceil(sum(map(len, texts)) / _MOST_CHARACTERS))


def learn(
    texts: Iterable[str], tokenizer: Tokenizer = "words", *, network: str = "transformer", size: int | None = None
) -> Tokens:
    """Learns the tokenizer of a network from its training texts.

    The most frequent tokens are known, and among equally frequent ones the last in the order of their characters, as in
    `TextVectorization.adapt`. For "ngrams" a token counts once in a text, and of more than 20 million characters every n-th
    text is counted. Of "subwords", the pieces are learned first.

    Args:
        texts: iterable of str.
        tokenizer: "words", "characters" or "subwords".
        network: str, a key of `NETWORKS`.
        size: int > 2, the largest number of tokens, with those for padding and unknown; None for the network's default.

    Returns:
        Tokens. Its vocabulary is empty if no text has a token.

    Example:
        >>> learn(["A fine film", "a dull film"], network="embedding", size=5).vocabulary
        ('film', 'a', 'fine film')
    """
    return _learned(tuple(texts), tokenizer, network, size)


@functools.lru_cache(1)  # `train` describes the texts of the network that it then builds.
def _learned(texts: tuple[str, ...], tokenizer: Tokenizer, network: str, size: int | None) -> Tokens:
    chosen = NETWORKS[network]
    size, ngrams = size or chosen.vocabulary_size, chosen.ngrams[tokenizer]
    piece_count = size - SPECIAL_TOKENS if ngrams == (1,) else size // 4
    pieces = subwords.learn(texts, piece_count) if tokenizer == "subwords" else ()
    inside = dataclasses.replace(rules("characters"), split="whitespace") if chosen.characters else None
    tokens = Tokens(
        rules(tokenizer, pieces), ngrams, (), *((inside, chosen.characters) if tokenizer == "words" else ())
    )
    counts, by_text = Counter(), network == "ngrams"
    if by_text:
        texts = texts[:: counted_every(texts)]
    for text in texts:
        counts.update(set(tokens.tokens(text)) if by_text else tokens.tokens(text))
    known = sorted(((count, token) for token, count in counts.items() if len(token) <= _LONGEST_TOKEN), reverse=True)
    known = known[: size - SPECIAL_TOKENS]
    counted = {"text_counts": tuple(count for count, _ in known), "texts": len(texts)} if by_text else {}
    return dataclasses.replace(tokens, vocabulary=tuple(token for _, token in known), **counted)
