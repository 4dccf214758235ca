"""Token ids of texts in a graph, as the libraries `tokenizers` and `sentencepiece` make them.

Takes `EncoderTokens` and strings (b,), returns ragged ids (b, None). Must not add special tokens or cut texts.
"""

import functools
import itertools

import numpy as np
import tensorflow as tf

from kerastrain.system import optional_imports
from kerastrain.tokenization.encoder_tokens import LONGEST_WORD, EncoderTokens

# White space and control characters as the library `tokenizers` sees them.
_SPACES = r"\t\n\r\x{20}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_MORE_SPACES = rf"{_SPACES}\x{{b}}\x{{c}}\x{{85}}"
_CONTROL = r"[\p{Cc}\p{Cf}\p{Co}\x{fffd}]"
_PUNCTUATION = r"([!-/:-@\[-`{-~\p{P}])"
_CHINESE = (
    r"([\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{f900}-\x{faff}\x{20000}-\x{2a6df}\x{2a700}-\x{2b81f}"
    r"\x{2b920}-\x{2ceaf}\x{2f800}-\x{2fa1f}])"
)
_MARK = "\ufdd0"  # a code point that is no character, and in no text
_LETTERS = rf" ?\p{{L}}+| ?\p{{N}}+| ?[^{_MORE_SPACES}\p{{L}}\p{{N}}{_MARK}]+|[{_MORE_SPACES}]+"
_WORDS = rf"'s|'t|'re|'ve|'m|'ll|'d|{_LETTERS}"
_PURPOSE = {"extra": "kerashub", "to": "read texts as a pretrained encoder does"}
_WORD_BYTES = 8  # for each token of the sequence length: more bytes of one word are not read


class WordPieces:
    """Word pieces in a graph, as `tokenizers` makes them with its BertNormalizer and BertPreTokenizer.

    Args:
        tokens: EncoderTokens of kind "word_pieces".
        sequence_length: int, not used.
    """

    def __init__(self, tokens: EncoderTokens, sequence_length: int):
        self.tokens = tokens
        characters = frozenset(itertools.chain.from_iterable(tokens.vocabulary))
        # A word that is too long becomes a character of no token, and so the unknown token.
        self._unknown = next(chr(point) for point in range(0xE000, 0xF900) if chr(point) not in characters)
        last = {token: index for index, token in enumerate(tokens.vocabulary)}
        unique = [
            token if token and last[token] == index else f"[never {index}]"
            for index, token in enumerate(tokens.vocabulary)
        ]
        self._tokenizer = _text_library().FastWordpieceTokenizer(
            unique,
            token_out_type=tf.int32,
            unknown_token=tokens.vocabulary[tokens.unknown],
            no_pretokenization=True,
            max_bytes_per_word=4 * LONGEST_WORD,
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of strings (b,): int32 (b, None)."""
        tokens, replace = self.tokens, tf.strings.regex_replace
        texts = replace(texts, f"[{_SPACES if tokens.clean else _MORE_SPACES}]", " ")
        if tokens.clean:
            texts = replace(texts, _CONTROL, "")
        if tokens.split_chinese:
            texts = replace(texts, _CHINESE, r" \1 ")
        texts = _normalized(texts, strip_accents=tokens.strip_accents, lowercase=tokens.lowercase)
        words = tf.strings.split(replace(texts, _PUNCTUATION, r" \1 "))
        flat = words.flat_values
        flat = tf.where(tf.strings.length(flat, "UTF8_CHAR") > LONGEST_WORD, self._unknown, flat)
        return self._tokenizer.tokenize(words.with_flat_values(flat)).merge_dims(1, 2)


class BytePairs:
    """Byte pairs in a graph, as `tokenizers` makes them with its ByteLevel and BPE.

    Of a word of more than eight bytes for each token of the sequence length, the rest is not read.

    Args:
        tokens: EncoderTokens of kind "byte_pairs".
        sequence_length: int >= 1.
    """

    def __init__(self, tokens: EncoderTokens, sequence_length: int):
        self.tokens = tokens
        self._most_bytes = _WORD_BYTES * sequence_length
        ids = {token: index for index, token in enumerate(tokens.vocabulary)}
        letters = byte_letters()
        self._byte_ids = np.array([ids.get(letters[byte], tokens.unknown) for byte in range(256)], np.int64)
        self._size = len(tokens.vocabulary)
        pairs = [merge.split(" ") for merge in tokens.merges]
        rows = np.array(
            [
                (ids[left], ids[right], ids[left + right])
                for left, right in pairs
                if left in ids and right in ids and left + right in ids
            ]
            or [(-1, -1, 0)],
            np.int64,
        )
        ranks = np.arange(len(rows))
        earliest = np.full(self._size, len(rows))  # the first pair that an id is a part of
        np.minimum.at(
            earliest, rows[::-1, :2][rows[::-1, 0] >= 0].ravel(), np.repeat(ranks[::-1][rows[::-1, 0] >= 0], 2)
        )
        self._merged = rows[:, 2]
        self._is_orderly = earliest[self._merged] > ranks
        keys, first = np.unique(rows[:, 0] * self._size + rows[:, 1], return_index=True)
        self._keys, self._ranks = keys, first.astype(np.int64)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of strings (b,): int32 (b, None)."""
        if self.tokens.space_before:
            is_apart = tf.strings.regex_full_match(texts, rf"(?s)[{_MORE_SPACES}].*")
            texts = tf.where(is_apart | (texts == ""), texts, tf.strings.join([" ", texts]))
        # The last white space before a word belongs to it; RE2 cannot look ahead, so a mark goes before it.
        texts = tf.strings.regex_replace(texts, _MARK, "")
        texts = tf.strings.regex_replace(texts, rf"([{_MORE_SPACES}])([^{_MORE_SPACES}])", rf"{_MARK}\1\2")
        words = _text_library().regex_split(texts, rf"{_WORDS}|{_MARK}", _WORDS)
        unique, places = tf.unique(words.flat_values)
        pieces = self._merge(tf.strings.substr(unique, 0, self._most_bytes))
        return words.with_flat_values(tf.gather(pieces, places)).merge_dims(1, 2)

    def _merge(self, words: tf.Tensor) -> tf.RaggedTensor:
        """int32 (n, None): the ids of words, joined again and again at the pair of the lowest rank.

        All places of a pair are joined in one step, unless its result is part of a pair that comes before it.
        """
        letters = tf.strings.bytes_split(words)
        numbers = tf.cast(tf.reshape(tf.io.decode_raw(letters.flat_values, tf.uint8), [-1]), tf.int32)
        ids, word, count = tf.gather(tf.constant(self._byte_ids), numbers), letters.value_rowids(), letters.nrows()
        keys, ranks, never = tf.constant(self._keys), tf.constant(self._ranks), len(self._merged)
        merged, is_orderly = tf.constant(self._merged), tf.constant(self._is_orderly)

        def ranks_of(ids, word, places):
            """The ranks of the pairs that begin at places; `never` for what is no pair."""
            after = tf.minimum(places + 1, tf.size(ids, tf.int64) - 1)
            pairs = tf.gather(ids, places) * self._size + tf.gather(ids, after)
            found = tf.minimum(tf.searchsorted(keys, pairs), len(self._keys) - 1)
            is_pair = (tf.gather(keys, found) == pairs) & (after > places)
            is_pair &= tf.gather(word, places) == tf.gather(word, after)
            return tf.where(is_pair, tf.gather(ranks, found), never)

        def join(ids, word, rank):
            places = tf.range(tf.size(ids, tf.int64))
            best = tf.gather(tf.math.unsorted_segment_min(rank, word, count), word)
            joins = (rank == best) & (rank < never)
            # Of "a a a", the pair "a a" is joined at its first place.
            begins = joins & ~_moved(joins, 1)
            begin = tf.gather(tf.where(begins)[:, 0], tf.maximum(tf.cumsum(tf.cast(begins, tf.int64)) - 1, 0))
            first = tf.gather(tf.math.unsorted_segment_min(tf.where(joins, places, places[-1]), word, count), word)
            at_once = tf.gather(is_orderly, tf.minimum(best, never - 1))
            joins &= ((places - begin) % 2 == 0) & (at_once | (places == first))
            ids = tf.where(joins, tf.gather(merged, tf.minimum(rank, never - 1)), ids)
            keep = ~_moved(joins, 1)
            ids, word, rank, joins = (tf.boolean_mask(values, keep) for values in (ids, word, rank, joins))
            changed = tf.where(joins | _moved(joins, -1))
            return ids, word, tf.tensor_scatter_nd_update(rank, changed, ranks_of(ids, word, changed[:, 0]))

        ids, word, _ = tf.while_loop(
            lambda ids, word, rank: tf.reduce_any(rank < never),
            join,
            (ids, word, ranks_of(ids, word, tf.range(tf.size(ids, tf.int64)))),
            shape_invariants=(tf.TensorShape([None]),) * 3,
        )
        return tf.RaggedTensor.from_value_rowids(tf.cast(ids, tf.int32), word, count, validate=False)


def _moved(values: tf.Tensor, by: int) -> tf.Tensor:
    """Booleans moved by one place to the end, or with -1 to the start, with False at the free place."""
    free = tf.zeros_like(values[:1])
    return tf.concat([free, values[:-1]] if by > 0 else [values[1:], free], 0)


class SentencePieces:
    """The pieces of SentencePiece in a graph.

    Args:
        tokens: EncoderTokens of kind "sentence_pieces".
        sequence_length: int, not used.
    """

    def __init__(self, tokens: EncoderTokens, sequence_length: int):
        self.tokens = tokens
        sentencepiece = optional_imports.need("sentencepiece", **_PURPOSE)
        self._unknown = sentencepiece.SentencePieceProcessor(model_proto=tokens.proto).unk_id()

        # The tokenizer is made in the graph: one that is made outside is lost when TensorFlow clears its caches, as each
        # `tf.random.set_seed` does.
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def tokenize(texts):
            return _text_library().SentencepieceTokenizer(tokens.proto, out_type=tf.int32).tokenize(texts)

        self._tokenize = tokenize

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of strings (b,): int32 (b, None)."""
        tokens = self.tokens
        texts = _normalized(texts, strip_accents=tokens.strip_accents, lowercase=tokens.lowercase)
        pieces = self._tokenize(texts)
        values = pieces.flat_values
        return pieces.with_flat_values(tf.where(values == self._unknown, tokens.unknown, values + tokens.offset))


def byte_letters() -> list[str]:
    """The letter by which GPT-2's vocabulary writes each byte.

    Returns:
        list of 256 str.

    Example:
        >>> byte_letters()[ord("A")], byte_letters()[ord(" ")]
        ('A', 'Ġ')
    """
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = itertools.count(256)
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _normalized(texts: tf.Tensor, *, strip_accents: bool, lowercase: bool) -> tf.Tensor:
    if strip_accents:
        texts = tf.strings.regex_replace(_text_library().normalize_utf8(texts, "NFD"), r"\p{Mn}", "")
    if lowercase:
        # Each letter by itself: a capital sigma at the end of a word would else become the other small sigma.
        texts = tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), "utf-8")
    return texts


@functools.cache
def _text_library():
    return optional_imports.need("tensorflow_text", **_PURPOSE)
