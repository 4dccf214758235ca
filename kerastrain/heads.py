"""What stands on a backbone: dense layers, the outputs, their names, and the loss that fits them.

Takes features; gives layers, and reads them again from finished models. Must not know of backbones.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError, unknown
from kerastrain.tasks import TASKS, Task


@keras.saving.register_keras_serializable("kerastrain")
class Labels(keras.layers.Layer):
    """The last layer of a model: passes the outputs on as float32, and keeps their names and what they mean.

    Args:
        labels: sequence of str, one for each output, in their order: the classes, or for "regression" the numbers.
        task: "single_label", where the outputs are logits of a softmax; "multi_label", where each is the logit of a
            sigmoid and an example may have any number of labels; or "regression", where they are the numbers.
        **options: `name` of a Keras layer.
    """

    def __init__(self, labels: Sequence[str], task: Task = "single_label", **options: object):
        super().__init__(**{**options, "dtype": "float32"})
        if task not in TASKS:
            raise InputError(unknown("task", task, TASKS))
        self.labels = tuple(labels)
        self.task = task

    def call(self, outputs):
        """`outputs` (b, labels), float32."""
        return keras.ops.cast(outputs, "float32")

    def compute_output_spec(self, outputs):
        """float32 of the shape that came in."""
        if outputs.shape[-1] not in (None, len(self.labels)):
            raise InputError(f"a model of {outputs.shape[-1]} outputs cannot have {len(self.labels)} labels.")
        return keras.KerasTensor(outputs.shape, dtype="float32")

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "labels": list(self.labels), "task": self.task}


@keras.saving.register_keras_serializable("kerastrain")
class CategoricalCrossentropy(keras.losses.CategoricalCrossentropy):
    """Keras's, which says in one sentence where the data has other classes than the model (InputError)."""

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from one-hot targets and outputs (b, outputs)."""
        _check_one_for_each(y_true, y_pred)
        return super().call(y_true, y_pred)


@keras.saving.register_keras_serializable("kerastrain")
class BinaryCrossentropy(keras.losses.BinaryCrossentropy):
    """Keras's, which says in one sentence where the data has other labels than the model (InputError)."""

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from many-hot targets and outputs (b, outputs)."""
        _check_one_for_each(y_true, y_pred)
        return super().call(y_true, y_pred)


@keras.saving.register_keras_serializable("kerastrain")
class StandardizedSquaredError(keras.losses.Loss):
    """The squared error in units of the targets' own deviation, averaged over the outputs.

        loss(y, p) = mean over outputs of ((y - p) / deviation)²

    So a rate that suits years suits millimetres, and two outputs in other units weigh the same. A model that always says
    the mean has loss 1; 1 - loss is near R².

    Args:
        deviation: sequence of float > 0, one for each output, in the targets' unit.
        reduction: as for Keras losses.
        name: str.
        dtype: the loss's dtype, float32 unless given.

    Example:
        >>> float(StandardizedSquaredError([2.0])(keras.ops.array([[1.0], [3.0]]), keras.ops.array([[1.0], [7.0]])))
        2.0
    """

    def __init__(
        self,
        deviation: Sequence[float],
        reduction: str = "sum_over_batch_size",
        name: str = "standardized_squared_error",
        dtype=None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.deviation = tuple(float(one) for one in deviation)

    def call(self, y_true, y_pred):
        """The loss of each example, (b,), from targets and predictions (b, outputs)."""
        _check_one_for_each(y_true, y_pred)
        deviation = keras.ops.convert_to_tensor(self.deviation, y_pred.dtype)
        return keras.ops.mean(keras.ops.square((keras.ops.cast(y_true, y_pred.dtype) - y_pred) / deviation), axis=-1)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "deviation": list(self.deviation)}


def head(
    features: keras.KerasTensor,
    outputs: int,
    *,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_norm: bool = False,
    name: str = "logits",
) -> keras.KerasTensor:
    """Dense layers from features to numbers.

    Args:
        features: float KerasTensor (b, d).
        outputs: int, how many numbers come out.
        hidden_units: sequence of int, widths of ReLU layers in between.
        dropout: float in [0, 1), share of the inputs of each dense layer that is dropped in training.
        l1: float >= 0, weight of the sum of absolute values of the kernels in the loss.
        l2: float >= 0, weight of the sum of squares of the kernels in the loss.
        batch_norm: bool, whether batch norm stands before each hidden ReLU.
        name: str, the name of the last dense layer.

    Returns:
        KerasTensor (b, outputs).

    Raises:
        InputError: a number lies outside its range.
    """
    _check_numbers(hidden_units, dropout, l1, l2)
    penalty = keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
    values = features
    for index, units in enumerate(hidden_units):
        values = _dropped(values, dropout, f"dropout_{index}")
        options = {"kernel_regularizer": penalty, "use_bias": not batch_norm, "name": f"hidden_{index}"}
        values = keras.layers.Dense(units, **options)(values)
        if batch_norm:
            values = keras.layers.BatchNormalization(name=f"hidden_{index}_norm")(values)
        values = keras.layers.ReLU(name=f"hidden_{index}_relu")(values)
    values = _dropped(values, dropout, "dropout")
    return keras.layers.Dense(outputs, kernel_regularizer=penalty, name=name)(values)


def labels(model: keras.Model) -> tuple[str, ...]:
    """The names of a classifier's classes, in the order of its logits; of a regressor's numbers.

    Raises:
        InputError: the model was not built with labels.
    """
    return _labels_layer(model).labels


def task(model: keras.Model) -> Task:
    """What the model says of an example: "single_label", "multi_label" or "regression".

    Raises:
        InputError: the model was not built with labels.
    """
    return _labels_layer(model).task


def check_labels(model: keras.Model, found: Sequence[str]) -> None:
    """Refuses data whose classes are not the model's, name by name and in the same order.

    Raises:
        InputError: they differ; the message says in what.
    """
    known = labels(model)
    if tuple(found) == known:
        return
    if sorted(found) == sorted(known):
        raise InputError(f"the data has the model's classes in another order: {', '.join(found)}.")
    more, less = [one for one in found if one not in known], [one for one in known if one not in found]
    differences = [f"it has {', '.join(more)}, unknown to the model" if more else ""]
    differences.append(f"it lacks {', '.join(less)}" if less else "")
    raise InputError(
        f"the data has {len(found)} classes, the model {len(known)}: {'; '.join(filter(None, differences))}. Train "
        "a model on this data, or give data with the model's classes."
    )


def loss(model: keras.Model, *, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """The loss that fits a model's outputs and float32 targets (b, outputs): one-hot, many-hot, or numbers.

    Args:
        model: keras.Model that ends in `Labels`.
        label_smoothing: float in [0, 1), the share of a label's weight that is spread over all classes.

    Returns:
        CategoricalCrossentropy on logits; BinaryCrossentropy on logits for a multi-label model; for a regressor
        StandardizedSquaredError. Each raises InputError where the data has more or fewer labels than the model.

    Raises:
        InputError: the share lies outside [0, 1) or goes with no classes, or the model has no labels.

    Reference: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f"`label_smoothing` must lie in [0, 1). Received: {label_smoothing}.")
    said = task(model)
    if said == "regression":
        if label_smoothing:
            raise InputError(f"`label_smoothing` goes with classes. Received: {label_smoothing}, and a regressor.")
        return StandardizedSquaredError(np.ravel(model.get_layer("targets").scale))
    kind = BinaryCrossentropy if said == "multi_label" else CategoricalCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)


def checked_labels(names: Sequence[str], *, fewest: int = 2) -> tuple[str, ...]:
    """`names` as a tuple.

    Args:
        names: sequence of str.
        fewest: int, how many there must be.

    Raises:
        TypeError: they are no sequence of str.
        InputError: too few of them, or one of them twice.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`labels` must be a sequence of str. Received: {names!r}.")
    if len(names) < fewest:
        what = "a classifier needs at least two labels" if fewest == 2 else "a model needs at least one label"
        raise InputError(f"{what}. Received: {list(names)}.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f"`labels` must differ from each other. Received twice: {', '.join(twice)}.")
    return tuple(names)


def _check_one_for_each(targets, outputs) -> None:
    found, known = (one.shape[-1] if len(one.shape) == 2 else None for one in (targets, outputs))
    if None not in (found, known) and found != known:
        raise InputError(
            f"the data has {found} labels, the model {known}. Build the model with the `labels` of this data, or train it "
            "on data with its own."
        )


def _labels_layer(model: keras.Model) -> Labels:
    for layer in model.layers:
        if isinstance(layer, Labels):
            return layer
    raise InputError(
        f"the model {model.name!r} carries no labels: it does not end in a kerastrain.models.Labels layer."
    )


def _dropped(values, rate: float, name: str):
    return keras.layers.Dropout(rate, name=name)(values) if rate else values


def _check_numbers(hidden_units: Sequence[int], dropout: float, l1: float, l2: float) -> None:
    if any(isinstance(units, bool) or not isinstance(units, int) or units < 1 for units in hidden_units):
        raise InputError(f"`hidden_units` must be whole numbers above 0. Received: {tuple(hidden_units)}.")
    if not 0 <= dropout < 1:
        raise InputError(f"`dropout` must lie in [0, 1). Received: {dropout}.")
    for name, weight in (("l1", l1), ("l2", l2)):
        if weight < 0:
            raise InputError(f"`{name}` must be at least 0. Received: {weight}.")
