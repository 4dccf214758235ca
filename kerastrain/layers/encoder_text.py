"""Layers around a pretrained text encoder: from strings to token ids, and from a vector for each token to one for a text.

Takes strings (b,), or tensors (b, tokens, d). Must not know of heads or labels.
"""

import functools
import importlib
import itertools
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.tokenization.encoder_tokens import LONGEST_WORD, EncoderTokens

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len")

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
_WORD_BYTES = 8  # for each token of the sequence length: more bytes of one word are not read


@keras.saving.register_keras_serializable("kerastrain")
class EncoderTokenizer(keras.layers.Layer):
    """Turns texts into the token ids of a pretrained encoder: strings (b,) to int32 (b, length).

    A text begins with the start token and ends with the end token, also where it is cut. A batch is padded to its longest
    text only, so that an encoder with a mask computes no more. The layer holds the vocabulary.

    Args:
        tokens: EncoderTokens, or its config.
        sequence_length: int >= 3, the largest number of token ids of a text.
        fixed_length: bool, whether every batch is padded to `sequence_length`, for an encoder without a mask.
        **options: `name` of a Keras layer.

    Raises:
        InputError: tensorflow_text is not installed.
    """

    def __init__(
        self, tokens: EncoderTokens | Mapping, sequence_length: int, *, fixed_length: bool = False, **options: object
    ):
        super().__init__(**{**options, "trainable": False, "dtype": "float32"})
        self.tokens = tokens if isinstance(tokens, EncoderTokens) else EncoderTokens.from_config(tokens)
        self.sequence_length, self.fixed_length = sequence_length, fixed_length
        pieces = {"word_pieces": WordPieces, "byte_pairs": BytePairs, "sentence_pieces": SentencePieces}
        self._pieces = pieces[self.tokens.kind](self.tokens, sequence_length)

    def pieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of texts without the special tokens, not cut.

        Args:
            texts: string tensor (b,).

        Returns:
            int32 tf.RaggedTensor (b, None).
        """
        texts = tf.convert_to_tensor(texts)
        if self.tokens.prefix:
            texts = tf.strings.join([self.tokens.prefix, texts])
        return self._pieces(texts)

    def call(self, texts):
        """The ids of strings (b,)."""
        ids = self._cut(texts)
        return ids.to_tensor(self.tokens.pad, shape=[None, self.sequence_length if self.fixed_length else None])

    def counts(self, texts):
        """How many token ids each text has.

        Args:
            texts: string tensor (b,).

        Returns:
            int64 tensor (b,), each at most `sequence_length`.
        """
        return self._cut(texts).row_lengths()

    def _cut(self, texts):
        tokens, length = self.tokens, self.sequence_length
        pieces = self.pieces(texts)[:, : length - tokens.special]
        around = tf.ones_like(pieces[:, :1].nrows(), tf.int32)
        around = tf.fill([pieces.nrows(), 1], around)
        return tf.concat([around * tokens.start, pieces, around * tokens.end], 1)

    def compute_output_spec(self, texts):
        """int32 (b, length)."""
        return keras.KerasTensor((texts.shape[0], self.sequence_length if self.fixed_length else None), "int32")

    def get_config(self):
        """The arguments of the layer, with the vocabulary."""
        return {
            **super().get_config(),
            "tokens": self.tokens.to_config(),
            "sequence_length": self.sequence_length,
            "fixed_length": self.fixed_length,
        }


@keras.saving.register_keras_serializable("kerastrain")
class TokenPooling(keras.layers.Layer):
    """Reduces the vectors of a text's tokens to one: (b, tokens, d) and a mask (b, tokens) to (b, d).

    Args:
        modes: sequence of str out of `POOLINGS`, whose results are put side by side: "cls", the first token; "max", the
            largest value of each entry; "mean"; "mean_sqrt_len", the sum divided by the root of the number of tokens.
        normalize: bool, whether the result is divided by its L2 norm.
        **options: `name` and `dtype` of a Keras layer.
    """

    def __init__(self, modes: Sequence[str], *, normalize: bool = False, **options: object):
        super().__init__(**options)
        self.modes, self.normalize = tuple(modes), normalize

    def call(self, values, mask):
        """The pooled `values` of the tokens where `mask` is above 0."""
        ops = keras.ops
        weights = ops.expand_dims(ops.cast(mask, values.dtype), -1)
        total = ops.sum(values * weights, axis=1)
        count = ops.maximum(ops.sum(weights, axis=1), 1)
        pooled = {
            "cls": lambda: values[:, 0],
            "max": lambda: ops.max(ops.where(weights > 0, values, _lowest(values)), axis=1),
            "mean": lambda: total / count,
            "mean_sqrt_len": lambda: total / ops.sqrt(count),
        }
        result = ops.concatenate([pooled[mode]() for mode in self.modes], axis=-1)
        if self.normalize:
            # In float32, because the squares of a half-precision vector underflow.
            result = ops.normalize(ops.cast(result, "float32"), axis=-1, epsilon=1e-12)
        return ops.cast(result, self.compute_dtype)

    def compute_output_shape(self, values_shape, mask_shape=None):
        """(b, d times the number of modes)."""
        return values_shape[0], values_shape[-1] * len(self.modes)

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "modes": list(self.modes), "normalize": self.normalize}


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
        rows = [
            (ids[left] * self._size + ids[right], rank, ids[left + right])
            for rank, (left, right) in enumerate(pairs)
            if left in ids and right in ids and left + right in ids
        ]
        table = np.array(sorted(rows) or [(-1, 0, 0)], np.int64)
        self._keys, self._ranks, self._merged = table[:, 0], table[:, 1], table[:, 2]

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
        """int32 (n, None): the ids of words, joined again and again at the pair of the lowest rank."""
        numbers = tf.io.decode_raw(tf.strings.bytes_split(words).flat_values, tf.uint8)
        bytes_of = tf.strings.bytes_split(words)
        numbers = tf.gather(tf.constant(self._byte_ids), tf.cast(tf.reshape(numbers, [-1]), tf.int32))
        ids = bytes_of.with_flat_values(numbers).to_tensor(-1)
        never = tf.constant(np.iinfo(np.int64).max)
        keys, ranks, merged = tf.constant(self._keys), tf.constant(self._ranks), tf.constant(self._merged)

        def places_of(ids):
            pairs = tf.where((ids[:, :-1] >= 0) & (ids[:, 1:] >= 0), ids[:, :-1] * self._size + ids[:, 1:], -2)
            places = tf.minimum(
                tf.reshape(tf.searchsorted(keys, tf.reshape(pairs, [-1])), tf.shape(pairs)), len(self._keys) - 1
            )
            return places, tf.where(tf.gather(keys, places) == pairs, tf.gather(ranks, places), never)

        def join(ids, _):
            places, rank = places_of(ids)
            first = tf.argmin(rank, 1, tf.int32)
            joins = tf.reduce_min(rank, 1) < never
            column = tf.range(tf.shape(ids)[1])[None]
            at = joins[:, None] & (column == first[:, None])
            new = tf.gather(merged, tf.gather(places, first, batch_dims=1))
            after = joins[:, None] & (column > first[:, None])
            shifted = tf.pad(ids[:, 1:], [[0, 0], [0, 1]], constant_values=-1)
            ids = tf.where(at, new[:, None], tf.where(after, shifted, ids))
            return ids, can_join(ids)

        def can_join(ids):
            return tf.reduce_any(places_of(ids)[1] < never)

        def loop():
            return tf.while_loop(
                lambda _, more: more,
                join,
                (ids, can_join(ids)),
                shape_invariants=(tf.TensorShape([None, None]), tf.TensorShape([])),
            )[0]

        ids = tf.cond(tf.shape(ids)[1] > 1, loop, lambda: ids)
        return tf.ragged.boolean_mask(tf.cast(ids, tf.int32), ids >= 0)


class SentencePieces:
    """The pieces of SentencePiece in a graph.

    Args:
        tokens: EncoderTokens of kind "sentence_pieces".
        sequence_length: int, not used.
    """

    def __init__(self, tokens: EncoderTokens, sequence_length: int):
        self.tokens = tokens
        import sentencepiece

        self._unknown = sentencepiece.SentencePieceProcessor(model_proto=tokens.proto).unk_id()
        with tf.init_scope():
            self._tokenizer = _text_library().SentencepieceTokenizer(tokens.proto, out_type=tf.int32)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of strings (b,): int32 (b, None)."""
        tokens = self.tokens
        if tokens.compatible:
            texts = tf.strings.regex_replace(texts, "``|''", '"')
        texts = _normalized(
            texts,
            strip_accents=tokens.strip_accents,
            lowercase=tokens.lowercase,
            form="NFKD" if tokens.compatible else None,
        )
        pieces = self._tokenizer.tokenize(texts)
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


def _normalized(texts: tf.Tensor, *, strip_accents: bool, lowercase: bool, form: str | None = None) -> tf.Tensor:
    form = form or ("NFD" if strip_accents else None)
    if form:
        texts = _text_library().normalize_utf8(texts, form)
    if strip_accents:
        texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
    if lowercase:
        # Each letter by itself: a capital sigma at the end of a word would else become the other small sigma.
        texts = tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), "utf-8")
    return texts


def _lowest(values):
    return keras.ops.cast(np.finfo("float16").min, values.dtype)


@functools.cache
def _text_library():
    try:
        return importlib.import_module("tensorflow_text")
    except ModuleNotFoundError as error:
        raise InputError(
            "to read texts as a pretrained encoder does, kerastrain needs tensorflow_text. Install it: pip install "
            "'kerastrain[kerashub]'."
        ) from error
