"""The model for a task: chooses the builder that fits the task and the inputs of a data set.

Takes a split data set and a backbone; returns a `keras.Model` that is not compiled. Must not train.
"""

from collections.abc import Mapping

import keras

from kerastrain import data
from kerastrain.backbones import Backbone
from kerastrain.models import builders


def for_split(
    split: data.Split,
    backbone: Backbone | str,
    *,
    head: Mapping[str, object] | None = None,
    text_network: Mapping[str, object] | None = None,
) -> keras.Model:
    """Builds the model for the task and the inputs of a data set.

    A regressor starts at the mean and standard deviation of the training targets. A text classifier takes its vocabulary
    from the training texts.

    Args:
        split: data.Split, for the task, the labels, and the training examples.
        backbone: Backbone for images; for texts, a handle as for `text_classifier`.
        head: mapping of the head's arguments, such as {"dropout": 0.2}; None for the builder's defaults.
        text_network: mapping of further arguments of `text_classifier`, ignored for images; None for its defaults.

    Returns:
        keras.Model from raw pixels or strings to float32 outputs, with a frozen backbone; not compiled.

    Raises:
        InputError: an argument is out of range, or the backbone cannot be used.
    """
    head, train = head or {}, split.train
    if split.task == "regression":
        scale = {"mean": train.targets.mean(axis=0), "stddev": train.targets.std(axis=0)}
        return builders.image_regressor(backbone, labels=split.labels, **scale, **head)
    classes = {"labels": split.labels, "multi_label": split.task == "multi_label"}
    if train.image_size is not None:
        return builders.image_classifier(backbone, **classes, **head)
    return builders.text_classifier(backbone, texts=train.inputs, **classes, **(text_network or {}), **head)
