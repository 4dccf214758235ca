"""What stands on a backbone: dense layers, the logits, the names of the classes, and the loss that fits them.

Takes features; gives layers, and reads them again from finished models. Must not know of backbones.
"""

from collections.abc import Sequence

import keras

from kerastrain.errors import InputError


@keras.saving.register_keras_serializable("kerastrain")
class Labels(keras.layers.Layer):
    """The last layer of a classifier: passes the logits on as float32 and keeps the classes' names.

    Args:
        labels: sequence of str, one for each logit, in their order.
        multi_label: bool, whether an example may have any number of labels: a sigmoid for each logit, no softmax.
        **options: `name` of a Keras layer.
    """

    def __init__(self, labels: Sequence[str], multi_label: bool = False, **options: object):
        super().__init__(**{**options, "dtype": "float32"})
        self.labels = tuple(labels)
        self.multi_label = multi_label

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
        return {**super().get_config(), "labels": list(self.labels), "multi_label": self.multi_label}


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
    """The names of a classifier's classes, in the order of its logits.

    Raises:
        InputError: the model was not built with labels.
    """
    return _labels_layer(model).labels


def is_multi_label(model: keras.Model) -> bool:
    """Whether an example may have any number of the classifier's labels."""
    return _labels_layer(model).multi_label


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
    """The loss that fits a classifier's logits and one-hot (or many-hot) float32 labels (b, classes).

    Args:
        model: keras.Model that ends in `Labels`.
        label_smoothing: float in [0, 1), the share of a label's weight that is spread over all classes.

    Returns:
        CategoricalCrossentropy, or BinaryCrossentropy for a multi-label model, on logits.

    Raises:
        InputError: the share lies outside [0, 1), or the model has no labels.

    Reference: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f"`label_smoothing` must lie in [0, 1). Received: {label_smoothing}.")
    kind = keras.losses.BinaryCrossentropy if is_multi_label(model) else keras.losses.CategoricalCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)


def checked_labels(names: Sequence[str], *, multi_label: bool = False) -> tuple[str, ...]:
    """`names` as a tuple.

    Raises:
        TypeError: they are no sequence of str.
        InputError: too few of them, or one of them twice.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`labels` must be a sequence of str. Received: {names!r}.")
    if len(names) < (1 if multi_label else 2):
        raise InputError(f"a classifier needs at least two labels. Received: {list(names)}.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f"`labels` must differ from each other. Received twice: {', '.join(twice)}.")
    return tuple(names)


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
