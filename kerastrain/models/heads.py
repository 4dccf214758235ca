"""The head of a model: dense layers from features to outputs.

Takes features; gives layers. Must not know of backbones.
"""

from collections.abc import Sequence

import keras

from kerastrain.errors import InputError


def dense_head(
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
