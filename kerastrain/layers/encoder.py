"""The layers of a pretrained text encoder: embeddings and blocks of attention, as BERT and its relatives have them.

Takes token ids (b, tokens) and a mask of the same shape; returns a vector for each token. Must not know of strings.
"""

import functools
import math

import keras
import numpy as np

ACTIVATIONS = {
    "gelu": functools.partial(keras.activations.gelu, approximate=False),
    "gelu_tanh": functools.partial(keras.activations.gelu, approximate=True),
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}
_HIDDEN = -1e9  # what is added to the scores of padding; exp(-1e9) is 0


@keras.saving.register_keras_serializable("kerastrain")
class TokenMask(keras.layers.Layer):
    """Tells tokens from padding: int32 ids (b, tokens) to int32 (b, tokens), 1 for a token and 0 for padding.

    Args:
        pad: int, the id of the padding.
        **options: `name` of a Keras layer.
    """

    def __init__(self, pad: int, **options: object):
        super().__init__(**{**options, "trainable": False})
        self.pad = pad

    def call(self, ids):
        """The mask of `ids`."""
        return keras.ops.cast(ids != self.pad, "int32")

    def compute_output_spec(self, ids):
        """int32 (b, tokens)."""
        return keras.KerasTensor(ids.shape, "int32")

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "pad": self.pad}


@keras.saving.register_keras_serializable("kerastrain")
class EncoderEmbedding(keras.layers.Layer):
    """The sum of the embeddings of a token and its place, normalized: int32 ids (b, tokens) to float (b, tokens, width).

    Args:
        vocabulary_size: int >= 1.
        positions: int >= 0, the largest number of tokens; 0 for an encoder whose places have no embeddings.
        width: int >= 1.
        epsilon: float > 0, of the normalization.
        dropout: float in [0, 1).
        **options: `name` and `dtype` of a Keras layer.

    Reference: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.
    """

    def __init__(
        self,
        vocabulary_size: int,
        positions: int,
        width: int,
        *,
        epsilon: float = 1e-12,
        dropout: float = 0.0,
        **options: object,
    ):
        super().__init__(**options)
        self.settings = {"vocabulary_size": vocabulary_size, "positions": positions, "width": width}
        self.settings |= {"epsilon": epsilon, "dropout": dropout}
        own = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.tokens = keras.layers.Embedding(vocabulary_size, width, name="tokens", **own)
        self.places = keras.layers.Embedding(positions, width, name="places", **own) if positions else None
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm", **own)
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape):
        """Creates the weights."""
        self.tokens.build(input_shape)
        if self.places is not None:
            self.places.build(input_shape)
        self.norm.build((*input_shape, self.settings["width"]))

    def call(self, ids, training=None):
        """The embeddings of `ids`."""
        return self.from_tokens(self.tokens(ids), training=training)

    def from_tokens(self, values, training=None):
        """The embeddings of tokens, from their vectors without those of their places.

        Args:
            values: float tensor (b, tokens, width).
            training: bool, whether to drop.

        Returns:
            float tensor (b, tokens, width).
        """
        if self.places is not None:
            values = values + self.places(keras.ops.arange(keras.ops.shape(values)[1]))
        return self.drop(self.norm(values), training=training)

    def compute_output_shape(self, input_shape):
        """(b, tokens, width)."""
        return (*input_shape, self.settings["width"])

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), **self.settings}


@keras.saving.register_keras_serializable("kerastrain")
class EncoderBlock(keras.layers.Layer):
    """A block of BERT: self-attention and two dense layers, each added to its input and then normalized.

        a = norm(x + attention(x));  y = norm(a + W2 · activation(W1 · a + b1) + b2)

    float (b, tokens, width), a mask (b, tokens) and, where the scores depend on distances, float (1, heads, tokens, tokens) to
    add to them, to float (b, tokens, width). Padding is read by no token.

    Args:
        num_heads: int >= 1, which divides the width.
        intermediate: int >= 1, the units between the two dense layers.
        activation: str out of `ACTIVATIONS`.
        epsilon: float > 0, of the normalizations.
        dropout: float in [0, 1), before each sum.
        attention_dropout: float in [0, 1), of the attention's weights.
        **options: `name` and `dtype` of a Keras layer.

    Reference: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; Devlin et al. 2018,
    https://arxiv.org/abs/1810.04805.
    """

    def __init__(
        self,
        num_heads: int,
        intermediate: int,
        *,
        activation: str = "gelu",
        epsilon: float = 1e-12,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        **options: object,
    ):
        super().__init__(**options)
        self.settings = {"num_heads": num_heads, "intermediate": intermediate, "activation": activation}
        self.settings |= {"epsilon": epsilon, "dropout": dropout, "attention_dropout": attention_dropout}
        self.attention_norm = self._norm("attention_norm")
        self.output_norm = self._norm("output_norm")
        self.attention_drop = self._dropout(attention_dropout, "attention_dropout")
        self.first_drop = self._dropout(dropout, "first_dropout")
        self.second_drop = self._dropout(dropout, "second_dropout")
        self.intermediate_dense = self._dense(intermediate, "intermediate")

    def build(self, values_shape, mask_shape=None, positions_shape=None):
        """Creates the weights."""
        width = values_shape[-1]
        names = ("query", "key", "value", "attention_output", "output")
        self.query_dense, self.key_dense, self.value_dense, self.attention_dense, self.output_dense = (
            self._dense(width, name) for name in names
        )
        for layer in (
            self.query_dense,
            self.key_dense,
            self.value_dense,
            self.attention_dense,
            self.intermediate_dense,
        ):
            layer.build(values_shape)
        self.output_dense.build((*values_shape[:-1], self.settings["intermediate"]))
        for layer in (self.attention_norm, self.output_norm):
            layer.build(values_shape)

    def call(self, values, mask, positions=None, training=None):
        """The block's result for `values`."""
        attended = self.first_drop(self._attention(values, mask, positions, training), training=training)
        values = self.attention_norm(values + attended)
        mixed = ACTIVATIONS[self.settings["activation"]](self.intermediate_dense(values))
        return self.output_norm(values + self.second_drop(self.output_dense(mixed), training=training))

    def _attention(self, values, mask, positions, training):
        ops = keras.ops
        tokens, width = ops.shape(values)[1], values.shape[-1]
        query, key, value = (
            self._split(dense(values)) for dense in (self.query_dense, self.key_dense, self.value_dense)
        )
        # In float32, because the sum of many half-precision weights is not 1.
        scores = ops.cast(self._scores(query, key, positions), "float32")
        hidden = (1 - ops.cast(mask, "float32")) * np.float32(_HIDDEN)
        weights = ops.softmax(scores + hidden[:, None, None, :])
        weights = self.attention_drop(ops.cast(weights, self.compute_dtype), training=training)
        mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.attention_dense(ops.reshape(mixed, (-1, tokens, width)))

    def _split(self, values):
        """(b, n, width) to (b, heads, n, width / heads)."""
        heads, width = self.settings["num_heads"], values.shape[-1]
        shape = (-1, keras.ops.shape(values)[1], heads, width // heads)
        return keras.ops.transpose(keras.ops.reshape(values, shape), (0, 2, 1, 3))

    def _scores(self, query, key, positions):
        scores = keras.ops.matmul(query / math.sqrt(query.shape[-1]), keras.ops.transpose(key, (0, 1, 3, 2)))
        return scores if positions is None else scores + positions

    def compute_output_shape(self, values_shape, mask_shape=None, positions_shape=None):
        """The shape of the values."""
        return values_shape

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), **self.settings}

    def _dense(self, units: int, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(units, name=name, dtype=self.dtype_policy, trainable=self.trainable)

    def _dropout(self, rate: float, name: str) -> keras.layers.Dropout:
        return keras.layers.Dropout(rate, name=name, dtype=self.dtype_policy)

    def _norm(self, name: str) -> keras.layers.LayerNormalization:
        epsilon = self.settings["epsilon"]
        return keras.layers.LayerNormalization(
            epsilon=epsilon, name=name, dtype=self.dtype_policy, trainable=self.trainable
        )
