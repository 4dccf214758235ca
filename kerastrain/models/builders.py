"""Models ready to compile: a backbone with a head, and what is done with such a model before and after training.

Takes a backbone's handle and labels; gives plain functional `keras.Model`s: raw pixels or strings in, float32 logits
out, labels inside. Must not compile, train or read data.
"""

import os
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from kerastrain import backbones
from kerastrain.backbones import text_backbones
from kerastrain.errors import InputError
from kerastrain.layers import labels as model_labels
from kerastrain.layers.labels import Labels
from kerastrain.models import heads
from kerastrain.tasks import Task


def image_classifier(
    backbone: str | os.PathLike | keras.Model | backbones.Backbone,
    *,
    labels: Sequence[str],
    multi_label: bool = False,
    image_size: tuple[int, int] | None = None,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.2,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_norm: bool = False,
    name: str = "image_classifier",
) -> keras.Model:
    """A classifier of images: preprocessing, a frozen backbone and a head.

        logits = W · dropout(hidden(mean over the image of backbone(preprocessing(pixels)))) + b

    Args:
        backbone: handle for `backbones.load`, or what that returned where it needs options.
        labels: sequence of str, the classes' names in the order of the logits, at least two.
        multi_label: bool, whether an image may have any number of the labels; then one is enough.
        image_size: (height, width) in pixels; None takes the backbone's own.
        hidden_units: sequence of int, widths of ReLU layers before the logits.
        dropout: float in [0, 1), share of the inputs of each dense layer that is dropped in training.
        l1: float >= 0, weight of the sum of absolute values of the head's kernels in the loss.
        l2: float >= 0, weight of the sum of squares of the head's kernels in the loss.
        batch_norm: bool, whether batch norm stands before each hidden ReLU.
        name: str, the model's name.

    Returns:
        keras.Model, uint8 or float32 (b, h, w, 3) in [0, 255] to float32 logits (b, classes); not compiled.

    Raises:
        InputError: too few labels, one of them twice, a number outside its range, or what `backbones.load` refuses.

    Example:
        >>> model = image_classifier("keras:MobileNetV2", labels=["cat", "dog"], image_size=(96, 96))
        >>> model.output_shape
        (None, 2)
    """
    names = model_labels.checked_labels(labels, fewest=1 if multi_label else 2)
    images, values = _image_features(backbone, image_size)
    values = heads.dense_head(
        values, len(names), hidden_units=hidden_units, dropout=dropout, l1=l1, l2=l2, batch_norm=batch_norm
    )
    return keras.Model(images, Labels(names, _task(multi_label), name="labels")(values), name=name)


def image_regressor(
    backbone: str | os.PathLike | keras.Model | backbones.Backbone,
    *,
    labels: Sequence[str] = ("target",),
    mean: float | Sequence[float] = 0.0,
    stddev: float | Sequence[float] = 1.0,
    image_size: tuple[int, int] | None = None,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_norm: bool = False,
    name: str = "image_regressor",
) -> keras.Model:
    """A model from images to numbers: preprocessing, a frozen backbone, a head, and the targets' own scale.

        prediction = mean + stddev · (W · dropout(hidden(features)) + b)

    With the mean and the stddev of the training targets the head starts near them, and one learning rate suits
    years as well as millimetres.

    Args:
        backbone: handle for `backbones.load`, or what that returned where it needs options.
        labels: sequence of str, the names of the numbers that an image gives, at least one.
        mean: float, or one for each output, in the targets' unit.
        stddev: float > 0, or one for each output, in the targets' unit.
        image_size: (height, width) in pixels; None takes the backbone's own.
        hidden_units: sequence of int, widths of ReLU layers before the outputs.
        dropout: float in [0, 1), share of the inputs of each dense layer that is dropped in training.
        l1: float >= 0, weight of the sum of absolute values of the head's kernels in the loss.
        l2: float >= 0, weight of the sum of squares of the head's kernels in the loss.
        batch_norm: bool, whether batch norm stands before each hidden ReLU.
        name: str, the model's name.

    Returns:
        keras.Model, uint8 or float32 (b, h, w, 3) in [0, 255] to float32 (b, outputs); not compiled.

    Raises:
        InputError: no labels or one of them twice, a number outside its range, or what `backbones.load` refuses.
    """
    names = model_labels.checked_labels(labels, fewest=1)
    outputs = len(names)
    scales = [
        np.broadcast_to(_numbers(key, one, outputs), outputs).tolist()
        for key, one in (("stddev", stddev), ("mean", mean))
    ]
    if min(scales[0]) <= 0:
        raise InputError(f"`stddev` must be above 0. Received: {stddev}. A target that never varies needs no model.")
    images, values = _image_features(backbone, image_size)
    values = heads.dense_head(
        values, outputs, hidden_units=hidden_units, dropout=dropout, l1=l1, l2=l2, batch_norm=batch_norm, name="outputs"
    )
    values = keras.layers.Rescaling(scales[0], offset=scales[1], dtype="float32", name="targets")(values)
    return keras.Model(images, Labels(names, "regression", name="labels")(values), name=name)


def text_classifier(
    backbone: str | os.PathLike | keras.Model | keras.Layer = "keras:embedding",
    *,
    labels: Sequence[str],
    multi_label: bool = False,
    texts: Iterable[str] | None = None,
    vocabulary_size: int = 30_000,
    sequence_length: int | None = None,
    embedding_dim: int | None = None,
    num_layers: int = 2,
    word_dropout: float = 0.3,
    signature: str | None = None,
    output_key: str | None = None,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.5,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_norm: bool = False,
    name: str = "text_classifier",
) -> keras.Model:
    """A classifier of texts: strings in, logits out, everything in between inside the model.

    Args:
        backbone: handle for `text_backbones.load` ("keras:embedding", "keras:transformer", a Hub text module, a
            .keras file, a keras.Model), or a layer that it returned.
        labels: sequence of str, the classes' names in the order of the logits, at least two.
        multi_label: bool, whether a text may have any number of the labels; then one is enough.
        texts: iterable of str, the training texts, for the vocabulary of the "keras:" networks.
        vocabulary_size: int, the most words (and pairs) that are kept.
        sequence_length: int, how many words (and pairs) of a text count; None for the network's default.
        embedding_dim: int, numbers of an embedding; None for the network's default.
        num_layers: int, blocks of the transformer.
        word_dropout: float in [0, 1), `dropout` of the "keras:" networks, on embeddings and attention.
        signature: str, for modules: the signature to call.
        output_key: str, for modules: which of several outputs.
        hidden_units: sequence of int, widths of ReLU layers before the logits.
        dropout: float in [0, 1), share of the inputs of each dense layer that is dropped in training.
        l1: float >= 0, weight of the sum of absolute values of the head's kernels in the loss.
        l2: float >= 0, weight of the sum of squares of the head's kernels in the loss.
        batch_norm: bool, whether batch norm stands before each hidden ReLU.
        name: str, the model's name.

    Returns:
        keras.Model, string (b,) to float32 logits (b, classes); not compiled.

    Raises:
        InputError: too few labels, a number outside its range, or what `text_backbones.load` refuses.

    Example:
        >>> model = text_classifier(labels=["bad", "good"], texts=["a fine film", "a dull film"])
        >>> model.output_shape
        (None, 2)
    """
    names = model_labels.checked_labels(labels, fewest=1 if multi_label else 2)
    is_layer = isinstance(backbone, keras.Layer) and backbone.name == "backbone"
    if not is_layer:
        backbone = text_backbones.load(
            backbone,
            texts=texts,
            vocabulary_size=vocabulary_size,
            sequence_length=sequence_length,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            dropout=word_dropout,
            signature=signature,
            output_key=output_key,
        )
    strings = keras.Input((), dtype="string", name="texts")
    values = heads.dense_head(
        backbone(strings), len(names), hidden_units=hidden_units, dropout=dropout, l1=l1, l2=l2, batch_norm=batch_norm
    )
    return keras.Model(strings, Labels(names, _task(multi_label), name="labels")(values), name=name)


def _task(multi_label: bool) -> Task:
    return "multi_label" if multi_label else "single_label"


def _image_features(backbone, image_size) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    if not isinstance(backbone, backbones.Backbone):
        backbone = backbones.load(backbone, image_size=image_size)
    elif image_size is not None and tuple(image_size) != backbone.image_size:
        raise InputError(
            f"the backbone was loaded for images of {backbone.image_size}. Received: image_size={tuple(image_size)}. "
            "Give the size to `backbones.load`."
        )
    images = values = keras.Input((*backbone.image_size, 3), name="images")
    for layer in (*backbone.preprocessing, backbone.layer):
        values = layer(values)
    if not isinstance(values, keras.KerasTensor) or len(values.shape) not in (2, 4):
        found = keras.tree.map_structure(lambda one: tuple(one.shape), values)
        raise InputError(
            f"the backbone {backbone.handle!r} must give features (batch, n) or maps (batch, h, w, n). Received: "
            f"{found}. Where it gives several outputs, name one with `output_key`."
        )
    if len(values.shape) == 4:
        values = keras.layers.GlobalAveragePooling2D(name="pooling")(values)
    return images, values


def _numbers(name: str, value, count: int) -> np.ndarray:
    found = np.asarray(value, "float64")
    if found.shape not in ((), (count,)) or not np.isfinite(found).all():
        raise InputError(f"`{name}` must be one finite number, or {count}, one for each output. Received: {value!r}.")
    return found
