"""The vocabulary of a text network, learned from its training texts.

Takes texts, returns the rules and the tokens by their frequency. Must not import TensorFlow.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kerastrain.tokenization import subwords
from kerastrain.tokenization.text_rules import TextRules, Tokenizer, rules

SPECIAL_TOKENS = 2  # padding and unknown
_LONGEST_TOKEN = (
    200  # characters; a file without spaces is one word, and Keras keeps every token in the space of the longest
)


@dataclasses.dataclass(frozen=True)
class Network:
    """How a network that kerastrain builds reads tokens.

    Args:
        has_pairs: bool, whether the pairs of adjacent tokens follow the tokens of a text.
        lengths: mapping from a tokenizer to the default of `sequence_length`.
    """

    has_pairs: bool
    lengths: Mapping[str, int]


NETWORKS = {
    "embedding": Network(True, {"words": 100, "characters": 400, "subwords": 160}),
    "transformer": Network(False, {"words": 64, "characters": 256, "subwords": 96}),
}
VOCABULARY_SIZE = 30_000


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokenizer of a network.

    Args:
        rules: TextRules.
        ngrams: tuple of int, the numbers of adjacent tokens that count as one.
        vocabulary: sequence of str, the known tokens without padding and unknown, the most frequent first.
    """

    rules: TextRules
    ngrams: tuple[int, ...]
    vocabulary: Sequence[str]

    def tokens(self, text: str) -> list[str]:
        """Splits a text into tokens, and joins adjacent ones to n-grams.

        Args:
            text: str.

        Returns:
            list of str: all n-grams of the first size, then those of the next.
        """
        return joined(self.rules.tokens(text), self.ngrams)


def joined(tokens: Sequence[str], ngrams: Iterable[int]) -> list[str]:
    """Joins adjacent tokens with a space.

    Args:
        tokens: sequence of str.
        ngrams: iterable of int >= 1, the numbers of tokens to join.

    Returns:
        list of str: all n-grams of the first size, then those of the next.

    Example:
        >>> joined(["a", "good", "film"], (1, 2))
        ['a', 'good', 'film', 'a good', 'good film']
    """
    return [" ".join(tokens[start : start + width]) for width in ngrams for start in range(len(tokens) - width + 1)]


def learn(
    texts: Iterable[str], tokenizer: Tokenizer = "words", *, pairs: bool = False, size: int = VOCABULARY_SIZE
) -> Tokens:
    """Learns the tokenizer of a network from its training texts.

    The most frequent tokens are known, and among equally frequent ones the last in the order of their characters, as in
    `TextVectorization.adapt`. Of "subwords", the pieces are learned first.

    Args:
        texts: iterable of str.
        tokenizer: "words", "characters" or "subwords".
        pairs: bool, whether pairs of adjacent tokens are tokens too.
        size: int > 2, the largest number of tokens, with those for padding and unknown.

    Returns:
        Tokens. Its vocabulary is empty if no text has a token.

    Example:
        >>> learn(["A fine film", "a dull film"], pairs=True, size=5).vocabulary
        ('film', 'a', 'fine film')
    """
    texts = texts if isinstance(texts, Sequence) else list(texts)
    pieces = subwords.learn(texts, size // 4 if pairs else size - SPECIAL_TOKENS) if tokenizer == "subwords" else ()
    text_rules, ngrams = rules(tokenizer, pieces), (1, 2) if pairs else (1,)
    counts = Counter()
    for text in texts:
        counts.update(joined(text_rules.tokens(text), ngrams))
    known = sorted(((count, token) for token, count in counts.items() if len(token) <= _LONGEST_TOKEN), reverse=True)
    return Tokens(text_rules, ngrams, tuple(token for _, token in known[: size - SPECIAL_TOKENS]))
