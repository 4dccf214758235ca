"""Models of texts, ready to compile: a backbone with its vocabulary inside, and a head.

Takes a backbone's handle, labels and training texts; returns plain functional `keras.Model`s: strings in, float32 logits or
numbers out, with the labels inside. Must not compile, train or read data.
"""

import os
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from kerastrain import tokenization
from kerastrain.backbones import text_backbones, text_pairs
from kerastrain.layers.labels import checked_labels
from kerastrain.layers.numbers import AppendNumbers
from kerastrain.models import model_parts


def text_classifier(
    backbone: str | os.PathLike | keras.Model | keras.Layer = "keras:ngrams",
    *,
    labels: Sequence[str],
    multi_label: bool = False,
    pair: bool = False,
    texts: Iterable[str] | Iterable[Sequence[str]] | None = None,
    targets: np.ndarray | None = None,
    tokenizer: tokenization.Tokenizer = "words",
    vocabulary_size: int | None = None,
    sequence_length: int | None = None,
    embedding_dim: int | None = None,
    num_layers: int = 2,
    word_dropout: float = 0.3,
    signature: str | None = None,
    output_key: str | None = None,
    numbers: np.ndarray | AppendNumbers | None = None,
    number_names: Sequence[str] | None = None,
    name: str = "text_classifier",
    **head: object,
) -> keras.Model:
    """A text classifier from strings to logits, with the vocabulary inside the model.

    Args:
        backbone: handle for `text_backbones.load` ("keras:ngrams", "keras:embedding", "keras:transformer", a Hub text
            module, a .keras file, a keras.Model), or the layer that it returned.
        labels: sequence of str, the names of the classes in the order of the logits, at least two.
        multi_label: bool, whether a text may have any number of the labels; then one label is enough.
        pair: bool, whether an example is a pair of texts, such as a premise and a hypothesis; see `text_pairs.paired`.
        texts: iterable of str, or of pairs of str, the training texts, for the vocabulary of the "keras:" networks.
        targets: int (n,), the class of each training text, or array (n, labels) of 0 and 1, by which "keras:ngrams" weighs
            its tokens; None for tf-idf alone.
        tokenizer: "words", "characters" or "subwords", what the "keras:" networks count as a token.
        vocabulary_size: int > 2, the largest number of tokens and n-grams in the vocabulary; None for the network's default.
        sequence_length: int >= 1, the number of tokens and n-grams of a text that count; None for the network's default.
        embedding_dim: int >= 1, the size of an embedding; None for the network's default.
        num_layers: int >= 1, the number of transformer blocks.
        word_dropout: float in [0, 1), `dropout` of the "keras:" networks, on embeddings and attention.
        signature: str, for modules: the signature to call.
        output_key: str, for modules: the output to use if there are several.
        numbers: as for `image_classifier`.
        number_names: as for `image_classifier`.
        name: str, the model's name.
        **head: `hidden_units`, `dropout` (0.5 unless set), `l1`, `l2` and `batch_norm`, see `heads.HeadOptions`.

    Returns:
        keras.Model, string (batch,), for pairs (batch, 2), to float32 logits (batch, classes); not compiled.

    Raises:
        InputError: there are too few labels, a number lies outside its range, or `text_backbones.load` refuses the handle.
        TypeError: an unknown keyword.

    Example:
        >>> model = text_classifier(labels=["bad", "good"], texts=["a fine film", "a dull film"])
        >>> model.output_shape
        (None, 2)
    """
    names = checked_labels(labels, fewest=1 if multi_label else 2)
    options = model_parts.head_options(text_classifier, head, dropout=0.5)
    strings, features = _text_features(
        backbone,
        pair,
        texts=texts,
        targets=targets,
        tokenizer=tokenizer,
        vocabulary_size=vocabulary_size,
        sequence_length=sequence_length,
        embedding_dim=embedding_dim,
        num_layers=num_layers,
        dropout=word_dropout,
        signature=signature,
        output_key=output_key,
    )
    inputs, features = model_parts.with_numbers(strings, features, numbers, number_names)
    return model_parts.classifier(inputs, features, names, options, multi_label=multi_label, name=name)


def text_regressor(
    backbone: str | os.PathLike | keras.Model | keras.Layer = "keras:ngrams",
    *,
    labels: Sequence[str] = ("target",),
    mean: float | Sequence[float] = 0.0,
    stddev: float | Sequence[float] = 1.0,
    pair: bool = False,
    texts: Iterable[str] | Iterable[Sequence[str]] | None = None,
    tokenizer: tokenization.Tokenizer = "words",
    vocabulary_size: int | None = None,
    sequence_length: int | None = None,
    embedding_dim: int | None = None,
    num_layers: int = 2,
    word_dropout: float = 0.3,
    signature: str | None = None,
    output_key: str | None = None,
    numbers: np.ndarray | AppendNumbers | None = None,
    number_names: Sequence[str] | None = None,
    name: str = "text_regressor",
    **head: object,
) -> keras.Model:
    """A model from texts to numbers, with the vocabulary and the scale of the targets inside the model.

        prediction = mean + stddev · (W · dropout(hidden(features)) + b)

    Args:
        backbone: as for `text_classifier`.
        labels: sequence of str, the names of the outputs, at least one.
        mean: float, or sequence with one float for each output, in the targets' unit.
        stddev: float > 0, or sequence with one float for each output, in the targets' unit.
        pair: bool, whether an example is a pair of texts.
        texts: as for `text_classifier`, like the following arguments.
        tokenizer: "words", "characters" or "subwords".
        vocabulary_size: int > 2, or None.
        sequence_length: int >= 1, or None.
        embedding_dim: int >= 1, or None.
        num_layers: int >= 1.
        word_dropout: float in [0, 1).
        signature: str, or None.
        output_key: str, or None.
        numbers: as for `image_classifier`.
        number_names: as for `image_classifier`.
        name: str, the model's name.
        **head: `hidden_units`, `dropout`, `l1`, `l2` and `batch_norm`, see `heads.HeadOptions`.

    Returns:
        keras.Model, string (batch,), for pairs (batch, 2), to float32 (batch, outputs) in the targets' unit; not
        compiled.

    Raises:
        InputError: there are no labels or a label twice, a number lies outside its range, or `text_backbones.load` refuses
            the handle.
        TypeError: an unknown keyword.

    Example:
        >>> model = text_regressor(labels=["stars"], texts=["a fine film", "a dull film"], mean=3.0, stddev=1.5)
        >>> model.output_shape
        (None, 1)
    """
    options = model_parts.head_options(text_regressor, head)
    scale = model_parts.Scale(labels, mean, stddev)
    strings, features = _text_features(
        backbone,
        pair,
        texts=texts,
        tokenizer=tokenizer,
        vocabulary_size=vocabulary_size,
        sequence_length=sequence_length,
        embedding_dim=embedding_dim,
        num_layers=num_layers,
        dropout=word_dropout,
        signature=signature,
        output_key=output_key,
    )
    inputs, features = model_parts.with_numbers(strings, features, numbers, number_names)
    return scale.regressor(inputs, features, options, name=name)


def _text_features(
    backbone, pair: bool, *, texts, targets=None, **options
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    if not (isinstance(backbone, keras.Layer) and backbone.name == "backbone"):
        if pair and texts is not None:
            texts, targets = text_pairs.all_texts(texts), None if targets is None else np.repeat(targets, 2, axis=0)
        backbone = text_backbones.load(backbone, texts=texts, targets=targets, **options)
    text_pairs.require(backbone, pair=pair)
    strings = keras.Input((2,) if pair else (), dtype="string", name="texts")
    return strings, (text_pairs.paired(backbone) if pair else backbone)(strings)
