"""The layers of a language model: blocks of causal attention with rotated keys, as Llama and its relatives have them.

Takes token ids (b, tokens) and segments (b, tokens); returns a vector for each token. Must not know of strings.
"""

import math
from collections.abc import Mapping

import keras
import numpy as np

from kerastrain.layers.encoder import ACTIVATIONS

_HIDDEN = -1e9  # what is added to the scores of tokens that may not be read; exp(-1e9) is 0


@keras.saving.register_keras_serializable("kerastrain")
class TokenPositions(keras.layers.Layer):
    """The place of each token in its segment, counted from 0: int32 segments (b, tokens) to int32 (b, tokens).

    Several examples can share a sequence: the tokens of each are one segment, with the same number; 0 is padding.

    Args:
        **options: `name` of a Keras layer.
    """

    def __init__(self, **options: object):
        super().__init__(**{**options, "trainable": False})

    def call(self, segments):
        """The places of the tokens of `segments`."""
        ops = keras.ops
        is_same = segments[:, :, None] == segments[:, None, :]
        first = ops.argmax(ops.cast(is_same, "int32"), axis=-1)  # the first token of the segment of each token
        return ops.arange(ops.shape(segments)[1], dtype="int32")[None] - ops.cast(first, "int32")

    def compute_output_spec(self, segments):
        """int32 (b, tokens)."""
        return keras.KerasTensor(segments.shape, "int32")


@keras.saving.register_keras_serializable("kerastrain")
class DecoderBlock(keras.layers.Layer):
    """A block of a language model: causal self-attention and a gated dense pair, each of normalized values, added to them.

        a = x + attention(norm(x));  y = a + down · (activation(gate · norm(a)) * (up · norm(a)))

    float (b, tokens, width), int32 segments and positions (b, tokens) to float (b, tokens, width). A token reads itself and
    the tokens before it in its segment.

    Args:
        num_heads: int >= 1.
        num_kv_heads: int >= 1, the heads of keys and values, each of which serves num_heads / num_kv_heads queries.
        head_size: int >= 2, even.
        intermediate: int >= 1, the units of the gated pair.
        rope: mapping of the arguments of `rotations` but the head's size; None for a block whose keys are not rotated.
        activation: str out of `ACTIVATIONS`.
        epsilon: float > 0, of the normalizations.
        attention_bias: bool, whether queries, keys and values have biases.
        output_bias: bool, whether the attention's result has one.
        mlp_bias: bool, whether the gated pair has them.
        head_norms: bool, whether the queries and keys of each head are normalized.
        post_norms: bool, whether the results of attention and gated pair are normalized before they are added.
        query_scale: float, the factor of the scores; None for head_size ** -0.5.
        score_cap: float > 0, the scores are bounded to ±score_cap by a tanh; None for no bound.
        window: int >= 1, the number of tokens that a token reads, itself included; None for all before it.
        **options: `name` and `dtype` of a Keras layer.

    References: Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Ainslie et al. 2023, https://arxiv.org/abs/2305.13245;
    Gemma Team 2024, https://arxiv.org/abs/2408.00118.
    """

    def __init__(
        self,
        num_heads: int,
        num_kv_heads: int,
        head_size: int,
        intermediate: int,
        *,
        rope: Mapping[str, object] | None,
        activation: str = "silu",
        epsilon: float = 1e-6,
        attention_bias: bool = False,
        output_bias: bool = False,
        mlp_bias: bool = False,
        head_norms: bool = False,
        post_norms: bool = False,
        query_scale: float | None = None,
        score_cap: float | None = None,
        window: int | None = None,
        **options: object,
    ):
        super().__init__(**options)
        self.settings = {
            "num_heads": num_heads,
            "num_kv_heads": num_kv_heads,
            "head_size": head_size,
            "intermediate": intermediate,
            "rope": None if rope is None else dict(rope),
            "activation": activation,
            "epsilon": epsilon,
            "attention_bias": attention_bias,
            "output_bias": output_bias,
            "mlp_bias": mlp_bias,
            "head_norms": head_norms,
            "post_norms": post_norms,
            "query_scale": query_scale,
            "score_cap": score_cap,
            "window": window,
        }
        self._frequencies = None if rope is None else rotations(head_size, **rope)
        self.attention_norm, self.mlp_norm = self._norm("attention_norm"), self._norm("mlp_norm")
        self.query_norm, self.key_norm = (
            (self._norm(name) if head_norms else None) for name in ("query_norm", "key_norm")
        )
        self.attention_post_norm, self.mlp_post_norm = (
            (self._norm(name) if post_norms else None) for name in ("attention_post_norm", "mlp_post_norm")
        )
        self.query_dense = self._dense(num_heads * head_size, "query", attention_bias)
        self.key_dense = self._dense(num_kv_heads * head_size, "key", attention_bias)
        self.value_dense = self._dense(num_kv_heads * head_size, "value", attention_bias)
        self.gate_dense = self._dense(intermediate, "gate", mlp_bias)
        self.up_dense = self._dense(intermediate, "up", mlp_bias)

    def build(self, values_shape, segments_shape=None, positions_shape=None):
        """Creates the weights."""
        width, settings = values_shape[-1], self.settings
        self.attention_dense = self._dense(width, "attention_output", settings["output_bias"])
        self.down_dense = self._dense(width, "down", settings["mlp_bias"])
        for layer in (self.query_dense, self.key_dense, self.value_dense, self.gate_dense, self.up_dense):
            layer.build(values_shape)
        self.attention_dense.build((*values_shape[:-1], settings["num_heads"] * settings["head_size"]))
        self.down_dense.build((*values_shape[:-1], settings["intermediate"]))
        for layer in (self.attention_norm, self.mlp_norm, self.attention_post_norm, self.mlp_post_norm):
            if layer is not None:
                layer.build(values_shape)
        for layer in (self.query_norm, self.key_norm):
            if layer is not None:
                layer.build((None, None, None, settings["head_size"]))

    def call(self, values, segments, positions):
        """The block's result for `values`."""
        index = keras.ops.arange(keras.ops.shape(values)[1], dtype="int32")
        mask = (segments[:, :, None] == segments[:, None, :]) & (index[None, :, None] >= index[None, None, :])
        query, key, value = self.projected(values, positions)
        return self.mixed(values, query, key, value, mask & self.in_window(positions, positions))

    def projected(self, values, positions):
        """The queries, keys and values of tokens, for `mixed`.

        Args:
            values: float (b, n, width), the block's inputs.
            positions: int32 (b, n), the place of each token in its segment.

        Returns:
            Three float tensors (b, heads, n, head_size), of `num_heads`, `num_kv_heads` and `num_kv_heads` heads.
        """
        settings, normed = self.settings, self.attention_norm(values)
        query = self._heads(self.query_dense(normed), settings["num_heads"])
        key = self._heads(self.key_dense(normed), settings["num_kv_heads"])
        value = self._heads(self.value_dense(normed), settings["num_kv_heads"])
        if settings["head_norms"]:
            query, key = self.query_norm(query), self.key_norm(key)
        if self._frequencies is not None:
            # In float32, because a half-precision angle of a late place is wrong by whole turns.
            angles = keras.ops.cast(positions, "float32")[:, None, :, None] * self._frequencies
            cosine, sine = (keras.ops.cast(f(angles), query.dtype) for f in (keras.ops.cos, keras.ops.sin))
            query, key = rotated(query, cosine, sine), rotated(key, cosine, sine)
        return query, key, value

    def mixed(self, values, query, key, value, mask):
        """The block's result from the queries of some tokens and the keys and values of those that they may read.

        Args:
            values: float (b, n, width), the block's inputs.
            query: float (b, num_heads, n, head_size).
            key: float (b, num_kv_heads, t, head_size).
            value: float (b, num_kv_heads, t, head_size).
            mask: bool (b, n, t), whether a token may be read.

        Returns:
            float (b, n, width).
        """
        ops, settings = keras.ops, self.settings
        heads, kv_heads, size = settings["num_heads"], settings["num_kv_heads"], settings["head_size"]
        group, count = heads // kv_heads, ops.shape(query)[2]
        scale = size**-0.5 if settings["query_scale"] is None else settings["query_scale"]
        query = ops.reshape(query * scale, (-1, kv_heads, group * count, size))
        scores = ops.cast(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))), "float32")
        scores = ops.reshape(scores, (-1, kv_heads, group, count, ops.shape(key)[2]))
        if cap := settings["score_cap"]:
            scores = cap * ops.tanh(scores / cap)
        scores = scores + ops.where(mask, np.float32(0), np.float32(_HIDDEN))[:, None, None]
        weights = ops.cast(
            ops.softmax(scores), value.dtype
        )  # In float32: the sum of many half-precision weights is not 1.
        read = ops.matmul(ops.reshape(weights, (-1, kv_heads, group * count, ops.shape(key)[2])), value)
        read = ops.transpose(ops.reshape(read, (-1, heads, count, size)), (0, 2, 1, 3))
        attended = self.attention_dense(ops.reshape(read, (-1, count, heads * size)))
        values = values + (self.attention_post_norm(attended) if settings["post_norms"] else attended)
        normed = self.mlp_norm(values)
        gated = ACTIVATIONS[settings["activation"]](self.gate_dense(normed)) * self.up_dense(normed)
        result = self.down_dense(gated)
        return values + (self.mlp_post_norm(result) if settings["post_norms"] else result)

    def in_window(self, positions, read_positions):
        """Whether tokens are near enough to be read.

        Args:
            positions: int32 (b, n), the places of the tokens that read.
            read_positions: int32 (b, t), the places of those that are read.

        Returns:
            bool (b, n, t), or True for a block without a window.
        """
        if self.settings["window"] is None:
            return True
        return positions[:, :, None] - read_positions[:, None, :] < self.settings["window"]

    def compute_output_shape(self, values_shape, segments_shape=None, positions_shape=None):
        """The shape of the values."""
        return values_shape

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), **self.settings}

    def _heads(self, values, heads: int):
        ops = keras.ops
        split = ops.reshape(values, (-1, ops.shape(values)[1], heads, self.settings["head_size"]))
        return ops.transpose(split, (0, 2, 1, 3))

    def _dense(self, units: int, name: str, bias: bool) -> keras.layers.Dense:
        return keras.layers.Dense(units, use_bias=bias, name=name, dtype=self.dtype_policy, trainable=self.trainable)

    def _norm(self, name: str) -> keras.layers.RMSNormalization:
        epsilon = self.settings["epsilon"]
        return keras.layers.RMSNormalization(
            epsilon=epsilon, name=name, dtype=self.dtype_policy, trainable=self.trainable
        )


def rotations(
    head_size: int,
    *,
    base: float = 10_000.0,
    factor: float = 1.0,
    low_frequency: float | None = None,
    high_frequency: float | None = None,
    trained_positions: int | None = None,
) -> np.ndarray:
    """The angle by which each pair of a head's numbers turns from a place to the next.

        angle_i = base ** (-2 i / head_size) / factor

    With `low_frequency`, as in Llama 3.1, angles that turn more than `high_frequency` times over the places of the training
    stay, those that turn less than `low_frequency` times are divided, and those between them are blended.

    Args:
        head_size: int >= 2, even.
        base: float > 1.
        factor: float >= 1, by how much longer the texts are than those of the training.
        low_frequency: float > 0, or None.
        high_frequency: float > low_frequency, or None.
        trained_positions: int >= 1, the number of places of the training, or None.

    Returns:
        float32 (head_size / 2,), in radians.

    References: Su et al. 2021, https://arxiv.org/abs/2104.09864; Dubey et al. 2024, https://arxiv.org/abs/2407.21783.

    Example:
        >>> rotations(4).tolist()
        [1.0, 0.009999999776482582]
    """
    angles = (base ** (-np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size))).astype(np.float32)
    if low_frequency is None:
        return (angles / np.float32(factor)).astype(np.float32)
    turns = trained_positions * angles / (2 * math.pi)
    share = np.clip((turns - low_frequency) / (high_frequency - low_frequency), 0, 1)
    return ((1 - share) * angles / factor + share * angles).astype(np.float32)


def rotated(values, cosine, sine):
    """Turns pairs of numbers of each head: the first half of a head holds the first numbers of the pairs.

    Args:
        values: float (b, heads, n, head_size).
        cosine: float (b, 1, n, head_size / 2), of each pair's angle.
        sine: float (b, 1, n, head_size / 2).

    Returns:
        float (b, heads, n, head_size).
    """
    first, second = keras.ops.split(values, 2, axis=-1)
    return keras.ops.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
