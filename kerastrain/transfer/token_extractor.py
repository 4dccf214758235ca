"""Splits a text model after its tokenizer.

Takes a model of `kerastrain.models`; returns its tokenizer, and a model from token ids that shares its layers. Must not train.
"""

import keras

from kerastrain.keras_internals.graph import is_transparent, run_through_graph


def split_at_tokens(model: keras.Model) -> tuple[keras.layers.TextVectorization, keras.Model] | None:
    """Splits a text model in two: texts to token ids, and token ids to outputs.

    The token ids of a text never change. Compute them once, and an epoch costs no time on strings. Both share the layers of
    `model`, so training the second model trains `model`.

    Args:
        model: keras.Model from a builder of `kerastrain.models`.

    Returns:
        (TextVectorization, keras.Model): the layer from strings (batch,) to token ids, and the model from these, int64
        (batch, tokens), to the outputs of `model`. If the model reads numbers too, it takes a tuple of the ids and the
        numbers. None if the backbone does not begin with one such layer, as that of images or of pairs of texts.
    """
    backbone = next((layer for layer in model.layers if layer.name == "backbone"), None)
    if backbone is None or not is_transparent(backbone) or isinstance(backbone, keras.Sequential):
        return None
    tokens = [layer for layer in backbone.layers if isinstance(layer, keras.layers.TextVectorization)]
    if len(tokens) != 1 or tokens[0].input is not backbone.inputs[0]:
        return None
    ids = keras.Input(tokens[0].output.shape[1:], dtype=tokens[0].output.dtype, name="token_ids")
    features = run_through_graph(backbone, ids, _replacing(tokens[0], lambda values: values))
    body = keras.Model(ids, features, name=backbone.name)
    beside = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in model.inputs[1:]]
    inputs = (ids, *beside) if beside else ids
    whole = keras.Model(inputs, run_through_graph(model, inputs, _replacing(backbone, body)), name=model.name)
    # XLA would compile the step again for each length of a batch.
    whole.supports_jit = False
    return tokens[0], whole


def _replacing(old: keras.Layer, new):
    def call(operation, *args, **kwargs):
        return new(*args) if operation is old else operation(*args, **kwargs)

    return call
