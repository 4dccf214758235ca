"""Layers for models of pairs of texts: from a pair to its texts, and from the features of both to those of the pair.

Takes strings (b, 2) or token ids (b, 2, length), and features (b, d). Must not know how a text becomes features.
"""

import keras


@keras.saving.register_keras_serializable("kerastrain")
class SeparateTexts(keras.layers.Layer):
    """Separates pairs: (b, 2, …) to the first and the second texts, (b, …) each.

    Args:
        **options: `name` and `dtype` of a Keras layer.
    """

    def call(self, pairs):
        """Both texts of `pairs`, strings (b, 2) or token ids (b, 2, length)."""
        return pairs[:, 0], pairs[:, 1]

    def compute_output_spec(self, pairs):
        """Two tensors without the axis of `pairs` for the two texts, of the same dtype."""
        shape = (pairs.shape[0], *pairs.shape[2:])
        return keras.KerasTensor(shape, pairs.dtype), keras.KerasTensor(shape, pairs.dtype)


@keras.saving.register_keras_serializable("kerastrain")
class ComparePair(keras.layers.Layer):
    """Features of a pair from those of its texts: u and v, (b, d), to [u, v, |u - v|, u · v], (b, 4d).

    Args:
        **options: `name` and `dtype` of a Keras layer.

    Reference: Conneau et al. 2017, https://arxiv.org/abs/1705.02364, section 3.1.
    """

    def call(self, features):
        """The features of pairs, from a list of those of the first and of the second texts."""
        first, second = features
        parts = [first, second, keras.ops.abs(first - second), first * second]
        return keras.ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape):
        """(b, 4d)."""
        return (*input_shape[0][:-1], 4 * input_shape[0][-1])
