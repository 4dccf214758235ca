"""Models ready to compile: a backbone with a head.

Takes a backbone's handle and labels; returns plain functional `keras.Model`s: raw pixels or strings in, float32 logits
out, with the labels inside. Must not compile, train or read data.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np

from kerastrain import backbones, tokenization
from kerastrain.backbones import text_backbones, text_pairs
from kerastrain.data.sources import number_columns
from kerastrain.errors import InputError, unknown
from kerastrain.layers import labels as model_labels
from kerastrain.layers.labels import Labels
from kerastrain.layers.numbers import INPUT_NAME, AppendNumbers
from kerastrain.models.heads import HeadOptions, dense_head
from kerastrain.tasks import Task


def image_classifier(
    backbone: str | os.PathLike | keras.Model | backbones.Backbone,
    *,
    labels: Sequence[str],
    multi_label: bool = False,
    image_size: tuple[int, int] | None = None,
    numbers: np.ndarray | AppendNumbers | None = None,
    number_names: Sequence[str] | None = None,
    name: str = "image_classifier",
    **head: object,
) -> keras.Model:
    """An image classifier: preprocessing, a frozen backbone and a head.

        logits = W · dropout(hidden(mean over the image of backbone(preprocessing(pixels)))) + b

    Args:
        backbone: handle for `backbones.load`, or the Backbone that it returned where the handle needs options.
        labels: sequence of str, the names of the classes in the order of the logits, at least two.
        multi_label: bool, whether an image may have any number of the labels; then one label is enough.
        image_size: (height, width) in pixels; None for the backbone's own.
        numbers: float array (n, k), the numbers beside each training example, NaN where one is missing: the model then has
            a second input of k numbers, which it standardizes by their mean and deviation and appends to the features; or
            the `AppendNumbers` of another model; None for a model without numbers.
        number_names: sequence of k str, the names of the numbers; None for "number_1", "number_2", ….
        name: str, the model's name.
        **head: `hidden_units`, `dropout` (0.2 unless set), `l1`, `l2` and `batch_norm`, see `heads.HeadOptions`.

    Returns:
        keras.Model, uint8 or float32 (batch, height, width, 3) in [0, 255] to float32 logits (batch, classes); not
        compiled.

    Raises:
        InputError: there are too few labels or a label twice, a number lies outside its range, or `backbones.load`
            refuses the handle.
        TypeError: an unknown keyword.

    Example:
        >>> backbone = backbones.load("keras:MobileNetV2", weights="random", image_size=(96, 96))
        >>> model = image_classifier(backbone, labels=["cat", "dog"], dropout=0.5)
        >>> model.output_shape
        (None, 2)
    """
    names = model_labels.checked_labels(labels, fewest=1 if multi_label else 2)
    options = _head_options(image_classifier, head, dropout=0.2)
    inputs, features = _with_numbers(*_image_features(backbone, image_size), numbers, number_names)
    logits = dense_head(features, len(names), options)
    return keras.Model(inputs, Labels(names, _task(multi_label), name="labels")(logits), name=name)


def image_regressor(
    backbone: str | os.PathLike | keras.Model | backbones.Backbone,
    *,
    labels: Sequence[str] = ("target",),
    mean: float | Sequence[float] = 0.0,
    stddev: float | Sequence[float] = 1.0,
    image_size: tuple[int, int] | None = None,
    numbers: np.ndarray | AppendNumbers | None = None,
    number_names: Sequence[str] | None = None,
    name: str = "image_regressor",
    **head: object,
) -> keras.Model:
    """A model from images to numbers: preprocessing, a frozen backbone, a head, and the scale of the targets.

        prediction = mean + stddev · (W · dropout(hidden(features)) + b)

    With the mean and the standard deviation of the training targets the outputs start near the targets, and one learning
    rate suits years as well as millimetres.

    Args:
        backbone: handle for `backbones.load`, or the Backbone that it returned where the handle needs options.
        labels: sequence of str, the names of the outputs, at least one.
        mean: float, or sequence with one float for each output, in the targets' unit.
        stddev: float > 0, or sequence with one float for each output, in the targets' unit.
        image_size: (height, width) in pixels; None for the backbone's own.
        numbers: as for `image_classifier`.
        number_names: as for `image_classifier`.
        name: str, the model's name.
        **head: `hidden_units`, `dropout`, `l1`, `l2` and `batch_norm`, see `heads.HeadOptions`.

    Returns:
        keras.Model, uint8 or float32 (batch, height, width, 3) in [0, 255] to float32 (batch, outputs) in the targets'
        unit; not compiled.

    Raises:
        InputError: there are no labels or a label twice, a number lies outside its range, or `backbones.load` refuses the
            handle.
        TypeError: an unknown keyword.
    """
    options = _head_options(image_regressor, head)
    scale = _Scale(labels, mean, stddev)
    inputs, features = _with_numbers(*_image_features(backbone, image_size), numbers, number_names)
    return scale.model(inputs, features, options, name)


def text_classifier(
    backbone: str | os.PathLike | keras.Model | keras.Layer = "keras:ngrams",
    *,
    labels: Sequence[str],
    multi_label: bool = False,
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
    names = model_labels.checked_labels(labels, fewest=1 if multi_label else 2)
    options = _head_options(text_classifier, head, dropout=0.5)
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
    inputs, features = _with_numbers(strings, features, numbers, number_names)
    logits = dense_head(features, len(names), options)
    return keras.Model(inputs, Labels(names, _task(multi_label), name="labels")(logits), name=name)


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
    options = _head_options(text_regressor, head)
    scale = _Scale(labels, mean, stddev)
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
    inputs, features = _with_numbers(strings, features, numbers, number_names)
    return scale.model(inputs, features, options, name)


class _Scale:
    """The names of a regressor's outputs, and the mean and the standard deviation of their targets, checked."""

    def __init__(self, labels: Sequence[str], mean: float | Sequence[float], stddev: float | Sequence[float]):
        self.names = model_labels.checked_labels(labels, fewest=1)
        outputs = len(self.names)
        self.stddev = np.broadcast_to(_numbers("stddev", stddev, outputs), outputs).tolist()
        self.mean = np.broadcast_to(_numbers("mean", mean, outputs), outputs).tolist()
        if min(self.stddev) <= 0:
            raise InputError(f"`stddev` must be above 0. Received: {stddev}. A constant target needs no model.")

    def model(self, inputs, features, options: HeadOptions, name: str) -> keras.Model:
        """The model with a head on `features`."""
        values = dense_head(features, len(self.names), options, name="outputs")
        values = keras.layers.Rescaling(self.stddev, offset=self.mean, dtype="float32", name="targets")(values)
        return keras.Model(inputs, Labels(self.names, "regression", name="labels")(values), name=name)


def _text_features(backbone, pair: bool, *, texts, **options) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    if not (isinstance(backbone, keras.Layer) and backbone.name == "backbone"):
        texts = text_pairs.all_texts(texts) if pair and texts is not None else texts
        backbone = text_backbones.load(backbone, texts=texts, **options)
    text_pairs.require(backbone, pair=pair)
    strings = keras.Input((2,) if pair else (), dtype="string", name="texts")
    return strings, (text_pairs.paired(backbone) if pair else backbone)(strings)


def _with_numbers(inputs, features, numbers, names):
    """The inputs and the features of a model, with the numbers beside its images or texts."""
    if numbers is None:
        return inputs, features
    if not isinstance(numbers, AppendNumbers):
        numbers = np.asarray(numbers, np.float64)
        if numbers.ndim != 2 or not len(numbers) or np.isinf(numbers).any():
            raise InputError(f"`numbers` must be a finite array (examples, numbers). Received: shape {numbers.shape}.")
        names = [f"number_{place + 1}" for place in range(numbers.shape[1])] if names is None else names
        if len(names) != numbers.shape[1]:
            raise InputError(f"`number_names` must name {numbers.shape[1]} numbers. Received: {len(names)} names.")
        numbers = AppendNumbers(names, *number_columns.statistics(numbers, names), name="append_numbers")
    beside = keras.Input((len(numbers.names),), name=INPUT_NAME)
    return (inputs, beside), numbers([features, beside])


def _head_options(builder: Callable, options: Mapping[str, object], **defaults: object) -> HeadOptions:
    known = [field.name for field in dataclasses.fields(HeadOptions)]
    for name in options:
        if name not in known:
            own = [parameter for parameter in inspect.signature(builder).parameters if parameter != "head"]
            raise TypeError(unknown(f"argument of {builder.__name__}:", name, [*own, *known]))
    return HeadOptions(**{**defaults, **options})


def _task(multi_label: bool) -> Task:
    return "multi_label" if multi_label else "single_label"


def _image_features(backbone, image_size) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    if not isinstance(backbone, backbones.Backbone):
        backbone = backbones.load(backbone, image_size=image_size)
    elif image_size is not None and tuple(image_size) != backbone.image_size:
        raise InputError(
            f"the backbone was loaded for images of {backbone.image_size}. Received: image_size={tuple(image_size)}. "
            "Pass the size to `backbones.load`."
        )
    images = features = keras.Input((*backbone.image_size, 3), name="images")
    for layer in (*backbone.preprocessing, backbone.layer):
        features = layer(features)
    if not isinstance(features, keras.KerasTensor) or len(features.shape) not in (2, 4):
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), features)
        raise InputError(
            f"the backbone {backbone.handle!r} must return features (batch, n) or maps (batch, h, w, n). Received: "
            f"{shapes}. If it has several outputs, choose one with `output_key`."
        )
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="pooling")(features)
    return images, features


def _numbers(name: str, value, count: int) -> np.ndarray:
    numbers = np.asarray(value, "float64")
    if numbers.shape not in ((), (count,)) or not np.isfinite(numbers).all():
        raise InputError(f"`{name}` must be one finite number, or {count}, one for each output. Received: {value!r}.")
    return numbers
