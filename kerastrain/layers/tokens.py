"""Keras layers of a vision transformer: from feature maps to tokens and back, and what is learned beside them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kerastrain")
def gelu_tanh(values):
    """GELU by its approximation with tanh.

    Args:
        values: float tensor.

    Returns:
        float tensor of the same shape.
    """
    return keras.activations.gelu(values, approximate=True)


@keras.saving.register_keras_serializable("kerastrain")
class MapsToTokens(keras.layers.Layer):
    """Makes tokens of feature maps, adds what is learned for each position, and puts learned tokens before them.

        tokens = [prefix, maps[row, column] + positions[row, column]]

    Args:
        prefix: int >= 0, the number of learned tokens, such as a class token and registers.
        **options: options of `keras.layers.Layer`.
    """

    def __init__(self, prefix: int = 1, **options):
        super().__init__(**options)
        self.prefix = prefix

    def build(self, input_shape):
        """Creates `positions`, float (rows * columns, dim), and `tokens`, float (prefix, dim)."""
        _, rows, columns, dim = input_shape
        self.positions = self.add_weight(name="positions", shape=(rows * columns, dim), initializer="zeros")
        if self.prefix:
            self.tokens = self.add_weight(name="tokens", shape=(self.prefix, dim), initializer="zeros")

    def call(self, maps):
        """Float (batch, rows, columns, dim) to float (batch, prefix + rows * columns, dim)."""
        count, dim = self.positions.shape
        values = ops.reshape(maps, (-1, count, dim)) + ops.cast(self.positions, maps.dtype)
        if not self.prefix:
            return values
        tokens = ops.cast(self.tokens, maps.dtype)[None] + ops.zeros_like(values[:, :1])
        return ops.concatenate([tokens, values], axis=1)

    def compute_output_shape(self, input_shape):
        """(batch, prefix + rows * columns, dim)."""
        batch, rows, columns, dim = input_shape
        return (batch, self.prefix + rows * columns, dim)

    def get_config(self):
        """The arguments."""
        return {**super().get_config(), "prefix": self.prefix}


@keras.saving.register_keras_serializable("kerastrain")
class TokensToMaps(keras.layers.Layer):
    """The tokens of the patches as feature maps, which Grad-CAM needs.

    Args:
        rows: int, patches in a column.
        columns: int, patches in a row.
        **options: options of `keras.layers.Layer`.
    """

    def __init__(self, rows: int, columns: int, **options):
        super().__init__(**options)
        self.rows, self.columns = rows, columns

    def call(self, tokens):
        """Float (batch, prefix + rows * columns, dim) to float (batch, rows, columns, dim)."""
        first = tokens.shape[1] - self.rows * self.columns
        return ops.reshape(tokens[:, first:], (-1, self.rows, self.columns, tokens.shape[2]))

    def compute_output_shape(self, input_shape):
        """(batch, rows, columns, dim)."""
        return (input_shape[0], self.rows, self.columns, input_shape[2])

    def get_config(self):
        """The arguments."""
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


@keras.saving.register_keras_serializable("kerastrain")
class ReplacePatches(keras.layers.Layer):
    """Puts feature maps in the place of the tokens of the patches: the inverse of `TokensToMaps`."""

    def call(self, tokens, maps):
        """Float (batch, prefix + rows * columns, dim) and float (batch, rows, columns, dim) to the shape of the first."""
        count = maps.shape[1] * maps.shape[2]
        values = ops.reshape(maps, (-1, count, maps.shape[3]))
        first = tokens.shape[1] - count
        return ops.concatenate([tokens[:, :first], values], axis=1) if first else values

    def compute_output_shape(self, tokens_shape, maps_shape):
        """The shape of the tokens."""
        return tokens_shape


@keras.saving.register_keras_serializable("kerastrain")
class PoolTokens(keras.layers.Layer):
    """The features of an image from its tokens.

    Args:
        pooling: "first", the first token; "first_two", the first two one after the other; "mean" of the tokens of the
            patches; "first_and_mean", both one after the other.
        prefix: int, the number of tokens before those of the patches.
        **options: options of `keras.layers.Layer`.
    """

    def __init__(self, pooling: str, prefix: int = 1, **options):
        super().__init__(**options)
        self.pooling, self.prefix = pooling, prefix

    def call(self, tokens):
        """Float (batch, prefix + patches, dim) to float (batch, dim) or (batch, 2 * dim)."""
        parts = []
        if self.pooling.startswith("first"):
            parts.append(tokens[:, 0])
        if self.pooling == "first_two":
            parts.append(tokens[:, 1])
        if self.pooling.endswith("mean"):
            parts.append(ops.mean(tokens[:, self.prefix :], axis=1))
        return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]

    def compute_output_shape(self, input_shape):
        """(batch, dim) or (batch, 2 * dim)."""
        return (input_shape[0], input_shape[2] * (2 if self.pooling in ("first_two", "first_and_mean") else 1))

    def get_config(self):
        """The arguments."""
        return {**super().get_config(), "pooling": self.pooling, "prefix": self.prefix}


@keras.saving.register_keras_serializable("kerastrain")
class ScaleChannels(keras.layers.Layer):
    """Multiplies each channel by a learned number (Touvron et al. 2021, https://arxiv.org/abs/2103.17239)."""

    def build(self, input_shape):
        """Creates `scale`, float (channels,)."""
        self.scale = self.add_weight(name="scale", shape=(input_shape[-1],), initializer="ones")

    def call(self, values):
        """Float (batch, ..., channels) to the same shape."""
        return values * ops.cast(self.scale, values.dtype)

    def compute_output_shape(self, input_shape):
        """The input shape."""
        return input_shape
