"""The layers of a language model: blocks of causal attention with rotated keys, as Llama and its relatives have them.

Takes token ids (b, tokens) and segments (b, tokens); returns a vector for each token. Must not know of strings.
"""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from kerastrain.layers.encoder import ACTIVATIONS
from kerastrain.layers.low_rank import LowRankPair
from kerastrain.layers.rotations import rotated, rotations

LINEAR = {
    **{name: f"{name}_dense" for name in ("query", "key", "value")},
    "attention_output": "attention_dense",
    **{name: f"{name}_dense" for name in ("gate", "up", "down")},
}
"""The dense layers of a block by name, and the attribute of each."""

_HIDDEN = -1e9  # what is added to the scores of tokens that may not be read; exp(-1e9) is 0


@keras.saving.register_keras_serializable("kerastrain")
class TokenPositions(keras.layers.Layer):
    """The place of each token in its segment, counted from 0: int32 segments (b, tokens) to int32 (b, tokens).

    Several examples can share a sequence: the tokens of each are one segment, with the same number; 0 is padding.

    Args:
        limit: int >= 1, the number of places that the model was made for, which generation does not exceed; None for no such
            number.
        **options: `name` of a Keras layer.
    """

    def __init__(self, limit: int | None = None, **options: object):
        super().__init__(**{**options, "trainable": False})
        self.limit = limit

    def call(self, segments):
        """The places of the tokens of `segments`."""
        ops = keras.ops
        is_same = segments[:, :, None] == segments[:, None, :]
        first = ops.argmax(ops.cast(is_same, "int32"), axis=-1)  # the first token of the segment of each token
        return ops.arange(ops.shape(segments)[1], dtype="int32")[None] - ops.cast(first, "int32")

    def compute_output_spec(self, segments):
        """int32 (b, tokens)."""
        return keras.KerasTensor(segments.shape, "int32")

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "limit": self.limit}


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
        rope: mapping of the arguments of `rotations.rotations` but the head's size; None for a block whose keys are not rotated.
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
        adapters: mapping from names of dense layers out of `LINEAR` to the rank, scale and rate of the low-rank pair beside
            each, see `adapt`.
        quantization: mapping of the "dtype" and the "config" of dense layers that Keras has quantized; None for kernels of
            floats.
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
        adapters: Mapping[str, Mapping[str, object]] | None = None,
        quantization: Mapping[str, object] | None = None,
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
        self._adapters = {} if adapters is None else {name: dict(pair) for name, pair in adapters.items()}
        self._quantization = quantization
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
        self.pairs = {name: LowRankPair(name=f"{name}_adapter", dtype=self.dtype_policy) for name in LINEAR}

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
        for name, pair in self._adapters.items():
            self.adapt(name, **pair)

    def linear(self, name: str) -> keras.layers.Dense:
        """A dense layer of the block.

        Args:
            name: str out of `LINEAR`.

        Returns:
            keras.layers.Dense.
        """
        return getattr(self, LINEAR[name])

    def adapt(self, name: str, *, rank: int, scale: float, rate: float = 0.0) -> None:
        """Puts a low-rank pair beside a dense layer of the built block; of the block only pairs train then.

        Args:
            name: str out of `LINEAR`, the dense layer.
            rank: int >= 1, as for `LowRankPair.create`.
            scale: float, as for `LowRankPair.create`.
            rate: float in [0, 1), as for `LowRankPair.create`.
        """
        outputs = self.linear(name).units
        inputs = {"attention_output": self.query_dense.units, "down": self.gate_dense.units}
        width = self.attention_dense.units
        with keras.name_scope(
            self.name, caller=self
        ):  # so that paths are the same as in a block that is built with pairs
            self.pairs[name].create(inputs.get(name, width), outputs, rank=rank, scale=scale, rate=rate)
        self.trainable = True
        norms = (self.attention_norm, self.mlp_norm, self.query_norm, self.key_norm)
        norms += (self.attention_post_norm, self.mlp_post_norm)
        for layer in (*map(self.linear, LINEAR), *norms):
            if layer is not None:
                layer.trainable = False

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
        query = self._heads(self._applied("query", normed), settings["num_heads"])
        key = self._heads(self._applied("key", normed), settings["num_kv_heads"])
        value = self._heads(self._applied("value", normed), settings["num_kv_heads"])
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
        attended = self._applied("attention_output", ops.reshape(read, (-1, count, heads * size)))
        values = values + (self.attention_post_norm(attended) if settings["post_norms"] else attended)
        normed = self.mlp_norm(values)
        gated = ACTIVATIONS[settings["activation"]](self._applied("gate", normed)) * self._applied("up", normed)
        result = self._applied("down", gated)
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
        pairs = {name: pair for name, pair in self.pairs.items() if pair.rank is not None}
        adapters = {name: {"rank": pair.rank, "scale": pair.scale, "rate": pair.rate} for name, pair in pairs.items()}
        dense = self.query_dense
        quantization = dense.quantization_mode and {
            "dtype": dense.dtype_policy.name,
            "config": keras.saving.serialize_keras_object(dense.quantization_config),
        }
        config = {**super().get_config(), **self.settings}
        return {**config, "adapters": adapters or None, "quantization": quantization}

    def _applied(self, name: str, values):
        layer, pair = self.linear(name), self.pairs[name]
        result = layer(values) if layer.quantization_mode is None else _frozen(layer, values)
        return result + pair(values) if pair.is_on else result

    def _heads(self, values, heads: int):
        ops = keras.ops
        split = ops.reshape(values, (-1, ops.shape(values)[1], heads, self.settings["head_size"]))
        return ops.transpose(split, (0, 2, 1, 3))

    def _dense(self, units: int, name: str, bias: bool) -> keras.layers.Dense:
        options = {"dtype": self.dtype_policy}
        if self._quantization is not None:
            config = keras.saving.deserialize_keras_object(self._quantization["config"])
            options = {"dtype": self._quantization["dtype"], "quantization_config": config}
        return keras.layers.Dense(units, use_bias=bias, name=name, trainable=self.trainable, **options)

    def _norm(self, name: str) -> keras.layers.RMSNormalization:
        epsilon = self.settings["epsilon"]
        return keras.layers.RMSNormalization(
            epsilon=epsilon, name=name, dtype=self.dtype_policy, trainable=self.trainable
        )


def _frozen(layer: keras.layers.Dense, values):
    """The result of a quantized layer, whose kernel becomes floats when it is multiplied, and again for the gradient.

    Nothing else delays it: TensorFlow would turn the kernels of all blocks into floats as soon as a step begins, and keep
    those of the gradients to its end.
    """

    @tf.custom_gradient
    def apply(values):
        with tf.control_dependencies([values]):
            result = layer(values)

        def gradient(upstream, variables=None):
            with tf.control_dependencies([upstream]), tf.GradientTape(watch_accessed_variables=False) as tape:
                copy = tf.identity(values)
                tape.watch(copy)
                repeated = layer(copy)  # Not computed, because the gradient of a linear layer does not read it.
                # Keras's scales are float32, and so are its gradients, also of half-precision inputs.
                slope = tf.cast(tape.gradient(repeated, copy, output_gradients=upstream), values.dtype)
            return slope if variables is None else (slope, [None] * len(variables))

        return result, gradient

    return apply(values)
