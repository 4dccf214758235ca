"""Texts that say the same but for case, punctuation, numbers or a few words.

Takes texts, returns pairs. Must not know of labels.

Reference: Broder 1997, On the resemblance and containment of documents; the pairs are proposed by MinHash in bands and
confirmed by their resemblance itself.
"""

import itertools
import re
import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np

from kerastrain.diagnosis.near_duplicates import Pairs

RESEMBLANCE = 0.7
"""The smallest share of common shingles of two near-duplicates."""

_SHINGLE = 5  # characters
_HASHES, _BANDS = 64, 16  # 4 hashes a band: texts of resemblance 0.7 share one with probability 0.99
_PRIME = np.uint64(2**31 - 1)
_MOST_SHINGLES = 4000  # of a text
_FEWEST_CHARACTERS = 12  # Of shorter texts, only equal ones are near-duplicates.
_MOST_OF_A_BUCKET, _MOST_PAIRS_OF_ONE = 50, 20

_NOT_WORDS = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")


def normalized(text: str) -> str:
    """A text without what hardly changes its meaning: case, punctuation, white space, and the values of numbers.

    Args:
        text: str.

    Returns:
        str.

    Example:
        >>> normalized("  It's 3 o'clock -- NOW! ")
        'it s 0 o clock now'
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORDS.sub(" ", _DIGITS.sub("0", text)).strip()


def near_texts(texts: Sequence[str]) -> Pairs:
    """Finds texts that are equal after `normalized`, or share at least 70 % of their sequences of 5 characters.

    Args:
        texts: sequence of n str.

    Returns:
        Pairs, the most similar first; the difference is 1 - the share of common sequences. At most 20 for a text, and of more
        than 50 equal or very similar ones each is a pair with the first.
    """
    plain = [normalized(text) for text in texts]
    shingles = [_shingles(text) for text in plain]
    candidates = set()
    for key in _buckets(plain, shingles):
        rows = key
        pairs = (
            itertools.combinations(rows, 2) if len(rows) <= _MOST_OF_A_BUCKET else ((rows[0], row) for row in rows[1:])
        )
        candidates.update(pairs)
    rows = []
    for first, second in candidates:
        if plain[first] == plain[second]:
            rows.append((first, second, 0.0))
        elif min(len(plain[first]), len(plain[second])) >= _FEWEST_CHARACTERS:
            common = len(np.intersect1d(shingles[first], shingles[second], assume_unique=True))
            resemblance = common / (len(shingles[first]) + len(shingles[second]) - common)
            if resemblance >= RESEMBLANCE:
                rows.append((first, second, 1 - resemblance))
    return _limited(rows)


def _limited(rows: list[tuple[int, int, float]]) -> Pairs:
    counts, kept = {}, []
    for first, second, difference in sorted(rows, key=lambda row: (row[2], row[:2])):
        # Pairs with the first of many equal ones are kept: without them, the others would have none.
        if counts.get(second, 0) < _MOST_PAIRS_OF_ONE:
            counts[second] = counts.get(second, 0) + 1
            kept.append((first, second, difference))
    first, second, difference = zip(*kept, strict=True) if kept else ((), (), ())
    turned = np.zeros(len(kept), bool)
    return Pairs(np.array(first, np.int64), np.array(second, np.int64), np.array(difference, np.float64), turned)


def _shingles(text: str) -> np.ndarray:
    """The sorted hashes of the sequences of characters of a text."""
    starts = range(max(len(text) - _SHINGLE + 1, 1))
    pieces = {zlib.crc32(text[start : start + _SHINGLE].encode(errors="surrogatepass")) for start in starts}
    return np.sort(np.fromiter(pieces, np.uint32, len(pieces)))[:_MOST_SHINGLES]


def _buckets(plain: Sequence[str], shingles: Sequence[np.ndarray]):
    """Yields the rows of texts that are equal, or whose MinHashes are equal in a band."""
    equal = {}
    for row, text in enumerate(plain):
        if text:
            equal.setdefault(text, []).append(row)
    yield from (rows for rows in equal.values() if len(rows) > 1)
    # One of equal texts stands for them.
    leaders = [rows[0] for text, rows in equal.items() if len(text) >= _FEWEST_CHARACTERS]
    if len(leaders) < 2:
        return
    generator = np.random.default_rng(0)
    factors = generator.integers(1, int(_PRIME), _HASHES, dtype=np.uint64)
    offsets = generator.integers(0, int(_PRIME), _HASHES, dtype=np.uint64)
    hashes = np.empty((len(leaders), _HASHES), np.uint64)
    for place, row in enumerate(leaders):
        values = shingles[row].astype(np.uint64) % _PRIME
        hashes[place] = ((factors[:, None] * values + offsets[:, None]) % _PRIME).min(axis=1)
    for band in np.split(hashes, _BANDS, axis=1):
        _, inverse = np.unique(band, axis=0, return_inverse=True)
        order = np.argsort(inverse.reshape(-1), kind="stable")
        edges = np.flatnonzero(np.diff(inverse.reshape(-1)[order])) + 1
        for part in np.split(order, edges):
            if len(part) > 1:
                yield sorted(leaders[place] for place in part)
