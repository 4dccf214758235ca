"""Splits a model into its features and its head.

Takes a model of a builder; returns two models that share its layers. Must not train.
"""

from collections.abc import Sequence

import keras

from kerastrain.transfer.freezing import backbone_of


def split_at_backbone(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Splits a model in two: inputs to features, and features to outputs.

    The features of a frozen backbone never change. Compute them once and train the head on them: only the first epoch
    costs a pass through the backbone. Both models share the layers of `model`, so training the head trains `model`.

    Args:
        model: keras.Model from a builder of `kerastrain.models`.

    Returns:
        (keras.Model, keras.Model): from the inputs of `model` to features, float (batch, features), and from the features
        to the outputs of `model`.

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
