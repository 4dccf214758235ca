"""What every compression by training has in common: a copy of the model, the length of the run, how it is compiled.

Takes a keras.Model and a data set. Must not know what is compressed.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import hub_modules
from kerastrain.errors import InputError


def copy(model: keras.Model) -> keras.Model:
    """`model` once more, through its `.keras` form, not compiled.

    Raises:
        InputError: it is not built, and has no weights to copy.
    """
    if not model.built:
        raise InputError(
            f"`model` must be built before it is compressed. Received: {model.name!r} without weights. Give it an Input "
            "layer, or call it once."
        )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.keras"
        model.save(path)
        # The archive was written a moment ago from this very process: what it holds is already trusted.
        with hub_modules.allow_modules():
            return keras.saving.load_model(path, compile=False, safe_mode=False)


def steps(dataset: tf.data.Dataset, epochs: int, optimizer: keras.optimizers.Optimizer | None) -> int:
    """The updates of the weights in a run over `dataset`.

    Raises:
        InputError: there are none, or they cannot be counted.
    """
    batches = int(dataset.cardinality())
    if epochs < 1 or batches == 0:
        raise InputError(f"`epochs` and `dataset` must not be empty. Received: {epochs} epochs of {batches} batches.")
    if batches < 0:
        raise InputError(
            "`dataset` must have a known, finite length, by which the schedule is laid out. Received: one without. Use "
            "dataset.apply(tf.data.experimental.assert_cardinality(batches))."
        )
    return math.ceil(epochs * batches / (getattr(optimizer, "gradient_accumulation_steps", None) or 1))


def loss_of(model: keras.Model, loss: object) -> object:
    """`loss`, or the one that `model` was compiled with.

    Raises:
        InputError: there is neither.
    """
    loss = loss or (model.loss if model.compiled else None)
    if loss is None:
        raise InputError("`loss` must be given for a model that was not compiled. Received: None.")
    return loss


def falling(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Adam whose rate falls from `learning_rate` to 0 along a cosine of `steps`."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))


def fit(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    epochs: int,
    validation_data: tf.data.Dataset | None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
) -> None:
    """`model.fit` in the data set's own order."""
    model.fit(
        dataset,
        epochs=epochs,
        shuffle=False,  # Keras would warn of it otherwise.
        validation_data=validation_data,
        callbacks=list(callbacks),
        verbose=verbose,
    )
