"""The pieces of words, learned from texts by byte-pair encoding over characters.

Takes texts, returns pieces. Must not import TensorFlow.
"""

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from kerastrain.tokenization.text_rules import WORD_START, is_punctuation, rules

MOST_PIECES = 8_000  # A text is split by one regular expression of all pieces, whose size RE2 limits.
_MOST_WORDS = 100_000
_LONGEST_PIECE = 24  # characters


def learn(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """Learns pieces that split words into as few tokens as possible.

    Starting from the characters, the most frequent pair of adjacent pieces in a word becomes a piece itself, until there
    are `size` or no pair occurs twice. Punctuation marks are pieces by themselves.

    Args:
        texts: iterable of str.
        size: int >= 1, the largest number of pieces; never more than `MOST_PIECES`.

    Returns:
        tuple of str, without order.

    Example:
        >>> [piece for piece in learn(["low, lower"] * 3, 8) if len(piece) > 1]
        ['lo']

    Reference: Sennrich et al. 2016, https://aclanthology.org/P16-1162, algorithm 1.
    """
    to_characters = rules("subwords").tokens  # Without pieces every character is a token.
    counts = Counter()
    for text in texts:
        counts.update(_words(to_characters(text)))
    common = counts.most_common(_MOST_WORDS)
    characters = Counter()
    for word, count in common:
        for character in word:
            characters[character] += count
    size = min(size, MOST_PIECES)
    pieces = [character for character, _ in characters.most_common(size)]
    merges = _merges([list(word) for word, _ in common], [count for _, count in common])
    return tuple(dict.fromkeys([*pieces, *itertools.islice(merges, size - len(pieces))]))


def _words(characters: Iterable[str]) -> Iterator[str]:
    """Joins characters to words, which WORD_START begins; a punctuation mark is a word, with WORD_START before it."""
    word = ""
    for character in characters:
        if is_punctuation(character):
            if word not in ("", WORD_START):
                yield word
                word = ""
            yield word + character
            word = ""
        elif character == WORD_START and word:
            yield word
            word = character
        else:
            word += character
    if word:
        yield word


def _merges(words: list[list[str]], frequencies: list[int]) -> Iterator[str]:
    """Yields the most frequent pair of adjacent pieces, joined, and joins it in the words, again and again."""
    counts, places = Counter(), defaultdict(set)
    for number, word in enumerate(words):
        for pair in itertools.pairwise(word):
            counts[pair] += frequencies[number]
            places[pair].add(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    while heap:
        count, pair = heapq.heappop(heap)
        if -count != counts[pair]:  # It changed since it was pushed.
            if counts[pair] > 1:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        if -count < 2:
            return
        piece = "".join(pair)
        if len(piece) > _LONGEST_PIECE:
            continue
        yield piece
        changed = set()
        for number in places.pop(pair):
            word, frequency = words[number], frequencies[number]
            for old in itertools.pairwise(word):
                counts[old] -= frequency
            words[number] = word = _with_joined(word, pair, piece)
            for new in itertools.pairwise(word):
                counts[new] += frequency
                places[new].add(number)
                changed.add(new)
        for new in changed:
            heapq.heappush(heap, (-counts[new], new))


def _with_joined(word: list[str], pair: tuple[str, str], piece: str) -> list[str]:
    joined, index = [], 0
    while index < len(word):
        if tuple(word[index : index + 2]) == pair:
            joined.append(piece)
            index += 2
        else:
            joined.append(word[index])
            index += 1
    return joined
