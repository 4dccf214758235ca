"""Text backbones from a handle: strings in, features out.

Takes a handle and, for the networks that are built here, the training texts for the vocabulary; returns a Keras layer.
Must not know of heads or labels.
"""

import os
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from kerastrain import presets, saving, tokenization
from kerastrain.backbones import text_encoders
from kerastrain.errors import InputError, unknown
from kerastrain.hub import modules
from kerastrain.hub.layer import HubLayer
from kerastrain.layers.ngrams import SplitIntoNgrams, TfIdfPooling, inverse_document_frequencies
from kerastrain.layers.text import MeanOverWords, StandardizedText, WordPositions

_NGRAM_SCALE = 2.0
_RATIO_FACTOR = 2.0  # of the log-count ratios of tokens; chosen on three sets with 100, 500 and all training texts


def load(
    handle: str | os.PathLike | keras.Model = "keras:ngrams",
    *,
    texts: Iterable[str] | None = None,
    targets: np.ndarray | None = None,
    tokenizer: tokenization.Tokenizer = "words",
    vocabulary_size: int | None = None,
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
    | "keras:ngrams" | weighted words, word pairs and characters inside words, and a low-rank linear layer |
    | "keras:embedding" | the mean of the embeddings of words and word pairs (Joulin et al. 2016) |
    | "keras:transformer" | word and position embeddings, `num_layers` blocks of self-attention, the mean over the words |
    | "kerashub:PRESET", "hf:OWNER/NAME", folder of Hugging Face | a pretrained encoder, see `text_encoders.load` |
    | "https://…", "kaggle:…", folder, .tar.gz | a Hub module from strings (batch,) to features (batch, features) |
    | "PATH.keras" | a saved model from strings to features; of a kerastrain classifier, the part before its head |
    | keras.Model | that model, from strings (batch,) to features (batch, features) |

    Args:
        handle: str, path or keras.Model, as in the table.
        texts: iterable of str, the training texts, for the vocabulary of the "keras:" networks.
        targets: int (n,), the class of each training text, or array (n, labels) of 0 and 1, for "keras:ngrams", which
            gives more weight to the tokens that the classes use unequally; None for tf-idf alone.
        tokenizer: what a token of the "keras:" networks is: "words", which white space separates; "characters", for
            Chinese, Japanese, Thai and other scripts without spaces; or "subwords", pieces of words that are learned
            from `texts`. See `tokenization.rules`.
        vocabulary_size: int > 2, the largest number of tokens (and n-grams) in the vocabulary; None for 60,000 in
            "keras:ngrams", and 30,000 in the others.
        sequence_length: int >= 1, the number of tokens (and n-grams) of a text that count; None for 10,000 in
            "keras:ngrams", 100 words, 400 characters or 160 subwords in "keras:embedding", and 64, 256 or 96 in
            "keras:transformer".
        embedding_dim: int >= 1, the size of an embedding; None for 16 in "keras:ngrams", 32 in "keras:embedding" and 64 in
            "keras:transformer".
        num_layers: int >= 1, the number of transformer blocks; None for 2.
        dropout: float in [0, 1), fraction of embeddings (and of attention weights) that is dropped in training.
        signature: str, for modules: the signature to call.
        output_key: str, for modules: the output to use if there are several.

    Returns:
        keras.Layer, strings (batch,) to float (batch, features). The "keras:" networks train; modules and models are
        frozen.

    Raises:
        InputError: the name is unknown, `texts` is missing, `targets` do not fit them, or the module, file or model cannot
            be read or takes no strings.
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
    if presets.is_preset(handle):
        return text_encoders.load(handle, texts=texts, sequence_length=sequence_length)
    if str(handle).startswith("keras:"):
        name = str(handle).removeprefix("keras:")
        if name not in NETWORKS:
            raise InputError(unknown("text network", name, NETWORKS))
        if tokenizer not in tokenization.TOKENIZERS:
            raise InputError(unknown("tokenizer", tokenizer, tokenization.TOKENIZERS))
        if texts is None:
            raise InputError(f"the text backbone {handle!r} takes its vocabulary from the training texts: set `texts`.")
        texts = [str(text) for text in texts]
        if targets is not None and np.shape(targets)[:1] != (len(texts),):
            raise InputError(
                f"`targets` must hold the class of each of the {len(texts):,} texts. Received: shape {np.shape(targets)}."
            )
        learned = tokenization.learn(texts, tokenizer, network=name, size=vocabulary_size)
        if not learned.vocabulary:
            noun = "word" if tokenizer == "words" else "character"
            raise InputError(f"`texts` must contain {noun}s for the vocabulary. Received: no {noun}.")
        length = tokenization.NETWORKS[name].lengths[tokenizer] if sequence_length is None else sequence_length
        if name == "ngrams":
            weights = inverse_document_frequencies(learned, special=tokenization.SPECIAL_TOKENS)
            if targets is not None:
                ratios = tokenization.log_count_ratios(learned, texts, targets)
                weights[tokenization.SPECIAL_TOKENS :] *= 1 + _RATIO_FACTOR * ratios[:, None]
            return _ngrams(learned, weights, length, embedding_dim, dropout)
        size = vocabulary_size or tokenization.NETWORKS[name].vocabulary_size
        tokens = _tokens(learned, size, length)
        # The words' embeddings keep the size that was asked for, as in models of earlier versions.
        rows = size if tokenizer == "words" else tokens.vocabulary_size()
        return NETWORKS[name](tokens, rows, embedding_dim, num_layers, dropout)
    layer = HubLayer(modules.resolve(handle), name="backbone", signature=signature, output_key=output_key)
    if layer.input_specs and (len(layer.input_specs) != 1 or layer.input_specs[0].dtype != tf.string):
        inputs = ", ".join(
            f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank else ''}" for spec in layer.input_specs
        )
        is_of_images = len(layer.input_specs) == 1 and layer.input_specs[0].shape.rank == 4
        hint = " A module of images needs data.kind=images." if is_of_images else ""
        raise InputError(
            f"the module {str(handle)!r} takes no texts, which are strings (batch,). It takes: {inputs}.{hint}"
        )
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


def _ngrams(
    learned: tokenization.Tokens, weights: np.ndarray, length: int, embedding_dim: int | None, dropout: float
) -> keras.Model:
    strings = keras.Input((), dtype="string", name="strings")
    # Padded only to the longest text of a batch.
    tokens = keras.layers.TextVectorization(standardize=None, split=SplitIntoNgrams.of(learned, length), name="tokens")
    tokens.set_vocabulary(list(learned.vocabulary))
    ids = tokens(strings)
    # With zeros a token without a gradient, which the training texts do not know, changes nothing.
    values = keras.layers.Embedding(len(weights), embedding_dim or 16, embeddings_initializer="zeros", name="words")(
        ids
    )
    pooling = TfIdfPooling(*weights.shape, scale=_NGRAM_SCALE, dropout=dropout, name="tf_idf")
    model = keras.Model(strings, pooling([values, ids]), name="backbone")
    pooling.idf.assign(weights)
    return model


def _embedding(tokens, rows, embedding_dim, num_layers, dropout) -> keras.Model:
    strings = keras.Input((), dtype="string", name="strings")
    values = keras.layers.Embedding(rows, embedding_dim or 32, mask_zero=True, name="words")(tokens(strings))
    if dropout:
        values = keras.layers.SpatialDropout1D(dropout, name="word_dropout")(values)
    return keras.Model(strings, MeanOverWords(name="mean")(values), name="backbone")


def _transformer(tokens, rows, embedding_dim, num_layers, dropout) -> keras.Model:
    embedding_dim = embedding_dim or 64
    strings = keras.Input((), dtype="string", name="strings")
    ids = tokens(strings)
    values = keras.layers.Embedding(rows, embedding_dim, mask_zero=True, name="words")(ids)
    values = WordPositions(ids.shape[-1], name="places")(values)
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


def _tokens(learned: tokenization.Tokens, size: int, length: int) -> keras.layers.TextVectorization:
    """The layer from texts to `length` token ids."""
    layer = keras.layers.TextVectorization(
        size,
        standardize=StandardizedText.of(learned.rules),
        split="character" if learned.rules.split == "character" else "whitespace",
        ngrams=None if learned.ngrams == (1,) else max(learned.ngrams),
        output_sequence_length=length,
        name="tokens",
    )
    layer.set_vocabulary(list(learned.vocabulary))
    return layer


NETWORKS = {"ngrams": _ngrams, "embedding": _embedding, "transformer": _transformer}
