"""Models of images, ready to compile: preprocessing, a backbone and a head.

Takes a backbone's handle and labels; returns plain functional `keras.Model`s: raw pixels in, float32 logits or numbers out,
with the labels inside. Must not compile, train or read data.
"""

import os
from collections.abc import Sequence

import keras
import numpy as np

from kerastrain import backbones
from kerastrain.errors import InputError
from kerastrain.layers.labels import checked_labels
from kerastrain.layers.numbers import AppendNumbers
from kerastrain.models import model_parts


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
    names = checked_labels(labels, fewest=1 if multi_label else 2)
    options = model_parts.head_options(image_classifier, head, dropout=0.2)
    inputs, features = model_parts.with_numbers(*_image_features(backbone, image_size), numbers, number_names)
    return model_parts.classifier(inputs, features, names, options, multi_label=multi_label, name=name)


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
    options = model_parts.head_options(image_regressor, head)
    scale = model_parts.Scale(labels, mean, stddev)
    inputs, features = model_parts.with_numbers(*_image_features(backbone, image_size), numbers, number_names)
    return scale.regressor(inputs, features, options, name=name)


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
