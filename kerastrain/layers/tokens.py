"""Keras layers of a vision transformer: from feature maps to tokens and back, and what is learned beside them."""

import keras
import numpy as np
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
        has_positions: bool, whether something is learned for each position.
        **options: options of `keras.layers.Layer`.
    """

    def __init__(self, prefix: int = 1, has_positions: bool = True, **options):
        super().__init__(**options)
        self.prefix, self.has_positions = prefix, has_positions

    def build(self, input_shape):
        """Creates `positions`, float (rows * columns, dim), and `tokens`, float (prefix, dim)."""
        _, rows, columns, dim = input_shape
        if self.has_positions:
            self.positions = self.add_weight(name="positions", shape=(rows * columns, dim), initializer="zeros")
        if self.prefix:
            self.tokens = self.add_weight(name="tokens", shape=(self.prefix, dim), initializer="zeros")

    def call(self, maps):
        """Float (batch, rows, columns, dim) to float (batch, prefix + rows * columns, dim)."""
        _, rows, columns, dim = maps.shape
        values = ops.reshape(maps, (-1, rows * columns, dim))
        if self.has_positions:
            values = values + ops.cast(self.positions, maps.dtype)
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
        return {**super().get_config(), "prefix": self.prefix, "has_positions": self.has_positions}


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


@keras.saving.register_keras_serializable("kerastrain")
class GlobalResponseNorm(keras.layers.Layer):
    """Makes the channels of maps compete by their norms over the image.

        maps + gamma * maps * norm / mean of the norms of all channels + beta

    Reference: Woo et al. 2023, https://arxiv.org/abs/2301.00808, algorithm 1.
    """

    def build(self, input_shape):
        """Creates `gamma` and `beta`, float (channels,)."""
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="zeros")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, maps):
        """Float (batch, height, width, channels) to the same shape."""
        wide = ops.cast(maps, "float32")
        norms = ops.sqrt(ops.sum(ops.square(wide), axis=(1, 2), keepdims=True))
        shares = ops.cast(norms / (ops.mean(norms, axis=-1, keepdims=True) + 1e-6), maps.dtype)
        gamma, beta = (ops.cast(weight, maps.dtype) for weight in (self.gamma, self.beta))
        return maps + gamma * (maps * shares) + beta

    def compute_output_shape(self, input_shape):
        """The input shape."""
        return input_shape


@keras.saving.register_keras_serializable("kerastrain")
class RotaryAttention(keras.layers.Layer):
    """Attention of the heads among themselves, which rotates queries and keys by the places of their patches.

    A pair of numbers of a patch at (y, x), its center in [-1, 1], is rotated by 2 pi y / theta^(4 i / d) in the first half of
    the d / 2 pairs and by 2 pi x / theta^(4 i / d) in the second; the tokens before the patches are not rotated.

    Args:
        num_heads: int.
        rows: int, patches in a column.
        columns: int, patches in a row.
        theta: float > 1, the base of the wave lengths.
        **options: options of `keras.layers.Layer`.

    Reference: Siméoni et al. 2025, https://arxiv.org/abs/2508.10104.
    """

    def __init__(self, num_heads: int, rows: int, columns: int, theta: float = 100.0, **options):
        super().__init__(**options)
        self.num_heads, self.rows, self.columns, self.theta = num_heads, rows, columns, theta

    def call(self, queries, keys, values, return_attention_scores=False):
        """Three float (batch, tokens, dim) to float (batch, tokens, dim), with the scores (batch, heads, tokens, tokens)."""
        tokens, dim = queries.shape[1:]
        size = dim // self.num_heads
        angles = rotary_angles(self.rows, self.columns, size, self.theta)
        angles = np.concatenate([np.zeros((tokens - len(angles), size)), angles])
        cosines, sines = (ops.convert_to_tensor(wave(angles), queries.dtype) for wave in (np.cos, np.sin))

        def heads(vectors):
            return ops.transpose(ops.reshape(vectors, (-1, tokens, self.num_heads, size)), (0, 2, 1, 3))

        def rotated(vectors):
            first, second = vectors[..., : size // 2], vectors[..., size // 2 :]
            return vectors * cosines + ops.concatenate([-second, first], axis=-1) * sines

        queries, keys = rotated(heads(queries)), rotated(heads(keys))
        scores = ops.matmul(queries * size**-0.5, ops.transpose(keys, (0, 1, 3, 2)))
        shares = ops.softmax(scores, axis=-1)
        attended = ops.matmul(shares, heads(values))
        attended = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, tokens, dim))
        return (attended, shares) if return_attention_scores else attended

    def compute_output_shape(self, queries_shape, keys_shape, values_shape):
        """The shape of the queries."""
        return queries_shape

    def get_config(self):
        """The arguments."""
        sizes = {"num_heads": self.num_heads, "rows": self.rows, "columns": self.columns, "theta": self.theta}
        return {**super().get_config(), **sizes}


def rotary_angles(rows: int, columns: int, size: int, theta: float) -> np.ndarray:
    """The angles by which `RotaryAttention` rotates.

    Args:
        rows: int.
        columns: int.
        size: int, a multiple of 4, numbers of a head.
        theta: float > 1.

    Returns:
        float array (rows * columns, size) in radians, its second half equal to the first.
    """
    centers = [(np.arange(count) + 0.5) / count * 2 - 1 for count in (rows, columns)]
    places = np.stack(np.meshgrid(*centers, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    frequencies = theta ** -np.arange(0, 1, 4 / size)
    return np.tile((2 * np.pi * places * frequencies).reshape(rows * columns, -1), 2)
