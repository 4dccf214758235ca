"""Layers of a network of n-grams: from a text to its n-grams, and from their embeddings to the features of the text.

Takes strings (b,), or embeddings (b, n, d) with their token ids. Must not know of heads or labels.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.layers.text import StandardizedText
from kerastrain.tokenization import TextRules, Tokens
from kerastrain.tokenization.text_rules import WORD_START


@keras.saving.register_keras_serializable("kerastrain")
class SplitIntoNgrams:
    """`Tokens.tokens` as operations of a graph: the `split` of a `keras.layers.TextVectorization` without `standardize`.

    Args:
        rules: TextRules or mapping of its arguments, from a text to its tokens.
        ngrams: sequence of int, the numbers of adjacent tokens that count as one.
        inside: TextRules or mapping of its arguments, from a text to the words whose characters count too; or None.
        characters: sequence of int, the numbers of adjacent characters of these words that count as one.
        length: int >= 1, the most n-grams of a text.

    Example:
        >>> from kerastrain.tokenization import rules
        >>> split = SplitIntoNgrams(rules("words"), (1, 2), rules("words"), (3,), length=5)
        >>> [token.decode() for token in split(tf.constant(["To be!"])).numpy()[0]]
        ['to', 'be', 'to be', '▁▁t▁o', 't▁o▁▁']
    """

    def __init__(
        self,
        rules: TextRules | Mapping,
        ngrams: Sequence[int],
        inside: TextRules | Mapping | None = None,
        characters: Sequence[int] = (),
        *,
        length: int,
    ):
        rules, inside = (TextRules(**value) if isinstance(value, Mapping) else value for value in (rules, inside))
        self.tokens = Tokens(rules, tuple(ngrams), (), inside, tuple(characters))
        self.length = length
        self._standardize = StandardizedText.of(rules)
        self._standardize_inside = None if inside is None else StandardizedText.of(inside)

    @classmethod
    def of(cls, tokens: Tokens, length: int) -> "SplitIntoNgrams":
        """Makes the operations for a tokenizer.

        Args:
            tokens: Tokens; its vocabulary is not kept.
            length: int >= 1, the most n-grams of a text.

        Returns:
            SplitIntoNgrams.
        """
        return cls(tokens.rules, tokens.ngrams, tokens.inside, tokens.characters, length=length)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The n-grams of strings (b,), ragged strings (b, at most `length`)."""
        standardized = self._standardize(texts)
        if self.tokens.rules.split == "character":
            tokens = tf.strings.unicode_split(standardized, "UTF-8")
        else:
            tokens = tf.strings.split(standardized)
        parts = [tokens if size == 1 else tf.strings.ngrams(tokens, size, separator=" ") for size in self.tokens.ngrams]
        if self._standardize_inside is not None:
            parts.append(self._inside(tf.strings.split(self._standardize_inside(texts))))
        return tf.concat(parts, axis=1)[:, : self.length]

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        tokens = self.tokens
        return {
            "rules": _config(tokens.rules),
            "ngrams": list(tokens.ngrams),
            "inside": tokens.inside and _config(tokens.inside),
            "characters": list(tokens.characters),
            "length": self.length,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SplitIntoNgrams":
        """Makes the operations of a config.

        Args:
            config: dict from `get_config`.

        Returns:
            SplitIntoNgrams.
        """
        return cls(**config)

    def _inside(self, words: tf.RaggedTensor) -> tf.RaggedTensor:
        """The n-grams of the characters of each word, ragged strings (b, n)."""
        marked = tf.strings.join([WORD_START, words.flat_values, WORD_START])
        ngrams = tf.strings.ngrams(
            tf.strings.unicode_split(marked, "UTF-8"), self.tokens.characters, separator=WORD_START
        )
        return words.with_flat_values(ngrams).merge_dims(1, 2)


@keras.saving.register_keras_serializable("kerastrain")
class TfIdfPooling(keras.layers.Layer):
    """Adds the embeddings of a text's tokens, each times its tf-idf: (b, n, d) and token ids (b, n) to (b, d).

    A linear layer on the result is a linear model of the tf-idf vector of the text, whose weights are factored by the
    embeddings. `idf` may hold other weights, of at least 1 for each known token. Tokens are of kinds, such as words and
    characters inside words, and the vector of each kind has length 1 if no token is repeated; one that occurs t times counts as
    t tokens:

        features = scale · Σ_kinds Σ_{i of the kind} idf_i · e_i / √(Σ_{i of the kind} idf_i²)

    Args:
        tokens: int > 0, the number of token ids.
        kinds: int > 0, the number of kinds of tokens.
        scale: float > 0.
        dropout: float in [0, 1), the fraction of tokens that are dropped in training.
        **options: `name` and `dtype` of a Keras layer.

    Reference: Salton and Buckley 1988, https://doi.org/10.1016/0306-4573(88)90021-0; Wager et al. 2013,
    https://arxiv.org/abs/1307.1493, for the dropout.
    """

    def __init__(self, tokens: int, kinds: int = 1, *, scale: float = 1.0, dropout: float = 0.0, **options: object):
        super().__init__(**options)
        self.tokens, self.kinds, self.scale, self.dropout = tokens, kinds, scale, dropout
        self.seed_generator = keras.random.SeedGenerator() if dropout else None

    def build(self, input_shape):
        """Creates `idf`, (tokens, kinds): of each token id 0 for all kinds but its own."""
        self.idf = self.add_weight(
            name="idf",
            shape=(self.tokens, self.kinds),
            initializer="ones",
            trainable=False,
            dtype="float32",
            autocast=False,  # the sums of hundreds of squares need float32
        )

    def call(self, inputs, training=False):
        """The features float (b, d) of `inputs`, a list of embeddings (b, n, d) and token ids int (b, n)."""
        values, ids = inputs
        idf = keras.ops.take(self.idf, ids, axis=0)
        # A known token has an idf of at least 1; the maximum is for texts without one.
        squares = keras.ops.maximum(keras.ops.sum(keras.ops.square(idf), axis=1, keepdims=True), 1.0)
        weights = keras.ops.sum(idf / keras.ops.sqrt(squares), axis=-1, keepdims=True)
        if self.dropout and training:
            weights = keras.random.dropout(weights, self.dropout, seed=self.seed_generator)
        features = self.scale * keras.ops.sum(weights * keras.ops.cast(values, "float32"), axis=1)
        return keras.ops.cast(features, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """(b, d)."""
        return (input_shape[0][0], input_shape[0][-1])

    def get_config(self):
        """The arguments of the layer."""
        options = {"tokens": self.tokens, "kinds": self.kinds, "scale": self.scale, "dropout": self.dropout}
        return {**super().get_config(), **options}


def _config(rules: TextRules) -> dict:
    return StandardizedText.of(rules).get_config()


def inverse_document_frequencies(tokens: Tokens, *, special: int) -> np.ndarray:
    """The inverse document frequencies of a vocabulary: 1 + ln((1 + texts) / (1 + texts with the token)).

    Args:
        tokens: Tokens with `text_counts`.
        special: int, the number of token ids before the vocabulary, whose frequencies are 0.

    Returns:
        float32 (special + vocabulary, kinds): in the first column the n-grams of tokens, in the second, if there is one,
        those of characters.
    """
    values = 1 + np.log((1 + tokens.texts) / (1 + np.asarray(tokens.text_counts)))
    kinds = np.array([tokens.is_inside(token) for token in tokens.vocabulary], int)
    columns = np.zeros((special + len(values), 2 if tokens.characters else 1), np.float32)
    columns[special + np.arange(len(values)), kinds] = values
    return columns
