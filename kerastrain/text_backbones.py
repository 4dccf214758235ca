"""From one word to the network under a text classifier: strings in, features out.

Takes a handle and, for the networks that are built here, texts to take the vocabulary from; gives a Keras layer.
Must not know of heads or labels.
"""

import os
from collections.abc import Iterable

import keras
import tensorflow as tf

from kerastrain import hub_modules
from kerastrain.errors import InputError, unknown
from kerastrain.hub_layer import HubLayer


@keras.saving.register_keras_serializable("kerastrain")
class MeanOverWords(keras.layers.Layer):
    """The mean over the words of a text that are there: (b, words, d) with its mask to (b, d); no word gives zeros."""

    def __init__(self, **options: object):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, values, mask=None):
        """The mean of `values` over axis 1, of those that `mask` (b, words) keeps."""
        if mask is None:
            return keras.ops.mean(values, axis=1)
        kept = keras.ops.expand_dims(keras.ops.cast(mask, values.dtype), -1)
        return keras.ops.sum(values * kept, axis=1) / keras.ops.maximum(keras.ops.sum(kept, axis=1), 1)

    def compute_mask(self, inputs, mask=None):
        """None, for the words are gone."""


@keras.saving.register_keras_serializable("kerastrain")
class WordPositions(keras.layers.Layer):
    """Adds a learned vector for each place in a text: (b, words, d) to the same shape.

    Args:
        length: int, the number of words of a text.
        **options: `name` and `dtype` of a Keras layer.
    """

    def __init__(self, length: int, **options: object):
        super().__init__(**options)
        self.supports_masking = True
        self.length = length

    def build(self, input_shape):
        """Makes the vectors."""
        self.positions = self.add_weight(
            name="positions", shape=(self.length, input_shape[-1]), initializer=keras.initializers.RandomNormal(0, 0.02)
        )

    def call(self, values):
        """`values` plus the vector of their place."""
        return values + self.positions

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "length": self.length}


def load(
    handle: str | os.PathLike | keras.Model = "keras:embedding",
    *,
    texts: Iterable[str] | None = None,
    vocabulary_size: int = 30_000,
    length: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    dropout: float = 0.0,
    signature: str | None = None,
    output_key: str | None = None,
) -> keras.Layer:
    """The text backbone that a handle names, named "backbone".

    | handle | what |
    |---|---|
    | "keras:embedding" | words and pairs of words, an embedding of each, their mean (Joulin et al. 2016) |
    | "keras:transformer" | words and places, `depth` blocks of self-attention, the mean over the words |
    | "https://…", "kaggle:…", folder, .tar.gz | a Hub module from strings (b,) to features (b, d) |
    | keras.Model | that model, from strings (b,) to features (b, d) |

    Args:
        handle: str, path or keras.Model, as in the table.
        texts: iterable of str, the training texts, from which the two "keras:" networks take their vocabulary.
        vocabulary_size: int > 2, the most words (and pairs) that are kept.
        length: int, how many words (and pairs) of a text count; None for 100 in "keras:embedding", 64 otherwise.
        width: int, numbers of an embedding; None for 32 in "keras:embedding", 64 otherwise.
        depth: int >= 1, blocks of the transformer; None for 2.
        dropout: float in [0, 1), share of embeddings (and of what attention gives) that is dropped in training.
        signature: str, for modules: the signature to call.
        output_key: str, for modules: which of several outputs.

    Returns:
        keras.Layer, strings (b,) to float (b, d). The "keras:" networks train, modules and models are frozen.

    Raises:
        InputError: an unknown name, missing texts, or a module that takes no strings.

    Reference: Joulin et al. 2016, https://arxiv.org/abs/1607.01759; Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, with the normalization before each part (Xiong et al. 2020).
    """
    if isinstance(handle, keras.Model):
        strings = keras.Input((), dtype="string", name="strings")
        model = keras.Model(strings, handle(strings), name="backbone")
        model.trainable = False
        return model
    if str(handle).startswith("keras:"):
        name = str(handle).removeprefix("keras:")
        if name not in NETWORKS:
            raise InputError(unknown("text network", name, NETWORKS))
        if texts is None:
            raise InputError(
                f"the text backbone {handle!r} takes its vocabulary from the training texts: give `texts`."
            )
        return NETWORKS[name](list(texts), vocabulary_size, length, width, depth, dropout)
    layer = HubLayer(hub_modules.resolve(handle), name="backbone", signature=signature, output_key=output_key)
    if layer.input_specs and (len(layer.input_specs) != 1 or layer.input_specs[0].dtype != tf.string):
        found = ", ".join(
            f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else ''}" for spec in layer.input_specs
        )
        raise InputError(f"the module {str(handle)!r} takes no texts, which are strings (batch,). It takes: {found}.")
    return layer


def _embedding(texts, vocabulary_size, length, width, depth, dropout) -> keras.Model:
    strings = keras.Input((), dtype="string", name="strings")
    tokens = _tokens(texts, vocabulary_size, length or 100, pairs=True)(strings)
    values = keras.layers.Embedding(vocabulary_size, width or 32, mask_zero=True, name="words")(tokens)
    if dropout:
        values = keras.layers.SpatialDropout1D(dropout, name="word_dropout")(values)
    return keras.Model(strings, MeanOverWords(name="mean")(values), name="backbone")


def _transformer(texts, vocabulary_size, length, width, depth, dropout) -> keras.Model:
    length, width = length or 64, width or 64
    strings = keras.Input((), dtype="string", name="strings")
    tokens = _tokens(texts, vocabulary_size, length, pairs=False)(strings)
    values = keras.layers.Embedding(vocabulary_size, width, mask_zero=True, name="words")(tokens)
    values = WordPositions(length, name="places")(values)
    for index in range(depth or 2):
        values = _block(values, width, dropout, f"block_{index}")
    values = keras.layers.LayerNormalization(name="norm")(values)
    return keras.Model(strings, MeanOverWords(name="mean")(values), name="backbone")


def _block(values, width: int, dropout: float, name: str):
    heads = max(1, width // 32)
    attended = keras.layers.LayerNormalization(name=f"{name}_attention_norm")(values)
    attended = keras.layers.MultiHeadAttention(heads, width // heads, dropout=dropout, name=f"{name}_attention")(
        attended, attended
    )
    values = keras.layers.Add(name=f"{name}_attention_add")([values, attended])
    mixed = keras.layers.LayerNormalization(name=f"{name}_dense_norm")(values)
    mixed = keras.layers.Dense(4 * width, "gelu", name=f"{name}_dense_in")(mixed)
    mixed = keras.layers.Dense(width, name=f"{name}_dense_out")(mixed)
    if dropout:
        mixed = keras.layers.Dropout(dropout, name=f"{name}_dropout")(mixed)
    return keras.layers.Add(name=f"{name}_dense_add")([values, mixed])


def _tokens(texts: list[str], vocabulary_size: int, length: int, *, pairs: bool) -> keras.layers.TextVectorization:
    if not any(text.strip() for text in texts):
        raise InputError("`texts` must hold words, from which the vocabulary is taken. Received: no word.")
    layer = keras.layers.TextVectorization(
        vocabulary_size, ngrams=2 if pairs else None, output_sequence_length=length, name="tokens"
    )
    layer.adapt(tf.data.Dataset.from_tensor_slices(texts).batch(1024))
    return layer


NETWORKS = {"embedding": _embedding, "transformer": _transformer}
