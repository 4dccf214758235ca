"""What the builders of models share: the numbers beside an input, the options of the head, and the last layers.

Takes inputs and features; returns inputs, features, options and `keras.Model`s. Must not know of backbones.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from kerastrain.data.sources import number_columns
from kerastrain.errors import InputError, unknown
from kerastrain.layers.labels import Labels, checked_labels
from kerastrain.layers.numbers import INPUT_NAME, AppendNumbers
from kerastrain.models.heads import HeadOptions, dense_head


def head_options(builder: Callable, options: Mapping[str, object], **defaults: object) -> HeadOptions:
    """Options of a head from the keywords of a builder.

    Args:
        builder: callable, for its name and arguments in the error.
        options: mapping of the keywords.
        **defaults: values of options that are not among the keywords.

    Returns:
        HeadOptions.

    Raises:
        InputError: a number lies outside its range.
        TypeError: an unknown keyword.
    """
    known = [field.name for field in dataclasses.fields(HeadOptions)]
    for name in options:
        if name not in known:
            own = [parameter for parameter in inspect.signature(builder).parameters if parameter != "head"]
            raise TypeError(unknown(f"argument of {builder.__name__}:", name, [*own, *known]))
    return HeadOptions(**{**defaults, **options})


def with_numbers(
    inputs: keras.KerasTensor,
    features: keras.KerasTensor,
    numbers: np.ndarray | AppendNumbers | None,
    names: Sequence[str] | None,
) -> tuple[keras.KerasTensor | tuple[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
    """The inputs and the features of a model, with the numbers beside its images or texts.

    Args:
        inputs: KerasTensor, the images or texts.
        features: float KerasTensor (batch, features) of them.
        numbers: float array (n, k) of the training examples, the layer of another model, or None for no numbers.
        names: sequence of k str, or None for "number_1", "number_2", ….

    Returns:
        The inputs and the features.

    Raises:
        InputError: the shape of `numbers` or the number of names does not fit, or a number is infinite.
    """
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


def classifier(
    inputs: object,
    features: keras.KerasTensor,
    names: Sequence[str],
    options: HeadOptions,
    *,
    multi_label: bool,
    name: str,
) -> keras.Model:
    """A model with the logits of a head on features.

    Args:
        inputs: KerasTensor, or a tuple of them.
        features: float KerasTensor (batch, features).
        names: sequence of str, the names of the classes.
        options: HeadOptions.
        multi_label: bool, whether an example may have any number of the labels.
        name: str, the model's name.

    Returns:
        keras.Model, not compiled.
    """
    logits = dense_head(features, len(names), options)
    outputs = Labels(names, "multi_label" if multi_label else "single_label", name="labels")(logits)
    return keras.Model(inputs, outputs, name=name)


class Scale:
    """The names of a regressor's outputs, and the mean and the standard deviation of their targets, checked.

    Args:
        labels: sequence of str, at least one.
        mean: float, or sequence with one float for each output, in the targets' unit.
        stddev: float > 0, or sequence with one float for each output, in the targets' unit.

    Raises:
        InputError: there are no labels or a label twice, or a number lies outside its range.
    """

    def __init__(self, labels: Sequence[str], mean: float | Sequence[float], stddev: float | Sequence[float]):
        self.names = checked_labels(labels, fewest=1)
        outputs = len(self.names)
        self.stddev = np.broadcast_to(_numbers("stddev", stddev, outputs), outputs).tolist()
        self.mean = np.broadcast_to(_numbers("mean", mean, outputs), outputs).tolist()
        if min(self.stddev) <= 0:
            raise InputError(f"`stddev` must be above 0. Received: {stddev}. A constant target needs no model.")

    def regressor(self, inputs: object, features: keras.KerasTensor, options: HeadOptions, *, name: str) -> keras.Model:
        """A model with the numbers of a head on features, in the targets' unit.

        Args:
            inputs: KerasTensor, or a tuple of them.
            features: float KerasTensor (batch, features).
            options: HeadOptions.
            name: str, the model's name.

        Returns:
            keras.Model, not compiled.
        """
        values = dense_head(features, len(self.names), options, name="outputs")
        values = keras.layers.Rescaling(self.stddev, offset=self.mean, dtype="float32", name="targets")(values)
        return keras.Model(inputs, Labels(self.names, "regression", name="labels")(values), name=name)


def _numbers(name: str, value, count: int) -> np.ndarray:
    numbers = np.asarray(value, "float64")
    if numbers.shape not in ((), (count,)) or not np.isfinite(numbers).all():
        raise InputError(f"`{name}` must be one finite number, or {count}, one for each output. Received: {value!r}.")
    return numbers
