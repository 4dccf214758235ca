"""A model in two: its features, and the head on them.

Takes a model of a builder; gives two models that share its layers. Must not train.
"""

from collections.abc import Sequence

import keras

from kerastrain.transfer.freezing import backbone_of


def split_at_backbone(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """A model cut in two: inputs to features, and features to outputs.

    While the backbone is frozen its features never change. Compute them once, train the head on them, and every
    epoch but the first costs nothing; the layers are the model's own, so the model is trained when its head is.

    Args:
        model: keras.Model from a builder of this module.

    Returns:
        (keras.Model, keras.Model): inputs to features float (b, d), and features to what the model gives.

    Raises:
        InputError: the model has no layer named "backbone".
    """
    names = [layer.name for layer in model.layers]
    cut = names.index("pooling" if "pooling" in names else backbone_of(model).name) + 1
    body = _chain(model.input_shape[1:], model.input.dtype, model.layers[1:cut], "features")
    return body, _chain(body.output_shape[1:], body.output.dtype, model.layers[cut:], "head")


def _chain(shape: tuple, dtype: str, layers: Sequence[keras.Layer], name: str) -> keras.Model:
    inputs = values = keras.Input(shape, dtype=dtype)
    for layer in layers:
        values = layer(values)
    return keras.Model(inputs, values, name=name)
