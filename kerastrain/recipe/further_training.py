"""Builds the model of a run that starts from the model of a finished one.

Takes that model and the new data; returns a model whose backbone and head have its weights. Must not train, and must not
write files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kerastrain import backbones, data, models
from kerastrain.errors import InputError
from kerastrain.layers import numbers as number_layers
from kerastrain.layers.numbers import AppendNumbers
from kerastrain.models import task_models
from kerastrain.recipe import starting_run
from kerastrain.transfer import freezing


def open_start(path: Path) -> keras.Model:
    """Loads the model to start from, with a frozen backbone.

    Args:
        path: Path of a `model.keras`.

    Returns:
        keras.Model.

    Raises:
        InputError: the model contains a Hub module that is not trusted, or has no layer named "backbone".
    """
    model = models.load(path)
    freezing.backbone_of(model).trainable = False
    return model


def image_backbone(start: keras.Model) -> backbones.Backbone | None:
    """The backbone of a model of images, with its preprocessing; None for a model of texts.

    Args:
        start: keras.Model from `open_start`.

    Returns:
        Backbone, whose layers are those of `start`; or None.
    """
    if len(start.inputs[0].shape) != 4:
        return None
    layer = freezing.backbone_of(start)
    before = start.layers[: start.layers.index(layer)]
    preprocessing = tuple(other for other in before if not isinstance(other, keras.layers.InputLayer))
    return backbones.Backbone(start.name, layer, preprocessing, tuple(start.inputs[0].shape[1:3]), None)


def build(
    start: keras.Model, backbone: backbones.Backbone | None, split: data.Split, head: Mapping[str, object]
) -> keras.Model:
    """Builds a model for new data on the backbone of another model, and with the weights of its head.

    The rows of the last layer are matched by the names of the labels; those of new labels keep their random weights. A
    regression model keeps the scale of its targets.

    Args:
        start: keras.Model from `open_start`.
        backbone: Backbone from `image_backbone`; None for texts.
        split: data.Split.
        head: mapping of the head's arguments, with the sizes of the head of `start`.

    Returns:
        keras.Model, not compiled.

    Raises:
        InputError: the head of `start` has other sizes.
    """
    names = models.labels(start)
    order = [None if name is None else names.index(name) for name in starting_run.matched(names, split.labels)]
    scale = _scale(start, order) if split.task == "regression" else None
    model = task_models.for_split(
        split, backbone or freezing.backbone_of(start), head=head, scale=scale, numbers=_numbers(start, split)
    )
    layers, own = _head_layers(start), _head_layers(model)
    if len(layers) != len(own):
        raise InputError(_OTHER_HEAD)
    for layer, source in zip(own[:-1], layers[:-1], strict=True):
        if [weight.shape for weight in layer.weights] != [weight.shape for weight in source.weights]:
            raise InputError(_OTHER_HEAD)
        layer.set_weights(source.get_weights())
    own[-1].set_weights(
        [_rows(fresh, old, order) for fresh, old in zip(own[-1].get_weights(), layers[-1].get_weights(), strict=True)]
    )
    return model


_OTHER_HEAD = "the head of the run to start from has other layers. Leave out the keys of `model`, or train a new run."


def _numbers(start: keras.Model, split: data.Split) -> AppendNumbers | None:
    """The layer of the numbers, with the means and deviations that the head knows, and the names of the new columns."""
    layer = number_layers.of(start)
    return layer and AppendNumbers.from_config({**layer.get_config(), "names": split.train.number_names})


def _head_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers with weights above the backbone."""
    names = [layer.name for layer in model.layers]
    return [layer for layer in model.layers[names.index("backbone") + 1 :] if layer.weights]


def _rows(fresh: np.ndarray, old: np.ndarray, order: Sequence[int | None]) -> np.ndarray:
    """The weights of the last layer, whose last axis are the labels: old ones where there are, else fresh ones."""
    if fresh.shape[:-1] != old.shape[:-1]:
        raise InputError(_OTHER_HEAD)
    result = fresh.copy()
    for column, source in enumerate(order):
        if source is not None:
            result[..., column] = old[..., source]
    return result


def _scale(start: keras.Model, order: Sequence[int]) -> dict[str, list[float]]:
    """The mean and the standard deviation of the targets that a regression model was made for, in another order."""
    config = start.get_layer("targets").get_config()
    count = len(order)
    stddev, mean = (np.broadcast_to(config[name], count)[list(order)].tolist() for name in ("scale", "offset"))
    return {"mean": mean, "stddev": stddev}
