"""The rules by which a text becomes tokens: which characters are replaced or removed, and where it is split.

The rules are data, not code: a model stores them, an exported file describes them, and any program can follow them, whatever
its own version of Unicode. Must not import TensorFlow or any other room.
"""

import dataclasses
import functools
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal

Tokenizer = Literal["words", "characters", "subwords"]
TOKENIZERS = ("words", "characters", "subwords")

WORD_START = "\u2581"
"""Marks the first piece of a word, as in SentencePiece."""

# What Keras's TextVectorization removes: https://keras.io/api/layers/preprocessing_layers/text/text_vectorization/.
PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"

# Punctuation inside words, which is removed like the apostrophe and the hyphen of ASCII; other punctuation beyond ASCII
# becomes a space, because languages that write it between two words write no space beside it.
_INSIDE_WORDS = "\u2010\u2011\u2018\u2019\u201b\u00b7\u05f3\u05f4"
_JOINERS = "\u200c\u200d"  # Part of the spelling in Persian and in the scripts of India, and of many emoji.
_WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85"
_SURROGATES = range(0xD800, 0xE000)


@dataclasses.dataclass(frozen=True)
class TextRules:
    r"""How a text becomes tokens.

    Args:
        replaced: str, the characters that are replaced, each once.
        replacements: str of the same length, the character for each of them.
        removed: str, the characters that are removed.
        split: "whitespace" for words, which spaces separate; "character" for single characters, of which runs of spaces
            count as one; "pieces" for the longest of `pieces` that each word starts with, then of its rest, and so on. A
            character that starts no piece is a token.
        pieces: sequence of str, for "pieces"; those that start a word begin with `WORD_START`.

    Example:
        >>> TextRules("AÉ\n", "aé ", "!").tokens("ÉTA\nA!")
        ['éTa', 'a']
    """

    replaced: str
    replacements: str
    removed: str
    split: Literal["whitespace", "character", "pieces"] = "whitespace"
    pieces: Sequence[str] = ()

    def tokens(self, text: str) -> list[str]:
        """Splits a text into tokens.

        Args:
            text: str.

        Returns:
            list of str, in the order of the text.
        """
        words = [word for word in text.translate(self._table).split(" ") if word]
        if self.split == "whitespace":
            return words
        if self.split == "character":
            return list(" ".join(words))
        return [piece for word in words for piece in self._of_word(word)]

    @functools.cached_property
    def _table(self) -> dict[int, str]:
        return str.maketrans(self.replaced, self.replacements, self.removed)

    @functools.cached_property
    def _of_word(self):
        pieces = frozenset(self.pieces)
        longest = max(map(len, pieces), default=1)
        return functools.lru_cache(1 << 16)(lambda word: tuple(_longest_first(WORD_START + word, pieces, longest)))


def _longest_first(word: str, pieces: frozenset[str], longest: int) -> Iterator[str]:
    start = 0
    while start < len(word):
        ends = range(min(len(word), start + longest), start, -1)
        end = next((end for end in ends if word[start:end] in pieces), start + 1)
        yield word[start:end]
        start = end


def rules(tokenizer: Tokenizer, pieces: Sequence[str] = ()) -> TextRules:
    r"""The rules of a new model.

    Letters become lower case in every script, and all white space a space. Control and formatting characters are removed.
    Words lose their punctuation; single characters and pieces keep it.

    Args:
        tokenizer: "words", "characters" or "subwords".
        pieces: sequence of str, for "subwords".

    Returns:
        TextRules.

    Example:
        >>> rules("words").tokens("“L'ÉTÉ”, it's\u00a0Well-known—Größe!")
        ['lété', 'its', 'wellknown', 'größe']
        >>> rules("characters").tokens("东京 OK")
        ['东', '京', ' ', 'o', 'k']
    """
    replacements, removed = _character_rules(tokenizer == "words")
    split = {"words": "whitespace", "characters": "character", "subwords": "pieces"}[tokenizer]
    return TextRules("".join(replacements), "".join(replacements.values()), removed, split, tuple(pieces))


@functools.cache
def _character_rules(without_punctuation: bool) -> tuple[dict[str, str], str]:
    """Returns the replaced characters with their replacements, and the removed characters."""
    replacements, removed = {WORD_START: " "}, []
    for point in range(sys.maxunicode + 1):
        # The planes beyond 2 hold tags and variation selectors, which are formatting, and private characters.
        if point in _SURROGATES or 0x30000 <= point < 0xE0000 or point >= 0xE0200:
            continue
        character = chr(point)
        category = unicodedata.category(character)
        if character in _WHITE_SPACE or (category[0] == "Z" and character != " "):
            replacements[character] = " "
        elif _is_formatting(character, category) or (
            without_punctuation and (character in PUNCTUATION or character in _INSIDE_WORDS)
        ):
            removed.append(character)
        elif without_punctuation and is_punctuation(character):
            replacements[character] = " "
        elif (lower := _lower(character)) != character:
            replacements[character] = lower
    return replacements, "".join(removed)


def is_punctuation(character: str) -> bool:
    """Whether a character is a punctuation mark, or one of the symbols of ASCII.

    Args:
        character: str of length 1.

    Returns:
        bool.
    """
    return character in PUNCTUATION or unicodedata.category(character)[0] == "P"


def _is_formatting(character: str, category: str) -> bool:
    """Whether a character has no shape of its own: control and formatting characters, variation selectors, U+FFFD."""
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return (category in ("Cc", "Cf") and character not in _JOINERS) or is_selector or character == "\ufffd"


def _lower(character: str) -> str:
    """The lower-case form of a character, one character too: Σ and ς become σ, and the Turkish İ becomes i."""
    folded = character.casefold()
    lower = folded if len(folded) == 1 else character.lower()
    return lower if len(lower) == 1 else {"\u0130": "i"}.get(character, character)
