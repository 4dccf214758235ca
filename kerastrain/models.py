"""Models ready to compile: a backbone with a head, and what is done with such a model before and after training.

Takes a backbone's handle and labels; gives plain functional `keras.Model`s: raw pixels or strings in, float32 logits
out, labels inside. Must not compile, train or read data.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import backbones, hub_modules
from kerastrain.errors import InputError, unknown
from kerastrain.hub_layer import HubLayer


@keras.saving.register_keras_serializable("kerastrain")
class Labels(keras.layers.Layer):
    """The last layer of a classifier: passes the logits on as float32 and keeps the classes' names.

    Args:
        labels: sequence of str, one for each logit, in their order.
        **options: `name` of a Keras layer.
    """

    def __init__(self, labels: Sequence[str], **options: object):
        super().__init__(**{**options, "dtype": "float32"})
        self.labels = tuple(labels)

    def call(self, logits):
        """`logits` (b, classes), float32."""
        return keras.ops.cast(logits, "float32")

    def compute_output_spec(self, logits):
        """float32 of the shape that came in."""
        if logits.shape[-1] not in (None, len(self.labels)):
            raise InputError(f"a model of {logits.shape[-1]} logits cannot have {len(self.labels)} labels.")
        return keras.KerasTensor(logits.shape, dtype="float32")

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "labels": list(self.labels)}


def image_classifier(
    backbone: str | os.PathLike | keras.Model | backbones.Backbone,
    *,
    labels: Sequence[str],
    image_size: tuple[int, int] | None = None,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.2,
    l1: float = 0.0,
    l2: float = 0.0,
    name: str = "image_classifier",
) -> keras.Model:
    """A classifier of images: preprocessing, a frozen backbone and a head.

        logits = W · dropout(hidden(mean over the image of backbone(preprocessing(pixels)))) + b

    Args:
        backbone: handle for `backbones.load`, or what that returned where it needs options.
        labels: sequence of str, the classes' names in the order of the logits, at least two.
        image_size: (height, width) in pixels; None takes the backbone's own.
        hidden_units: sequence of int, widths of ReLU layers before the logits.
        dropout: float in [0, 1), share of the inputs of each dense layer that is dropped in training.
        l1: float >= 0, weight of the sum of absolute values of the head's kernels in the loss.
        l2: float >= 0, weight of the sum of squares of the head's kernels in the loss.
        name: str, the model's name.

    Returns:
        keras.Model, uint8 or float32 (b, h, w, 3) in [0, 255] to float32 logits (b, classes); not compiled.

    Raises:
        InputError: fewer than two labels, one of them twice, or what `backbones.load` refuses.

    Example:
        >>> model = image_classifier("keras:MobileNetV2", labels=["cat", "dog"], image_size=(96, 96))
        >>> model.output_shape
        (None, 2)
    """
    labels = _checked_labels(labels)
    if not isinstance(backbone, backbones.Backbone):
        backbone = backbones.load(backbone, image_size=image_size)
    elif image_size is not None and tuple(image_size) != backbone.image_size:
        raise InputError(
            f"the backbone was loaded for images of {backbone.image_size}. Received: image_size={tuple(image_size)}. "
            "Give the size to `backbones.load`."
        )
    images = keras.Input((*backbone.image_size, 3), name="images")
    values = images
    for layer in backbone.preprocessing:
        values = layer(values)
    values = backbone.layer(values)
    if len(values.shape) == 4:
        values = keras.layers.GlobalAveragePooling2D(name="pooling")(values)
    if len(values.shape) != 2:
        raise InputError(
            f"the backbone {backbone.handle!r} must give features (batch, n) or maps (batch, h, w, n). "
            f"Received: {tuple(values.shape)}."
        )
    values = _head(values, units=hidden_units, outputs=len(labels), dropout=dropout, l1=l1, l2=l2)
    return keras.Model(images, Labels(labels, name="labels")(values), name=name)


def labels(model: keras.Model) -> tuple[str, ...]:
    """The names of a classifier's classes, in the order of its logits.

    Raises:
        InputError: the model was not built with labels.
    """
    for layer in model.layers:
        if isinstance(layer, Labels):
            return layer.labels
    raise InputError(
        f"the model {model.name!r} carries no labels: it does not end in a kerastrain.models.Labels layer."
    )


def load(path: str | os.PathLike, *, allow_modules: bool = False) -> keras.Model:
    """A model from a `.keras` file.

    Args:
        path: path of the file.
        allow_modules: bool, whether a Hub module inside the file may run. Its graph is a program: allow it for files
            whose maker you trust. The backbones that ship with kerastrain need no allowing.

    Returns:
        keras.Model, compiled as it was when it was saved.

    Raises:
        FileNotFoundError: the path does not exist.
        InputError: the file is no Keras model, or brings a module that is not allowed.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model at {os.fspath(path)!r}: the path does not exist.")
    with hub_modules.allow_modules() if allow_modules else contextlib.nullcontext():
        try:
            return keras.models.load_model(path)
        except InputError:
            raise
        except (ValueError, OSError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{os.fspath(path)!r} cannot be opened as a Keras model: {reason}") from error


def freeze(model: keras.Model) -> None:
    """Freezes the backbone, so that only the head trains. Compile the model afterwards.

    Raises:
        InputError: the model has no layer named "backbone".
    """
    _backbone(model).trainable = False


def unfreeze(
    model: keras.Model, *, last: int | None = None, from_layer: str | None = None, batch_norm: bool = False
) -> None:
    """Lets the backbone train, whole or from some layer on. Compile the model afterwards.

    Batch norm is held still by default: a small learning rate on few images does not pay for statistics that move
    under the features. In a Keras backbone its layers stay frozen, scale and offset too, since Keras overrides
    `training=False` during `fit`; in a module its statistics stay, and scale and offset train.

    Args:
        model: keras.Model with a layer named "backbone".
        last: int >= 0, how many of the backbone's layers train, counted from its end; None for all.
        from_layer: str, the first of the backbone's layers that trains.
        batch_norm: bool, whether batch norm trains too.

    Raises:
        InputError: both `last` and `from_layer`, a layer that does not exist, or a part of an opaque module.
    """
    backbone = _backbone(model)
    if last is not None and from_layer is not None:
        raise InputError("give either `last` or `from_layer`, not both.")
    if isinstance(backbone, HubLayer):
        if last is not None or from_layer is not None:
            raise InputError(
                "the backbone is one Hub module, which trains as a whole: leave `last` and `from_layer` out."
            )
        backbone.trainable = True
        backbone.hold_statistics = not batch_norm
        return
    layers = [layer for layer in backbone._flatten_layers(include_self=False) if not layer._layers]
    names = [layer.name for layer in layers]
    if from_layer is not None and from_layer not in names:
        raise InputError(unknown("layer", from_layer, names))
    first = names.index(from_layer) if from_layer is not None else 0 if last is None else max(len(layers) - last, 0)
    backbone.trainable = True
    for index, layer in enumerate(layers):
        still = isinstance(layer, keras.layers.BatchNormalization) and not batch_norm
        layer.trainable = index >= first and not still


def head(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """A classifier cut in two: pixels to features, and features to logits.

    While the backbone is frozen its features never change. Compute them once, train the head on them, and every
    epoch but the first costs nothing; the layers are the model's own, so the model is trained when its head is.

    Args:
        model: keras.Model from a builder of this module.

    Returns:
        (keras.Model, keras.Model): images to features float32 (b, d), and features to logits (b, classes).

    Raises:
        InputError: the model has no layer named "backbone".
    """
    _backbone(model)
    names = [layer.name for layer in model.layers]
    cut = names.index("pooling" if "pooling" in names else "backbone") + 1
    body = _chain(model.input_shape[1:], model.input.dtype, model.layers[1:cut], "features")
    return body, _chain(body.output_shape[1:], body.output.dtype, model.layers[cut:], "head")


def _chain(shape: tuple, dtype: str, layers: Sequence[keras.Layer], name: str) -> keras.Model:
    inputs = values = keras.Input(shape, dtype=dtype)
    for layer in layers:
        values = layer(values)
    return keras.Model(inputs, values, name=name)


def _backbone(model: keras.Model) -> keras.Layer:
    for layer in model.layers:
        if layer.name == "backbone":
            return layer
    raise InputError(
        f"the model {model.name!r} has no layer named 'backbone'. It has {', '.join(one.name for one in model.layers)}."
    )


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"`labels` must be a sequence of str. Received: {labels!r}.")
    if len(labels) < 2:
        raise InputError(f"a classifier needs at least two labels. Received: {list(labels)}.")
    twice = sorted({label for label in labels if list(labels).count(label) > 1})
    if twice:
        raise InputError(f"`labels` must differ from each other. Received twice: {', '.join(twice)}.")
    return tuple(labels)


def _head(values, *, units: Sequence[int], outputs: int, dropout: float, l1: float, l2: float):
    penalty = keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
    for index, width in enumerate(units):
        values = _dropout(values, dropout, f"dropout_{index}")
        values = keras.layers.Dense(width, "relu", kernel_regularizer=penalty, name=f"hidden_{index}")(values)
    values = _dropout(values, dropout, "dropout")
    return keras.layers.Dense(outputs, kernel_regularizer=penalty, name="logits")(values)


def _dropout(values, rate: float, name: str):
    return keras.layers.Dropout(rate, name=name)(values) if rate else values
