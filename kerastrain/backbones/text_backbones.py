"""From one word to the network under a text classifier: strings in, features out.

Takes a handle and, for the networks that are built here, texts to take the vocabulary from; gives a Keras layer.
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
    """The text backbone that a handle names, named "backbone".

    | handle | what |
    |---|---|
    | "keras:embedding" | words and pairs of words, an embedding of each, their mean (Joulin et al. 2016) |
    | "keras:transformer" | words and places, `num_layers` blocks of self-attention, the mean over the words |
    | "https://…", "kaggle:…", folder, .tar.gz | a Hub module from strings (b,) to features (b, d) |
    | "PATH.keras" | a saved model of that kind; a classifier of kerastrain gives its features |
    | keras.Model | that model, from strings (b,) to features (b, d) |

    Args:
        handle: str, path or keras.Model, as in the table.
        texts: iterable of str, the training texts, from which the two "keras:" networks take their vocabulary.
        vocabulary_size: int > 2, the most words (and pairs) that are kept.
        sequence_length: int, how many words (and pairs) of a text count; None for 100 in "keras:embedding", 64 otherwise.
        embedding_dim: int, numbers of an embedding; None for 32 in "keras:embedding", 64 otherwise.
        num_layers: int >= 1, blocks of the transformer; None for 2.
        dropout: float in [0, 1), share of embeddings (and of what attention gives) that is dropped in training.
        signature: str, for modules: the signature to call.
        output_key: str, for modules: which of several outputs.

    Returns:
        keras.Layer, strings (b,) to float (b, d). The "keras:" networks train, modules and models are frozen.

    Raises:
        InputError: an unknown name, missing texts, or a module, file or model that takes no strings or is no such file.
        FileNotFoundError: a path does not exist.

    Reference: Joulin et al. 2016, https://arxiv.org/abs/1607.01759; Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, with the normalization before each part (Xiong et al. 2020).
    """
    if isinstance(handle, keras.Model):
        return _of_model(handle, handle.name)
    if str(handle).endswith(".keras"):
        model = saving.load(handle)
        own = next((layer for layer in model.layers if layer.name == "backbone"), None)
        return _of_model(model, str(handle), own)
    if str(handle).startswith("keras:"):
        name = str(handle).removeprefix("keras:")
        if name not in NETWORKS:
            raise InputError(unknown("text network", name, NETWORKS))
        if texts is None:
            raise InputError(
                f"the text backbone {handle!r} takes its vocabulary from the training texts: give `texts`."
            )
        return NETWORKS[name](list(texts), vocabulary_size, sequence_length, embedding_dim, num_layers, dropout)
    layer = HubLayer(modules.resolve(handle), name="backbone", signature=signature, output_key=output_key)
    if layer.input_specs and (len(layer.input_specs) != 1 or layer.input_specs[0].dtype != tf.string):
        found = ", ".join(
            f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else ''}" for spec in layer.input_specs
        )
        raise InputError(f"the module {str(handle)!r} takes no texts, which are strings (batch,). It takes: {found}.")
    return layer


def takes_texts(model: keras.Model) -> bool:
    """Whether a model has one input, of strings."""
    return len(model.inputs or ()) == 1 and model.inputs[0].dtype == "string"


def _of_model(model: keras.Model, text: str, own: keras.Layer | None = None) -> keras.Layer:
    """A model, or the layer of it that is its `own` backbone, frozen."""
    if not takes_texts(model):
        found = ", ".join(f"{one.dtype} {tuple(one.shape)}" for one in model.inputs or ())
        raise InputError(f"the model {text!r} takes no texts, which are strings (batch,). It takes: {found}.")
    if own is None:
        strings = keras.Input((), dtype="string", name="strings")
        own = keras.Model(strings, model(strings), name="backbone")
    own.trainable = False
    return own


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
        raise InputError("`texts` must hold words, from which the vocabulary is taken. Received: no word.")
    layer = keras.layers.TextVectorization(
        vocabulary_size, ngrams=2 if pairs else None, output_sequence_length=sequence_length, name="tokens"
    )
    layer.adapt(tf.data.Dataset.from_tensor_slices(texts).batch(1024))
    return layer


NETWORKS = {"embedding": _embedding, "transformer": _transformer}
