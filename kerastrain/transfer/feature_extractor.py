"""Splits a model into its features and its head.

Takes a model of a builder; returns two models that share its layers. Must not train.
"""

from collections.abc import Sequence

import keras

from kerastrain.errors import InputError
from kerastrain.keras_internals import graph
from kerastrain.transfer.freezing import backbone_of


def split_at_backbone(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Splits a model in two: inputs to features, and features to outputs.

    The features of a frozen backbone never change. Compute them once and train the head on them: only the first epoch
    costs a pass through the backbone. Both models share the layers of `model`, so training the head trains `model`.

    Args:
        model: keras.Model from a builder of `kerastrain.models`.

    Returns:
        (keras.Model, keras.Model): from the images or texts to features, float (batch, features), and from the features to
        the outputs of `model`. If the model reads numbers too, the second takes a tuple of the features and the numbers.

    Raises:
        InputError: the model has no layer named "backbone", or its layers do not follow one another.
    """
    backbone = backbone_of(model)
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if not graph.is_chain(model):
        raise InputError(
            f"a model is divided at its backbone only if each of its layers takes the output of the one before. Received: "
            f"{model.name!r}, which is connected otherwise. Build it with kerastrain.models."
        )
    names = [layer.name for layer in layers]
    cut = names.index("pooling" if "pooling" in names else backbone.name) + 1
    source, *numbers = model.inputs
    body = _chain([source], layers[:cut], "features")
    return body, _chain([body.outputs[0], *numbers], layers[cut:], "head")


def _chain(sources: Sequence[keras.KerasTensor], layers: Sequence[keras.Layer], name: str) -> keras.Model:
    """A model of one layer after the other, of which the first takes inputs like all of `sources`."""
    inputs = tuple(keras.Input(source.shape[1:], dtype=source.dtype) for source in sources)
    values = inputs[0] if len(inputs) == 1 else list(inputs)
    for layer in layers:
        values = layer(values)
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, values, name=name)
