"""Pretrained language models as `keras.Model`s: token ids and segments in, float32 logits out.

Takes a `Preset` of a language model; returns a flat functional model of plain Keras layers and those of `layers.decoder`, which
needs neither the folder nor KerasHub any more. Must not know of texts.
"""

import keras

from kerastrain import presets
from kerastrain.backbones.text_encoders import assign
from kerastrain.layers.decoder import DecoderBlock, TokenPositions
from kerastrain.presets import decoders

INPUT_NAMES = ("token_ids", "segments")


def load(preset: presets.Preset, network: decoders.DecoderNetwork) -> keras.Model:
    """A pretrained language model.

    Args:
        preset: Preset, fetched.
        network: DecoderNetwork of it.

    Returns:
        keras.Model as from `build`, with the weights of the preset.
    """
    model = build(network)
    assign(model, decoders.weights(preset, network))
    return model


def build(network: decoders.DecoderNetwork, *, name: str = "language_model") -> keras.Model:
    """A language model with random weights.

    Its layers are "embedding", "block_0", "block_1", … and "norm"; "embedding" also computes the logits.

    Args:
        network: DecoderNetwork.
        name: str, the model's name.

    Returns:
        keras.Model, from a dict of int32 "token_ids" and "segments" (b, tokens) to float32 logits (b, tokens, vocabulary).
        Tokens of one example have the same segment, a number above 0, and 0 is padding; the logits of a token predict the
        next one.
    """
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in INPUT_NAMES}
    positions = TokenPositions(network.positions, name="positions")(inputs["segments"])
    embedding = keras.layers.ReversibleEmbedding(
        network.vocabulary_size,
        network.width,
        tie_weights=network.tied,
        reverse_dtype="float32",  # Half-precision logits have three digits.
        logit_soft_cap=network.logit_cap,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="embedding",
    )
    values = embedding(inputs["token_ids"])
    if network.embedding_scale != 1:
        values = keras.layers.Rescaling(network.embedding_scale, name="embedding_scale")(values)
    for index, block in enumerate(network.blocks):
        values = DecoderBlock(**block, name=f"block_{index}")(values, inputs["segments"], positions)
    values = keras.layers.RMSNormalization(epsilon=network.epsilon, name="norm")(values)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(embedding(values, reverse=True))
    model = keras.Model(inputs, logits, name=name)
    # A half-precision policy of the model itself would round the embeddings that compute logits, which only holds until the model
    # is saved, because its file has the policies of layers only.
    model.dtype_policy = "float32"
    return model
