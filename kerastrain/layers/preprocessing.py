"""Layers that preprocess images for a backbone and that Keras does not provide."""

import keras


@keras.saving.register_keras_serializable("kerastrain")
class ReverseChannels(keras.layers.Layer):
    """Swaps red and blue: float (b, h, w, 3) RGB to BGR, as networks ported from Caffe expect."""

    def call(self, images):
        """`images` with the last axis reversed."""
        return keras.ops.flip(images, axis=-1)

    def compute_output_shape(self, input_shape):
        """The input shape."""
        return input_shape
