"""Text backbones from a handle: strings in, features out.

Takes a handle and, for the networks that are built here, the training texts for the vocabulary; returns a Keras layer.
Must not know of heads or labels.
"""

import os
from collections.abc import Iterable

import keras
import tensorflow as tf

from kerastrain import saving
from kerastrain.errors import InputError, unknown
from kerastrain.hub import modules
from kerastrain.hub.layer import HubLayer
from kerastrain.layers.text import MeanOverWords, WordPositions


def load(
    handle: str | os.PathLike | keras.Model = "keras:embedding",
    *,
    texts: Iterable[str] | None = None,
    vocabulary_size: int = 30_000,
    sequence_length: int | None = None,
    embedding_dim: int | None = None,
    num_layers: int | None = None,
    dropout: float = 0.0,
    signature: str | None = None,
    output_key: str | None = None,
) -> keras.Layer:
    """The text backbone of a handle, a layer named "backbone".

    | handle | backbone |
    |---|---|
    | "keras:embedding" | the mean of the embeddings of words and word pairs (Joulin et al. 2016) |
    | "keras:transformer" | word and position embeddings, `num_layers` blocks of self-attention, the mean over the words |
    | "https://…", "kaggle:…", folder, .tar.gz | a Hub module from strings (batch,) to features (batch, features) |
    | "PATH.keras" | a saved model from strings to features; of a kerastrain classifier, the part before its head |
    | keras.Model | that model, from strings (batch,) to features (batch, features) |

    Args:
        handle: str, path or keras.Model, as in the table.
        texts: iterable of str, the training texts, for the vocabulary of the two "keras:" networks.
        vocabulary_size: int > 2, the largest number of words (and word pairs) in the vocabulary.
        sequence_length: int >= 1, the number of words (and word pairs) of a text that count; None for 100 in
            "keras:embedding" and 64 in "keras:transformer".
        embedding_dim: int >= 1, the size of an embedding; None for 32 in "keras:embedding" and 64 in "keras:transformer".
        num_layers: int >= 1, the number of transformer blocks; None for 2.
        dropout: float in [0, 1), fraction of embeddings (and of attention weights) that is dropped in training.
        signature: str, for modules: the signature to call.
        output_key: str, for modules: the output to use if there are several.

    Returns:
        keras.Layer, strings (batch,) to float (batch, features). The "keras:" networks train; modules and models are
        frozen.

    Raises:
        InputError: the name is unknown, `texts` is missing, or the module, file or model cannot be read or takes no
            strings.
        FileNotFoundError: a path does not exist.
        ConnectionError: a module cannot be downloaded.

    Reference: Joulin et al. 2016, https://arxiv.org/abs/1607.01759; Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, with the normalization before each part (Xiong et al. 2020).
    """
    if isinstance(handle, keras.Model):
        return _of_model(handle, handle.name)
    if str(handle).endswith(".keras"):
        model = saving.load(handle)
        backbone = next((layer for layer in model.layers if layer.name == "backbone"), None)
        return _of_model(model, str(handle), backbone)
    if str(handle).startswith("keras:"):
        name = str(handle).removeprefix("keras:")
        if name not in NETWORKS:
            raise InputError(unknown("text network", name, NETWORKS))
        if texts is None:
            raise InputError(f"the text backbone {handle!r} takes its vocabulary from the training texts: set `texts`.")
        return NETWORKS[name](list(texts), vocabulary_size, sequence_length, embedding_dim, num_layers, dropout)
    layer = HubLayer(modules.resolve(handle), name="backbone", signature=signature, output_key=output_key)
    if layer.input_specs and (len(layer.input_specs) != 1 or layer.input_specs[0].dtype != tf.string):
        inputs = ", ".join(
            f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else ''}" for spec in layer.input_specs
        )
        raise InputError(f"the module {str(handle)!r} takes no texts, which are strings (batch,). It takes: {inputs}.")
    return layer


def takes_texts(model: keras.Model) -> bool:
    """Whether a model has one input, and that is strings.

    Args:
        model: keras.Model.
    """
    return len(model.inputs or ()) == 1 and model.inputs[0].dtype == "string"


def _of_model(model: keras.Model, text: str, backbone: keras.Layer | None = None) -> keras.Layer:
    """The frozen `backbone` layer of a model, or the frozen model if it has none."""
    if not takes_texts(model):
        inputs = ", ".join(f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in model.inputs or ())
        raise InputError(f"the model {text!r} takes no texts, which are strings (batch,). It takes: {inputs}.")
    if backbone is None:
        strings = keras.Input((), dtype="string", name="strings")
        backbone = keras.Model(strings, model(strings), name="backbone")
    backbone.trainable = False
    return backbone


def _embedding(texts, vocabulary_size, sequence_length, embedding_dim, num_layers, dropout) -> keras.Model:
    strings = keras.Input((), dtype="string", name="strings")
    tokens = _tokens(texts, vocabulary_size, sequence_length or 100, pairs=True)(strings)
    values = keras.layers.Embedding(vocabulary_size, embedding_dim or 32, mask_zero=True, name="words")(tokens)
    if dropout:
        values = keras.layers.SpatialDropout1D(dropout, name="word_dropout")(values)
    return keras.Model(strings, MeanOverWords(name="mean")(values), name="backbone")


def _transformer(texts, vocabulary_size, sequence_length, embedding_dim, num_layers, dropout) -> keras.Model:
    sequence_length, embedding_dim = sequence_length or 64, embedding_dim or 64
    strings = keras.Input((), dtype="string", name="strings")
    tokens = _tokens(texts, vocabulary_size, sequence_length, pairs=False)(strings)
    values = keras.layers.Embedding(vocabulary_size, embedding_dim, mask_zero=True, name="words")(tokens)
    values = WordPositions(sequence_length, name="places")(values)
    for index in range(num_layers or 2):
        values = _block(values, embedding_dim, dropout, f"block_{index}")
    values = keras.layers.LayerNormalization(name="norm")(values)
    return keras.Model(strings, MeanOverWords(name="mean")(values), name="backbone")


def _block(values, embedding_dim: int, dropout: float, name: str):
    heads = max(1, embedding_dim // 32)
    attended = keras.layers.LayerNormalization(name=f"{name}_attention_norm")(values)
    attended = keras.layers.MultiHeadAttention(
        heads, embedding_dim // heads, dropout=dropout, name=f"{name}_attention"
    )(attended, attended)
    values = keras.layers.Add(name=f"{name}_attention_add")([values, attended])
    mixed = keras.layers.LayerNormalization(name=f"{name}_dense_norm")(values)
    mixed = keras.layers.Dense(4 * embedding_dim, "gelu", name=f"{name}_dense_in")(mixed)
    mixed = keras.layers.Dense(embedding_dim, name=f"{name}_dense_out")(mixed)
    if dropout:
        mixed = keras.layers.Dropout(dropout, name=f"{name}_dropout")(mixed)
    return keras.layers.Add(name=f"{name}_dense_add")([values, mixed])


def _tokens(
    texts: list[str], vocabulary_size: int, sequence_length: int, *, pairs: bool
) -> keras.layers.TextVectorization:
    if not any(text.strip() for text in texts):
        raise InputError("`texts` must contain words for the vocabulary. Received: no word.")
    layer = keras.layers.TextVectorization(
        vocabulary_size, ngrams=2 if pairs else None, output_sequence_length=sequence_length, name="tokens"
    )
    layer.adapt(tf.data.Dataset.from_tensor_slices(texts).batch(1024))
    return layer


NETWORKS = {"embedding": _embedding, "transformer": _transformer}
