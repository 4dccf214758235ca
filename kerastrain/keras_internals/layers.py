"""All layers inside a layer or model.

Takes a layer; returns a list of layers. Must not change them.

The private name is `keras.Layer._flatten_layers`, read in Keras 3.12.4 and 3.15.1: `keras.Model.layers` stops at nested
models, and no public name looks into wrappers or attention. `tests/keras_internals/test_keras_layers.py` fails when it
moves.
"""

import keras


def every_layer(layer: keras.Layer) -> list[keras.Layer]:
    """`layer` and all layers inside it, also those inside nested models, wrappers and attention.

    Args:
        layer: keras.Layer or keras.Model.

    Returns:
        list of keras.Layer, `layer` first.
    """
    return layer._flatten_layers()
