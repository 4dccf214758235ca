"""The head of a model: dense layers from features to outputs.

Takes features and `HeadOptions`; returns the outputs. Must not know of backbones.
"""

import dataclasses
from collections.abc import Sequence

import keras

from kerastrain.errors import InputError, is_whole_number


@dataclasses.dataclass(frozen=True)
class HeadOptions:
    """The options of a head, which every builder takes as keywords.

    Args:
        hidden_units: sequence of int >= 1, widths of ReLU layers between the features and the outputs.
        dropout: float in [0, 1), fraction of the inputs of each dense layer that is dropped in training.
        l1: float >= 0, weight in the loss of the sum of the absolute values of the kernels.
        l2: float >= 0, weight in the loss of the sum of the squares of the kernels.
        batch_norm: bool, whether batch norm precedes each hidden ReLU.

    Raises:
        InputError: a number lies outside its range.

    Example:
        >>> HeadOptions(hidden_units=(64,), dropout=0.5)
        HeadOptions(hidden_units=(64,), dropout=0.5, l1=0.0, l2=0.0, batch_norm=False)
    """

    hidden_units: Sequence[int] = ()
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    batch_norm: bool = False

    def __post_init__(self):
        if any(not is_whole_number(units) or units < 1 for units in self.hidden_units):
            raise InputError(f"`hidden_units` must be whole numbers above 0. Received: {tuple(self.hidden_units)}.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` must lie in [0, 1). Received: {self.dropout}.")
        for name, weight in (("l1", self.l1), ("l2", self.l2)):
            if weight < 0:
                raise InputError(f"`{name}` must be at least 0. Received: {weight}.")


def dense_head(
    features: keras.KerasTensor, outputs: int, options: HeadOptions, *, name: str = "logits"
) -> keras.KerasTensor:
    """Dense layers from features to outputs.

    Args:
        features: float KerasTensor (batch, features).
        outputs: int >= 1, the number of outputs.
        options: HeadOptions.
        name: str, the name of the last dense layer.

    Returns:
        KerasTensor (batch, outputs) of the layers' compute dtype.
    """
    regularizer = keras.regularizers.L1L2(l1=options.l1, l2=options.l2) if options.l1 or options.l2 else None
    values = features
    for index, units in enumerate(options.hidden_units):
        values = _dropped(values, options.dropout, f"dropout_{index}")
        values = keras.layers.Dense(
            units, use_bias=not options.batch_norm, kernel_regularizer=regularizer, name=f"hidden_{index}"
        )(values)
        if options.batch_norm:
            values = keras.layers.BatchNormalization(name=f"hidden_{index}_norm")(values)
        values = keras.layers.ReLU(name=f"hidden_{index}_relu")(values)
    values = _dropped(values, options.dropout, "dropout")
    return keras.layers.Dense(outputs, kernel_regularizer=regularizer, name=name)(values)


def _dropped(values, rate: float, name: str):
    return keras.layers.Dropout(rate, name=name)(values) if rate else values
