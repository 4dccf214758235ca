"""All layers within a layer, which Keras lists under a private name.

There is no public counterpart of `keras.Layer._flatten_layers`, read in Keras 3.12.4 and 3.15.1;
`tests/keras_internals/test_layers.py` fails when it moves.
"""

import keras


def every_layer(part: keras.Layer) -> list[keras.Layer]:
    """A layer and all within it, those inside attention and wrappers too, which Keras lists under a private name."""
    return part._flatten_layers()
