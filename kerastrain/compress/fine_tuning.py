"""How a compression trains: the options of the training, and the steps that all compressions share.

Takes a keras.Model, a tf.data.Dataset and a `FineTuning`; returns models that are copied, compiled or trained. Must not
know what is compressed.
"""

import dataclasses
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
from kerastrain.keras_internals.layers import every_layer

_RECALIBRATION_BATCHES = 16


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """Options of the training that `prune`, `prune_channels`, `cluster`, `quantize_aware` and `distill` run.

    Args:
        epochs: int >= 1, passes over the dataset.
        optimizer: keras.optimizers.Optimizer that has not trained another model yet, so a record with an optimizer is for
            one call; or None for Adam whose learning rate decays from `learning_rate` to 0 along a cosine.
        learning_rate: float > 0, peak learning rate, used if `optimizer` is None; or None for the default of the
            compression: 1e-3 for `prune`, `prune_channels` and `distill`, 1e-4 for `cluster` and `quantize_aware`.
        loss: as for `keras.Model.compile`; or None for the loss that the model was compiled with.
        metrics: as for `keras.Model.compile`.
        validation_data: as for `keras.Model.fit`.
        callbacks: as for `keras.Model.fit`. Their `model` is the model in training: `quantize_aware` returns another one,
            and for `distill` the student is its attribute `student`. `kerastrain.callbacks.Checkpoints` resumes an
            interrupted training.
        verbose: as for `keras.Model.fit`.

    Example:
        >>> fine_tuning = FineTuning(epochs=3, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        >>> pruned = prune(model, dataset, fraction=0.8, fine_tuning=fine_tuning)  # doctest: +SKIP
        >>> clustered = cluster(pruned, dataset, fine_tuning=fine_tuning)  # doctest: +SKIP
    """

    epochs: int
    optimizer: keras.optimizers.Optimizer | None = None
    learning_rate: float | None = None
    loss: keras.losses.Loss | str | None = None
    metrics: Sequence = ()
    validation_data: tf.data.Dataset | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: int | str = 0


def resolve(
    fine_tuning: FineTuning, model: keras.Model, *, learning_rate: float, argument: str = "model"
) -> FineTuning:
    """Fills in the loss and the learning rate.

    Args:
        fine_tuning: FineTuning.
        model: keras.Model, whose compiled loss is the default.
        learning_rate: float > 0, the default of the compression.
        argument: str, the caller's name for `model`, for the error message.

    Returns:
        FineTuning whose `loss` and `learning_rate` are not None.

    Raises:
        InputError: neither `fine_tuning` nor `model` has a loss, or the loss takes logits and the model ends in
            probabilities.
    """
    loss = fine_tuning.loss or (model.loss if model.compiled else None)
    if loss is None:
        raise InputError("`loss` must be given for a model that was not compiled. Received: None.")
    takes_logits = isinstance(loss, keras.losses.Loss) and loss.get_config().get("from_logits")
    if takes_logits and (activation := _last_activation(model)) in ("softmax", "sigmoid"):
        raise InputError(
            f"`{argument}` must give logits. Received: probabilities: {model.name!r} ends in {activation}, and `loss` takes "
            "logits. Leave the last activation out, or make the loss with `from_logits=False`."
        )
    if fine_tuning.learning_rate is not None:
        learning_rate = fine_tuning.learning_rate
    return dataclasses.replace(fine_tuning, loss=loss, learning_rate=learning_rate)


def _last_activation(model: keras.Model) -> str | None:
    """The name of the activation of the last layer, or None if it has none."""
    last = model.layers[-1] if model.layers else None
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(last, "activation", None), "__name__", None)


def copy_model(model: keras.Model) -> keras.Model:
    """Copies a model by saving it to a temporary `.keras` file and loading it.

    Args:
        model: keras.Model, built.

    Returns:
        keras.Model with weights of its own, not compiled.

    Raises:
        InputError: the model is not built, so it has no weights to copy.
    """
    if not model.built:
        raise InputError(
            f"`model` must be built before it is compressed. Received: {model.name!r} without weights. Give it an Input "
            "layer, or call it once."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        # This process has just written the archive, so its modules are as trusted as those of `model`.
        with modules.allow_modules():
            return keras.saving.load_model(path, compile=False, safe_mode=False)


def count_steps(dataset: tf.data.Dataset, epochs: int, optimizer: keras.optimizers.Optimizer | None) -> int:
    """Counts the updates of the weights in a training.

    Args:
        dataset: tf.data.Dataset of batches, of known length.
        epochs: int >= 1, passes over `dataset`.
        optimizer: keras.optimizers.Optimizer, whose `gradient_accumulation_steps` divides the number of batches; or None.

    Returns:
        int >= 1.

    Raises:
        InputError: `epochs` or `dataset` is empty, or the length of `dataset` is unknown or infinite.
    """
    batches = int(dataset.cardinality())
    if epochs < 1 or batches == 0:
        raise InputError(f"`epochs` and `dataset` must not be empty. Received: {epochs} epochs of {batches} batches.")
    if batches < 0:
        raise InputError(
            "`dataset` must have a known, finite length, because the schedule depends on it. Received: a dataset without. "
            "Use dataset.apply(tf.data.experimental.assert_cardinality(batches))."
        )
    return math.ceil(epochs * batches / (getattr(optimizer, "gradient_accumulation_steps", None) or 1))


def affected_batch_norm(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Lists the batch norm layers whose inputs change when the model trains.

    Args:
        model: keras.Model.

    Returns:
        list of keras.layers.BatchNormalization: the trainable ones, and the frozen ones right after a trainable layer.
    """
    affected, follows_trainable = [], False
    for layer in every_layer(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            affected += [layer] if layer.trainable or follows_trainable else []
        elif layer.weights:
            follows_trainable = bool(layer.trainable_weights)
    return affected


def recalibrate_batch_norm(model: keras.Model, dataset: tf.data.Dataset) -> None:
    """Sets the moving statistics of `affected_batch_norm` to their means over the first 16 batches, in place.

    The old statistics do not fit changed kernels, and the errors of successive layers add up.

    Args:
        model: keras.Model, changed in place.
        dataset: tf.data.Dataset of batches as for `fit`.
    """
    layers = affected_batch_norm(model)
    before = [(layer.trainable, layer.momentum) for layer in layers]
    for count, batch in enumerate(dataset.take(_RECALIBRATION_BATCHES) if layers else ()):
        for layer in layers:
            layer.trainable, layer.momentum = True, count / (count + 1)  # weighs all batches equally
        model(keras.utils.unpack_x_y_sample_weight(batch)[0], training=True)
    for layer, (trainable, momentum) in zip(layers, before, strict=True):
        layer.trainable, layer.momentum = trainable, momentum


def compile_for_training(model: keras.Model, fine_tuning: FineTuning, steps: int, **options: object) -> None:
    """Compiles a model with the optimizer, loss and metrics of a `FineTuning`.

    Args:
        model: keras.Model, compiled in place.
        fine_tuning: FineTuning from `resolve`.
        steps: int >= 1, updates of the weights until the default learning rate reaches 0.
        **options: further arguments of `keras.Model.compile`.
    """
    optimizer = fine_tuning.optimizer or _adam_with_cosine_decay(fine_tuning.learning_rate, steps)
    model.compile(optimizer, loss=fine_tuning.loss, metrics=list(fine_tuning.metrics), **options)


def _adam_with_cosine_decay(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))


def fit(
    model: keras.Model, dataset: tf.data.Dataset, fine_tuning: FineTuning, *, steps_per_epoch: int | None = None
) -> None:
    """Runs `model.fit` in the order of the dataset; exact on several devices.

    If `kerastrain.callbacks.Checkpoints` is among the callbacks, training resumes from the newest checkpoint in its folder.

    Args:
        model: keras.Model, compiled; trained in place.
        dataset: tf.data.Dataset of batches of one epoch; or of all epochs, if `steps_per_epoch` is given.
        fine_tuning: FineTuning.
        steps_per_epoch: int >= 1, batches per epoch of a dataset of all epochs; or None.
    """
    all_epochs = dataset.repeat(fine_tuning.epochs) if steps_per_epoch is None else dataset
    start = next((each.start for each in fine_tuning.callbacks if isinstance(each, Checkpoints)), Position())
    if start.step:
        all_epochs = all_epochs.skip(start.step)
    model.fit(
        distribute.shard(all_epochs, tf.distribute.get_strategy()),
        epochs=fine_tuning.epochs,
        initial_epoch=start.epoch,
        steps_per_epoch=steps_per_epoch or int(dataset.cardinality()),
        shuffle=False,  # Keras warns about shuffling a dataset.
        validation_data=fine_tuning.validation_data,
        callbacks=list(fine_tuning.callbacks),
        verbose=fine_tuning.verbose,
    )


def compile_for_evaluation(model: keras.Model, fine_tuning: FineTuning) -> None:
    """Compiles a model that was trained as part of another one, so that it can be evaluated and trained further.

    Args:
        model: keras.Model, compiled in place with a fresh Adam.
        fine_tuning: FineTuning from `resolve`.
    """
    optimizer = keras.optimizers.Adam(fine_tuning.learning_rate)
    model.compile(optimizer, loss=fine_tuning.loss, metrics=list(fine_tuning.metrics))
    model.optimizer.build(model.trainable_variables)  # Keras warns when it loads a file with an unbuilt optimizer.
