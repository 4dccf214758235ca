"""Layers that prepare pixels for a backbone and that Keras does not have."""

import keras


@keras.saving.register_keras_serializable("kerastrain")
class ReverseChannels(keras.layers.Layer):
    """Images with red and blue exchanged: float (b, h, w, 3) RGB to BGR, as networks of Caffe's time take them."""

    def call(self, images):
        """`images` with the last axis reversed."""
        return keras.ops.flip(images, axis=-1)

    def compute_output_shape(self, input_shape):
        """The shape that came in."""
        return input_shape
