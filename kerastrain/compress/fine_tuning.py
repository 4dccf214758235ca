"""What every compression by training has in common: a copy of the model, the length of the run, how it is compiled.

Takes a keras.Model and a data set. Must not know what is compressed.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import distribute
from kerastrain.callbacks import Checkpoints
from kerastrain.checkpoints import Position
from kerastrain.errors import InputError
from kerastrain.hub import modules
from kerastrain.transfer import freezing

_SETTLING_BATCHES = 16


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
        with modules.allow_modules():
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


def loss_of(model: keras.Model, loss: object, *, name: str = "model") -> object:
    """`loss`, or the one that `model` was compiled with; `name` is what the caller's argument is called.

    Raises:
        InputError: there is neither, or it takes logits where the model ends in probabilities.
    """
    loss = loss or (model.loss if model.compiled else None)
    if loss is None:
        raise InputError("`loss` must be given for a model that was not compiled. Received: None.")
    takes_logits = isinstance(loss, keras.losses.Loss) and loss.get_config().get("from_logits")
    if takes_logits and (activation := _last_activation(model)) in ("softmax", "sigmoid"):
        raise InputError(
            f"`{name}` must give logits. Received: probabilities: {model.name!r} ends in {activation}, and `loss` takes "
            "logits. Leave the last activation out, or make the loss with `from_logits=False`."
        )
    return loss


def _last_activation(model: keras.Model) -> str | None:
    """The name of the activation that a model ends in, as far as its last layer says."""
    last = model.layers[-1] if model.layers else None
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(last, "activation", None), "__name__", None)


def following_batch_norm(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch norms of `model` that train, and the frozen ones that come right after a layer that trains."""
    found, follows = [], False
    for layer in freezing.every_layer(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            found += [layer] if layer.trainable or follows else []
        elif layer.weights:
            follows = bool(layer.trainable_weights)
    return found


def recalibrate_batch_norm(model: keras.Model, dataset: tf.data.Dataset) -> None:
    """Sets the averages of `following_batch_norm` to the means over the first 16 batches of `dataset`, in place.

    Other kernels give other means than those that batch norm knows, and each layer adds to what the one before it is off.
    """
    layers = following_batch_norm(model)
    before = [(layer.trainable, layer.momentum) for layer in layers]
    for count, batch in enumerate(dataset.take(_SETTLING_BATCHES) if layers else ()):
        for layer in layers:
            layer.trainable, layer.momentum = True, count / (count + 1)  # so that all batches count alike
        model(keras.utils.unpack_x_y_sample_weight(batch)[0], training=True)
    for layer, (trainable, momentum) in zip(layers, before, strict=True):
        layer.trainable, layer.momentum = trainable, momentum


def adam_with_cosine_decay(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Adam whose rate falls from `learning_rate` to 0 along a cosine of `steps`."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))


def fit(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    epochs: int,
    steps_per_epoch: int | None = None,
    validation_data: tf.data.Dataset | None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
) -> None:
    """`model.fit` in the data set's own order; exact on several devices.

    `steps_per_epoch` is told where `dataset` holds all epochs already. With `kerastrain.callbacks.Checkpoints` among the
    callbacks it goes on where their folder stands.
    """
    whole = dataset.repeat(epochs) if steps_per_epoch is None else dataset
    start = next((one.start for one in callbacks if isinstance(one, Checkpoints)), Position())
    if start.step:
        whole = whole.skip(start.step)
    model.fit(
        distribute.shard(whole, tf.distribute.get_strategy()),
        epochs=epochs,
        initial_epoch=start.epoch,
        steps_per_epoch=steps_per_epoch or int(dataset.cardinality()),
        shuffle=False,  # Keras would warn of it otherwise.
        validation_data=validation_data,
        callbacks=list(callbacks),
        verbose=verbose,
    )


def compiled_for_evaluation(
    model: keras.Model, *, learning_rate: float, loss: object, metrics: Sequence
) -> keras.Model:
    """`model`, compiled to be measured and trained on; it was trained as a part of another."""
    model.compile(keras.optimizers.Adam(learning_rate), loss=loss, metrics=list(metrics))
    model.optimizer.build(model.trainable_variables)  # Keras warns when it opens a file with one that is not.
    return model
