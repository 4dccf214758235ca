"""Layers between the word embeddings of a text and its features.

Takes and returns tensors (b, words, d). Must not know of vocabularies, heads or labels.
"""

import keras


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
