"""Layers between texts and their features: the rules of a tokenizer in a graph, and layers after the word embeddings.

Takes strings (b,), or tensors (b, words, d). Must not know of heads or labels.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.tokenization import TextRules
from kerastrain.tokenization.text_rules import WORD_START


@keras.saving.register_keras_serializable("kerastrain")
class StandardizedText:
    """`TextRules` as operations of a graph: the `standardize` of a `keras.layers.TextVectorization`.

    The layer then splits at spaces, or into characters if `split` of the rules is "character". It stores the rules, so that
    a saved model keeps its own.

    Args:
        replaced: str, as of `TextRules`, like the other arguments.
        replacements: str.
        removed: str.
        split: str.
        pieces: sequence of str.

    Example:
        >>> from kerastrain.tokenization import rules
        >>> standardize = StandardizedText.of(rules("words"))
        >>> standardize(tf.constant(["L'ÉTÉ!"])).numpy()[0].decode()
        'lété'
    """

    def __init__(
        self, replaced: str, replacements: str, removed: str, split: str = "whitespace", pieces: Sequence[str] = ()
    ):
        self.rules = TextRules(replaced, replacements, removed, split, tuple(pieces))
        targets = dict(zip(map(ord, replaced), map(ord, replacements), strict=True)) | dict.fromkeys(
            map(ord, removed), -1
        )
        self._points = np.array(sorted(targets), np.int32)
        self._targets = np.array([targets[point] for point in sorted(targets)], np.int32)
        self._pieces = _Pieces(self.rules.pieces)

    @classmethod
    def of(cls, rules: TextRules) -> "StandardizedText":
        """Makes the operations for rules.

        Args:
            rules: TextRules.

        Returns:
            StandardizedText.
        """
        return cls(rules.replaced, rules.replacements, rules.removed, rules.split, rules.pieces)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Strings of the same shape, with a space between two tokens; with `split` "character" each character is one."""
        texts = tf.convert_to_tensor(texts)
        points = tf.strings.unicode_decode(tf.reshape(texts, [-1]), "UTF-8")
        if len(self._points):
            points = self._translated(points)
        changed = tf.strings.unicode_encode(points, "UTF-8")
        if self.rules.split != "whitespace":
            changed = tf.strings.strip(tf.strings.regex_replace(changed, " +", " "))
        if self.rules.split == "pieces":
            marked = tf.strings.regex_replace(changed, "(^.| )", rf"{WORD_START}\1")
            changed = self._pieces.split(tf.strings.regex_replace(marked, " ", ""))
        return tf.reshape(changed, tf.shape(texts))

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        rules = self.rules
        return {
            "replaced": rules.replaced,
            "replacements": rules.replacements,
            "removed": rules.removed,
            "split": rules.split,
            "pieces": list(rules.pieces),
        }

    @classmethod
    def from_config(cls, config: dict) -> "StandardizedText":
        """Makes the operations of a config.

        Args:
            config: dict from `get_config`.

        Returns:
            StandardizedText.
        """
        return cls(**config)

    def _translated(self, points: tf.RaggedTensor) -> tf.RaggedTensor:
        values = points.flat_values
        places = tf.minimum(tf.searchsorted(self._points, values), len(self._points) - 1)
        values = tf.where(tf.gather(self._points, places) == values, tf.gather(self._targets, places), values)
        points = points.with_flat_values(values)
        return tf.ragged.boolean_mask(points, points.with_flat_values(values >= 0))


class _Pieces:
    """Splits words into pieces, the longest first, for all positions of all texts at once.

    A piece is recognized by a polynomial hash of its characters modulo 2 ** 64. By doubling the length of the jumps, the
    positions where a piece starts are found in log2(characters) steps, even in a word of a million characters.
    """

    def __init__(self, pieces: Sequence[str]):
        lengths = sorted({len(piece) for piece in pieces})
        self._hashes = {
            length: np.sort(_hashed([piece for piece in pieces if len(piece) == length])) for length in lengths
        }

    def split(self, texts: tf.Tensor) -> tf.Tensor:
        """Strings (b,) whose words start with WORD_START, with a space between two pieces."""
        points = tf.strings.unicode_decode(texts, "UTF-8")
        values = tf.cast(points.flat_values, tf.int64)
        count = tf.size(values)
        positions = tf.range(count)
        begins_word = values == ord(WORD_START)
        # No piece crosses the start of a word, where its hash would be that of no piece.
        jumps = tf.minimum(positions + self._longest(values), count)
        starts = tf.cast(begins_word, tf.int32)

        def double(starts, jumps, width):
            reached = tf.math.unsorted_segment_max(starts, jumps, count + 1)[:-1]
            jumps = tf.gather(tf.concat([jumps, [count]], 0), jumps)
            return tf.maximum(starts, reached), jumps, width * 2

        starts, _, _ = tf.while_loop(
            lambda starts, jumps, width: width <= count,
            double,
            (starts, jumps, tf.constant(1)),
            shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])),
        )
        first = tf.boolean_mask(positions, starts > 0)
        pieces = tf.strings.unicode_encode(tf.RaggedTensor.from_row_starts(points.flat_values, first), "UTF-8")
        rows = tf.gather(points.value_rowids(), first)
        pieces = tf.RaggedTensor.from_value_rowids(pieces, rows, nrows=tf.cast(points.nrows(), rows.dtype))
        return tf.strings.reduce_join(pieces, axis=1, separator=" ")

    def _longest(self, values: tf.Tensor) -> tf.Tensor:
        """int32 (n,), the length of the longest piece that starts at each position, at least 1."""
        longest, hashes, count = tf.ones_like(values, tf.int32), tf.zeros_like(values), tf.size(values)
        most = max(self._hashes, default=1)
        padded = tf.pad(values, [[0, most]], constant_values=-1)
        for length in range(1, most + 1):
            hashes = hashes * _HASH_BASE + padded[length - 1 : length - 1 + count]
            if length in self._hashes:
                known = self._hashes[length]
                places = tf.minimum(tf.searchsorted(known, hashes), len(known) - 1)
                longest = tf.where(tf.gather(known, places) == hashes, length, longest)
        return longest


_HASH_BASE = 0x5851F42D4C957F2D  # The multiplier of Knuth's MMIX generator, which mixes all 64 bits.


def _hashed(words: Sequence[str]) -> np.ndarray:
    """int64 (n,), the hashes of words of equal length."""
    points = np.array([list(map(ord, word)) for word in words], np.uint64)
    hashes = np.zeros(len(words), np.uint64)
    for column in points.T:
        hashes = hashes * np.uint64(_HASH_BASE) + column
    return hashes.view(np.int64)


@keras.saving.register_keras_serializable("kerastrain")
class MeanOverWords(keras.layers.Layer):
    """Averages over the words of a text that are not masked: (b, words, d) to (b, d); a text without words gives zeros.

    Args:
        **options: `name` and `dtype` of a Keras layer.
    """

    def __init__(self, **options: object):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, values, mask=None):
        """The mean of `values` over axis 1, of the words where `mask` bool (b, words) is True."""
        if mask is None:
            return keras.ops.mean(values, axis=1)
        weights = keras.ops.expand_dims(keras.ops.cast(mask, values.dtype), -1)
        return keras.ops.sum(values * weights, axis=1) / keras.ops.maximum(keras.ops.sum(weights, axis=1), 1)

    def compute_mask(self, inputs, mask=None):
        """None, because the output has no axis of words."""


@keras.saving.register_keras_serializable("kerastrain")
class WordPositions(keras.layers.Layer):
    """Adds a learned vector for each position in a text: (b, words, d) to the same shape.

    Args:
        length: int >= 1, the number of words of a text.
        **options: `name` and `dtype` of a Keras layer.
    """

    def __init__(self, length: int, **options: object):
        super().__init__(**options)
        self.supports_masking = True
        self.length = length

    def build(self, input_shape):
        """Creates the vectors, (length, d)."""
        self.positions = self.add_weight(
            name="positions", shape=(self.length, input_shape[-1]), initializer=keras.initializers.RandomNormal(0, 0.02)
        )

    def call(self, values):
        """`values` plus the vector of each position."""
        return values + self.positions

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "length": self.length}
