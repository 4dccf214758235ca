"""The layers of text encoders that know the distance between two tokens: MPNet's biases and DeBERTa's disentangled attention.

Takes token ids (b, tokens) for their number; returns what the blocks of attention add to their scores. Must not know of
strings.

A distance is the place of the token that reads less the place of the token that is read. What depends on it is computed
once for each of the 2 · tokens - 1 distances of a batch, not for each pair of places.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from kerastrain.layers.encoder import EncoderBlock


def log_buckets(distances: np.ndarray, buckets: int, most: int) -> np.ndarray:
    """DeBERTa's buckets: distances up to half of `buckets` by themselves, the others by their logarithm.

    Args:
        distances: int array (n,).
        buckets: int >= 4.
        most: int > buckets / 2, the distance of the last bucket.

    Returns:
        int array (n,), in [-buckets + 1, buckets - 1] for distances up to `most`.

    Example:
        >>> log_buckets(np.array([-40, -3, 0, 4, 5, 31]), buckets=8, most=32).tolist()
        [-8, -3, 0, 4, 5, 7]

    Reference: He et al. 2021, https://arxiv.org/abs/2006.03654, section 3; DeBERTa's `make_log_bucket_position`.
    """
    middle = buckets // 2
    size = np.maximum(np.abs(distances), middle).astype(np.float32)
    steps = np.ceil(np.log(size / middle) / np.log(np.float32((most - 1) / middle)) * (middle - 1)) + middle
    return np.where(np.abs(distances) <= middle, distances, steps * np.sign(distances)).astype(int)


def signed_buckets(distances: np.ndarray, buckets: int, most: int = 128) -> np.ndarray:
    """T5's and MPNet's buckets: a half for tokens before, a half for tokens behind, each half single and half logarithmic.

    Args:
        distances: int array (n,).
        buckets: int >= 4, even.
        most: int, the distance from which on all are in the last bucket.

    Returns:
        int array (n,), in [0, buckets).

    Example:
        >>> signed_buckets(np.array([0, 3, 9, 200, -1, -200]), buckets=32).tolist()
        [0, 3, 8, 15, 17, 31]

    Reference: Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.1.
    """
    half = buckets // 2
    single = half // 2
    size = np.abs(distances)
    large = np.log(np.maximum(size, 1).astype(np.float32) / single) / math.log(most / single) * (half - single)
    steps = np.where(size < single, size, np.minimum(single + large.astype(int), half - 1))
    return steps + np.where(distances < 0, half, 0)


class _Distances(keras.layers.Layer):
    """What two layers share: the bucket of each distance, in order of the distances."""

    def _rows(self, ids, buckets: np.ndarray):
        """int32 (2 · tokens - 1,): the buckets of the distances 1 - tokens to tokens - 1."""
        tokens, middle = tf.shape(ids)[1], len(buckets) // 2
        return tf.constant(buckets, tf.int32)[middle + 1 - tokens : middle + tokens]

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), **self.settings}


@keras.saving.register_keras_serializable("kerastrain")
class RelativeBias(_Distances):
    """MPNet's bias of each distance and head: int32 ids (b, tokens) to float (1, heads, tokens, tokens).

    Args:
        num_heads: int >= 1.
        buckets: int >= 4, even.
        positions: int >= 1, the largest number of tokens.
        **options: `name` and `dtype` of a Keras layer.

    Reference: Song et al. 2020, https://arxiv.org/abs/2004.09297.
    """

    def __init__(self, num_heads: int, buckets: int, positions: int, **options: object):
        super().__init__(**options)
        self.settings = {"num_heads": num_heads, "buckets": buckets, "positions": positions}
        self._buckets = signed_buckets(np.arange(1 - positions, positions), buckets)

    def build(self, ids_shape):
        """Creates the weights."""
        shape = (self.settings["buckets"], self.settings["num_heads"])
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, ids):
        """The biases for the pairs of places of `ids`."""
        places = tf.range(tf.shape(ids)[1])
        rows = tf.gather(self._rows(ids, self._buckets), places[:, None] - places[None, :] + tf.shape(ids)[1] - 1)
        return tf.transpose(tf.gather(keras.ops.convert_to_tensor(self.bias), rows), (2, 0, 1))[None]

    def compute_output_spec(self, ids):
        """Float (1, heads, tokens, tokens)."""
        return keras.KerasTensor((1, self.settings["num_heads"], ids.shape[1], ids.shape[1]), self.compute_dtype)


@keras.saving.register_keras_serializable("kerastrain")
class RelativeEmbedding(_Distances):
    """DeBERTa's vector of each distance, normalized: int32 ids (b, tokens) to float (1, 2 · tokens - 1, width).

    Args:
        width: int >= 1.
        buckets: int >= 4.
        positions: int >= 1, the largest number of tokens.
        most: int, the distance of the last bucket.
        epsilon: float > 0, of the normalization.
        dropout: float in [0, 1).
        **options: `name` and `dtype` of a Keras layer.

    Reference: He et al. 2021, https://arxiv.org/abs/2006.03654.
    """

    def __init__(
        self,
        width: int,
        buckets: int,
        positions: int,
        most: int,
        *,
        epsilon: float = 1e-7,
        dropout: float = 0.0,
        **options: object,
    ):
        super().__init__(**options)
        self.settings = {"width": width, "buckets": buckets, "positions": positions, "most": most}
        self.settings |= {"epsilon": epsilon, "dropout": dropout}
        steps = log_buckets(np.arange(1 - positions, positions), buckets, most)
        self._buckets = np.clip(steps + buckets, 0, 2 * buckets - 1)
        own = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm", **own)
        self.drop = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, ids_shape):
        """Creates the weights."""
        shape = (2 * self.settings["buckets"], self.settings["width"])
        self.embeddings = self.add_weight(shape=shape, initializer="uniform", name="embeddings")
        self.norm.build((1, None, self.settings["width"]))

    def call(self, ids, training=None):
        """The vectors of the distances between the places of `ids`."""
        rows = self._rows(ids, self._buckets)
        vectors = tf.gather(keras.ops.convert_to_tensor(self.embeddings), rows)[None]
        return self.drop(self.norm(vectors), training=training)

    def compute_output_spec(self, ids, training=None):
        """Float (1, 2 · tokens - 1, width)."""
        distances = None if ids.shape[1] is None else 2 * ids.shape[1] - 1
        return keras.KerasTensor((1, distances, self.settings["width"]), self.compute_dtype)


@keras.saving.register_keras_serializable("kerastrain")
class DisentangledBlock(EncoderBlock):
    """A block of DeBERTa: BERT's, whose scores also compare each token with the vectors of the distances.

        score(i, j) = (q_i · k_j + q_i · K r(i - j) + k_j · Q r(i - j)) / sqrt(3 d)

    with the vectors r of `RelativeEmbedding`, and the dense layers Q and K of the queries and keys.

    Args:
        **options: the arguments of `EncoderBlock`.

    Reference: He et al. 2021, https://arxiv.org/abs/2006.03654, eq. 4.
    """

    def _scores(self, query, key, positions):
        scale = math.sqrt(3 * query.shape[-1])
        query = query / scale
        # From the largest distance to the smallest, so that the place that is read grows along a row.
        reads = self._split(self.key_dense(tf.reverse(positions, [1])))
        is_read = self._split(self.query_dense(positions))
        scores = tf.matmul(query, key, transpose_b=True)
        scores += _by_place(tf.matmul(query, reads, transpose_b=True))
        by_key = _by_place(tf.matmul(key / scale, is_read, transpose_b=True))
        return scores + tf.transpose(by_key, (0, 1, 3, 2))


def _by_place(scores: tf.Tensor) -> tf.Tensor:
    """(b, heads, n, 2n - 1) to (b, heads, n, n): row i from its entry n - 1 - i on.

    Cut out of the flat rows, whose length is one more than what an entry moves from row to row. There are at least two
    places, those of the start and the end.
    """
    heads, tokens = scores.shape[1], tf.shape(scores)[2]
    flat = tf.reshape(scores, (-1, heads, tokens * (2 * tokens - 1)))
    cut = flat[:, :, tokens - 1 : tokens - 1 + tokens * (2 * tokens - 2)]
    return tf.reshape(cut, (-1, heads, tokens, 2 * tokens - 2))[:, :, :, :tokens]
