"""Pretrained text encoders as backbones: strings in, features out, with the tokenizer inside.

Takes a handle of `presets`; returns a frozen `keras.Model` of plain Keras layers and those of `layers.encoder`, which needs
neither the folder nor KerasHub any more. Must not know of heads or labels.
"""

import os
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from kerastrain import presets
from kerastrain.backbones import kerashub_backbones
from kerastrain.layers.encoder import EncoderBlock, EncoderEmbedding, TokenMask
from kerastrain.layers.encoder_relative import DisentangledBlock, RelativeBias, RelativeEmbedding
from kerastrain.layers.encoder_text import EncoderTokenizer, TokenPooling
from kerastrain.presets import encoder_lengths, encoders
from kerastrain.presets.sentence_transformers import Pooling
from kerastrain.presets.text_presets import read_text
from kerastrain.tokenization.encoder_tokens import EncoderTokens


def load(
    handle: str | os.PathLike, *, texts: Iterable[str] | None = None, sequence_length: int | None = None
) -> keras.Model:
    """The encoder of a handle, a frozen model named "backbone".

    Its layers are "tokens" (strings to token ids), "embedding", "block_0", "block_1", … and "pooling", so that
    `freezing.unfreeze(model, last=2)` trains the last two blocks.

    Args:
        handle: "kerashub:PRESET", "hf:OWNER/NAME", or a folder of Hugging Face or KerasHub.
        texts: iterable of str, the training texts, for the sequence length; None for the network's longest.
        sequence_length: int >= 3, the number of tokens that a text is cut to, with those at its start and end; None for the
            one at which at most one of a hundred `texts` is cut.

    Returns:
        keras.Model, strings (batch,) to float (batch, features).

    Raises:
        InputError: the files are incomplete, or of a network or tokenizer that is not read here, or the network has fewer
            places than `sequence_length`.
        MissingExtra: KerasHub's libraries are not installed.
        FileNotFoundError: a folder does not exist.
        ConnectionError: the files must be downloaded and the server does not answer.
    """
    source = read_text(handle, fetched=True)
    preset, network, tokens = source.preset, source.network, source.tokens
    counts = None if texts is None or sequence_length is not None else encoder_lengths.counts(tokens, texts)
    length = encoder_lengths.chosen(preset, network, counts, sequence_length)
    model = _model(network, tokens, length, source.pooling)
    values = _kerashub_weights(preset, network) if preset.origin == "kerashub" else encoders.weights(preset, network)
    assign(model, values)
    model.trainable = False
    return model


def assign(model: keras.Model, values: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]) -> None:
    """Sets the weights of a model by the paths of its variables.

    Args:
        model: keras.Model.
        values: mapping or iterable of pairs, from each path to a value.

    Raises:
        ValueError: the paths differ.
    """
    variables = {variable.path: variable for variable in model.weights}
    # One array at a time: together they would double the memory of a large network.
    for path, value in values.items() if isinstance(values, Mapping) else values:
        variables.pop(path).assign(value)
    if variables:
        raise ValueError(f"no values for {', '.join(variables)}.")


def _model(
    network: encoders.EncoderNetwork,
    tokens: EncoderTokens,
    length: int,
    pooling: Pooling,
) -> keras.Model:
    strings = keras.Input((), dtype="string", name="strings")
    ids = EncoderTokenizer(tokens, length, name="tokens")(strings)
    mask = TokenMask(tokens.pad, name="mask")(ids)
    is_disentangled = network.distances == "disentangled"
    values = EncoderEmbedding(
        network.vocabulary_size,
        0 if is_disentangled else network.positions,
        network.embedding_width,
        epsilon=network.epsilon,
        dropout=network.dropout,
        name="embedding",
    )(ids)
    if network.embedding_width != network.width:
        values = keras.layers.Dense(network.width, name="projection")(values)
    distances = _distances(network, ids)
    for index in range(network.num_layers):
        block = (DisentangledBlock if is_disentangled else EncoderBlock)(
            network.num_heads,
            network.intermediate,
            activation=network.activation,
            epsilon=network.epsilon,
            dropout=network.dropout,
            attention_dropout=network.attention_dropout,
            name=f"block_{index}",
        )
        values = block(values, mask, *distances)
    features = TokenPooling(pooling.modes, normalize=pooling.normalize, name="pooling")(values, mask)
    return keras.Model(strings, features, name="backbone")


def _distances(network: encoders.EncoderNetwork, ids: keras.KerasTensor) -> list[keras.KerasTensor]:
    """What the blocks read beside their values and the mask."""
    sizes = {"buckets": network.buckets, "positions": network.positions, "name": "positions"}
    if network.distances == "bias":
        return [RelativeBias(network.num_heads, **sizes)(ids)]
    if network.distances == "disentangled":
        facts = {"most": network.most_distance, "epsilon": network.epsilon, "dropout": network.dropout}
        return [RelativeEmbedding(network.width, **sizes, **facts)(ids)]
    return []


def _kerashub_weights(preset: presets.Preset, network: encoders.EncoderNetwork) -> dict[str, np.ndarray]:
    original = kerashub_backbones.opened(preset)
    values = {variable.path: np.asarray(variable.value) for variable in original.weights}
    return encoders.converted({path: value for path, value in values.items() if "pooled_dense" not in path}, network)
