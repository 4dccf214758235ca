"""Layers between the words of a text and its features.

Takes and gives tensors (b, words, d). Must not know of vocabularies, heads or labels.
"""

import keras


@keras.saving.register_keras_serializable("kerastrain")
class MeanOverWords(keras.layers.Layer):
    """The mean over the words of a text that are there: (b, words, d) with its mask to (b, d); no word gives zeros."""

    def __init__(self, **options: object):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, values, mask=None):
        """The mean of `values` over axis 1, of those that `mask` (b, words) keeps."""
        if mask is None:
            return keras.ops.mean(values, axis=1)
        kept = keras.ops.expand_dims(keras.ops.cast(mask, values.dtype), -1)
        return keras.ops.sum(values * kept, axis=1) / keras.ops.maximum(keras.ops.sum(kept, axis=1), 1)

    def compute_mask(self, inputs, mask=None):
        """None, for the words are gone."""


@keras.saving.register_keras_serializable("kerastrain")
class WordPositions(keras.layers.Layer):
    """Adds a learned vector for each place in a text: (b, words, d) to the same shape.

    Args:
        length: int, the number of words of a text.
        **options: `name` and `dtype` of a Keras layer.
    """

    def __init__(self, length: int, **options: object):
        super().__init__(**options)
        self.supports_masking = True
        self.length = length

    def build(self, input_shape):
        """Makes the vectors."""
        self.positions = self.add_weight(
            name="positions", shape=(self.length, input_shape[-1]), initializer=keras.initializers.RandomNormal(0, 0.02)
        )

    def call(self, values):
        """`values` plus the vector of their place."""
        return values + self.positions

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "length": self.length}
