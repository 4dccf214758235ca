"""Training that needs less memory and ends with the same weights: micro-batches and recomputed activations.

Takes a compiled functional `keras.Model`; `accumulate` changes how it trains, `checkpoint` gives a twin of it. Must
not change what a model computes.
"""

import keras

from kerastrain.distribute import exact_step
from kerastrain.errors import InputError


def accumulate(model: keras.Model, *, micro_batches: int) -> None:
    """Makes each step of `fit` go through its batch in parts, with one update of the weights from all of them.

    Use it for a batch whose activations do not fit into memory: their peak falls to about 1 / micro_batches, while
    loss, metrics and weights stay those of the whole batch, with any optimizer and strategy. Takes effect on the next
    `fit`; it belongs to this object and is not saved.

    Args:
        model: keras.Model, compiled, without a `train_step` of its own.
        micro_batches: int > 0, parts of each device's batch; 1 for the whole batch at once.

    Raises:
        TypeError: the model brings a `train_step` of its own.
        InputError: `micro_batches` is no positive int, or a BatchNormalization would see only its micro-batch.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> accumulate(model, micro_batches=4)
    """
    if isinstance(micro_batches, bool) or not isinstance(micro_batches, int) or micro_batches < 1:
        raise InputError(f"`micro_batches` must be an int of at least 1. Received: {micro_batches!r}.")
    if "train_step" in {name for cls in type(model).__mro__ if not _is_keras(cls) for name in vars(cls)}:
        raise TypeError(
            f"`model` must train by Keras's own `train_step`. Received: {type(model).__module__}."
            f"{type(model).__qualname__}, which has one of its own. Split the batch there."
        )
    seeing = [layer.name for layer in _batch_normalizations(model) if layer.trainable]
    if micro_batches > 1 and seeing:
        raise InputError(
            f"a BatchNormalization would see only its micro-batch, and the weights would differ. Received: "
            f"{', '.join(seeing)}. Freeze them with `layer.trainable = False`, or take GroupNormalization."
        )
    model.train_step = lambda data: exact_step.train_step(model, data, micro_batches=micro_batches)
    model.make_train_function(force=True)


def _batch_normalizations(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def _is_keras(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("keras", "builtins", "tensorflow")
