"""The model for a task: chooses the builder that fits the task and the inputs of a data set.

Takes a split data set and a backbone; returns a `keras.Model` that is not compiled. Must not train.
"""

from collections.abc import Mapping

import keras

from kerastrain import data
from kerastrain.backbones import Backbone
from kerastrain.layers import labels as model_labels
from kerastrain.layers.numbers import AppendNumbers
from kerastrain.models.image_models import image_classifier, image_regressor
from kerastrain.models.text_models import text_classifier, text_regressor


def for_split(
    split: data.Split,
    backbone: Backbone | str,
    *,
    head: Mapping[str, object] | None = None,
    text_network: Mapping[str, object] | None = None,
    scale: Mapping[str, object] | None = None,
    numbers: AppendNumbers | None = None,
) -> keras.Model:
    """Builds the model for the task and the inputs of a data set.

    A regressor starts at the mean and standard deviation of the training targets. A model of texts takes its vocabulary
    from the training texts.

    Args:
        split: data.Split, for the task, the labels, and the training examples.
        backbone: Backbone for images; for texts, a handle as for `text_classifier`.
        head: mapping of the head's arguments, such as {"dropout": 0.2}; None for the builder's defaults.
        text_network: mapping of further arguments of `text_classifier` or `text_regressor`, ignored for images; None for
            their defaults.
        scale: mapping of the arguments `mean` and `stddev` of a regressor; None for those of the training targets.
        numbers: AppendNumbers that standardizes the numbers beside the inputs, if there are any; None for one with the
            means and deviations of the training part.

    Returns:
        keras.Model from raw pixels or strings, with the numbers beside them, to float32 outputs, with a frozen backbone; not
        compiled. It stores how the images of the data set are decoded.

    Raises:
        InputError: an argument is out of range, or the backbone cannot be used.
    """
    head = dict(head or {})
    if split.train.numbers is not None:
        numbers = split.train.numbers if numbers is None else numbers
        head |= {"numbers": numbers, "number_names": split.train.number_names}
    model = _model(split, backbone, head, text_network or {}, scale)
    model_labels.store_decoding(model, split.train.decoding)
    return model


def _model(
    split: data.Split, backbone: Backbone | str, head: Mapping, text_network: Mapping, scale: Mapping | None
) -> keras.Model:
    train = split.train
    texts = {"texts": train.inputs, "pair": train.shape == (2,), **text_network} if train.image_size is None else None
    if split.task == "regression":
        scale = scale or {"mean": train.targets.mean(axis=0), "stddev": train.targets.std(axis=0)}
        scale = {"labels": split.labels, **scale}
        if texts is None:
            return image_regressor(backbone, **scale, **head)
        return text_regressor(backbone, **scale, **texts, **head)
    classes = {"labels": split.labels, "multi_label": split.task == "multi_label"}
    if texts is None:
        return image_classifier(backbone, **classes, **head)
    return text_classifier(backbone, **classes, targets=train.targets, **texts, **head)
