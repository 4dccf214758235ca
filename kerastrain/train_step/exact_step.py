"""One optimizer step with the same result however many devices and micro-batches share its batch.

Takes a compiled `keras.Model` and a batch; updates the weights as one device would with the whole batch. Must not know how
devices are chosen or data is read.

With R devices, of which device r has b_r of the B examples in M_r micro-batches of b_rm, and with a loss that is a mean
over examples plus regularization, the gradient of the whole batch is

    g = sum over r and m of  b_rm / B * gradient(mean loss of micro-batch rm + regularization),

while Keras uses 1 / R in place of b_r / B, which is wrong as soon as the devices' parts differ in size.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number
from kerastrain.keras_internals import training as keras_training
from kerastrain.keras_internals.layers import every_layer
from kerastrain.train_step import micro_batches as parts
from kerastrain.train_step import shards, support

logger = logging.getLogger("kerastrain")


@dataclass
class ExactStep:
    """A `train_step` for one model; `kerastrain.memory` sets how it saves memory.

    Args:
        model: keras.Model.
        micro_batches: int >= 1, the parts of each device's batch.
        forward: callable (inputs, training) -> outputs that replaces the model's call; None for `folded`.
        overlapping: bool, whether micro-batches may run at the same time, each on another device of a pipeline.
        folded: callable as `forward`, from `folded_norms.forward`; None for the model's own call.
        frees_memory: bool, whether the step is there to free activations, which XLA would keep.
    """

    model: keras.Model
    micro_batches: int = 1
    forward: Callable | None = None
    overlapping: bool = False
    folded: Callable | None = None
    frees_memory: bool = True

    def __call__(self, data) -> dict:
        """Takes one step.

        Args:
            data: the batch, as Keras passes it to `train_step`, or a `Shard`.

        Returns:
            dict of the metrics' results.

        Raises:
            InputError: the model was compiled again, with XLA.
        """
        if self.model.jit_compile and self.frees_memory:
            raise InputError(
                "XLA keeps the activations that micro-batches and blocks are meant to free. Received: a model that was "
                "compiled again, with jit_compile=True or with 'auto' on a GPU. Compile it with jit_compile=False."
            )
        return train_step(
            self.model,
            data,
            micro_batches=self.micro_batches,
            forward=self.forward or (None if is_placed(self.model) else self.folded),
            overlapping=self.overlapping,
        )


def install(model: keras.Model) -> ExactStep:
    """Replaces the train step of `model` by an ExactStep, without XLA; a second call returns the same step.

    XLA computes the same result, but it reorders the operations: measured on a CPU, the step then used as much memory as
    a plain one.

    Args:
        model: keras.Model that trains by Keras's own `train_step`.

    Returns:
        ExactStep.

    Raises:
        TypeError: the model overrides `train_step`.
    """
    if overrides(model, "train_step"):
        raise TypeError(
            f"`model` must train by Keras's own `train_step`. Received: {type(model).__module__}."
            f"{type(model).__qualname__}, which overrides it. Split the batch in its `train_step`."
        )
    if not isinstance(model.train_step, ExactStep):
        model.train_step = ExactStep(model)
    model.train_step.frees_memory = True
    if model.compiled and model.jit_compile:
        logger.info("turned XLA off for %s: it would keep the activations that are to be freed", model.name)
        model.jit_compile = False
    model.train_function = None
    return model.train_step


def overrides(model: keras.Model, name: str) -> bool:
    """Whether the class of a model overrides a method of Keras.

    Args:
        model: keras.Model.
        name: str, the method, such as "train_step".
    """
    return any(name in vars(cls) for cls in type(model).__mro__ if not _is_keras(cls))


def is_placed(model: keras.Model) -> bool:
    """Whether `distribute.place` has given a model a call of its own, which runs its layers on several devices.

    Args:
        model: keras.Model.
    """
    return "call" in vars(model)


def set_micro_batches(model: keras.Model, micro_batches: int, *, overlapping: bool = False) -> None:
    """Makes `model` take its steps in micro-batches.

    Args:
        model: keras.Model that trains by Keras's own `train_step`.
        micro_batches: int >= 1, the parts of each device's batch.
        overlapping: bool, whether micro-batches may run at the same time.

    Raises:
        TypeError: the model overrides `train_step`.
        InputError: `micro_batches` is not a positive int, or a BatchNormalization would see only its micro-batch.
    """
    if not is_whole_number(micro_batches) or micro_batches < 1:
        raise InputError(f"`micro_batches` must be an int of at least 1. Received: {micro_batches!r}.")
    norms = [layer for layer in every_layer(model) if isinstance(layer, keras.layers.BatchNormalization)]
    trainable = [layer.name for layer in norms if layer.trainable]
    if micro_batches > 1 and trainable:
        raise InputError(
            f"a BatchNormalization would see only its micro-batch, and the weights would differ. Received: "
            f"{', '.join(trainable)}. Freeze them with `layer.trainable = False`, or use GroupNormalization."
        )
    step = install(model)
    step.micro_batches, step.overlapping = micro_batches, overlapping


def train_step(
    model: keras.Model,
    data,
    *,
    micro_batches: int = 1,
    forward: Callable | None = None,
    overlapping: bool = False,
) -> dict:
    """`keras.Model.train_step`, exact on devices with unequal numbers of examples, and in micro-batches.

    The micro-batches run one after the other, and each frees its activations before the next starts; overlapping ones
    start as soon as their device is free. The weights change only when all gradients are computed.

    Args:
        model: keras.Model, compiled; called in the replica context of a strategy, or on one device.
        data: this device's part of the batch, as Keras passes it to `train_step`, or a `Shard`.
        micro_batches: int >= 1, the parts of the batch, whose sizes differ by at most one example.
        forward: callable (inputs, training) -> outputs that replaces the model's call; None for the model itself.
        overlapping: bool, whether micro-batches may run at the same time.

    Returns:
        dict of the metrics' results.

    Raises:
        InputError: the loss or the optimizer has no exact step; see `support.check`.
    """
    batch, valid_count, shard = shards.unpack(data)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    weights = model.trainable_weights
    if not model.optimizer.built:
        model.optimizer.build(weights)  # Before any gradient: XLA rejects a variable whose value depends on one.
    size = batch_size(x)
    total, loss_weight = _total(size, shard, replicas), _loss_weight(model, sample_weight, size, shard)
    micro_batches = min(micro_batches, _first_leaf(x).shape[0] or micro_batches)

    def gradients_of(number, after) -> parts.Gradients:
        part, part_size = parts.micro_batch((x, y, loss_weight), number, micro_batches, size, after=after)
        with tf.GradientTape() as tape:
            y_pred = (forward or _forward(model))(part[0], training=True)
            loss = keras_training.compute_loss(model, part[0], part[1], y_pred, part[2], training=True)
            support.check(model, y_pred, part[2], replicas=replicas, micro_batches=micro_batches)
            loss = loss * _factor(model, part_size, total, replicas, loss.dtype)
            scaled = model.optimizer.scale_loss(loss)
        return parts.Gradients(tape.gradient(scaled, weights), tf.stop_gradient(loss), y_pred, part, part_size)

    # A strategy cannot change the variables of dropout and metrics on several devices within a loop.
    is_loop = micro_batches > 1 and not overlapping and replicas == 1 and shard is None and tf.inside_function()
    is_loop = is_loop and not overrides(model, "compute_metrics")
    if is_loop:
        gradients, loss_sum = parts.sums_in_loop(
            gradients_of,
            micro_batches,
            weights,
            lambda new: _metrics(model, *new.part[:2], new.y_pred, new.part[2], new.size),
        )
    else:
        gradients, loss_sum, y_pred = parts.sums(gradients_of, micro_batches, overlapping=overlapping)
    with tf.control_dependencies(parts.tensors(gradients)):
        computed = tf.no_op()  # One edge for each operation of the update; one for each gradient would fill a graph.
    with tf.control_dependencies([computed]):
        _track(model, loss_sum, size, total, valid_count)
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _nan_if_any_device_overflows(gradients)
        model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
    if is_loop:
        return model.get_metrics_result()
    return _metrics(model, x, y, y_pred, sample_weight, valid_count)


def test_step(model: keras.Model, data, *, forward: Callable | None) -> dict:
    """`keras.Model.test_step`, exact on devices with unequal numbers of examples.

    Args:
        model: keras.Model, compiled; called in the replica context of a strategy, or on one device.
        data: this device's part of the batch, as Keras passes it to `test_step`, or a `Shard`.
        forward: callable (inputs, training) -> outputs that replaces the model's call; None for the model itself.

    Returns:
        dict of the metrics' results.
    """
    batch, valid_count, shard = shards.unpack(data)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    replicas, size = tf.distribute.get_strategy().num_replicas_in_sync, batch_size(x)
    total, loss_weight = _total(size, shard, replicas), _loss_weight(model, sample_weight, size, shard)
    y_pred = (forward or _forward(model))(x, training=False)
    loss = keras_training.compute_loss(model, x, y, y_pred, loss_weight, training=False)
    _track(model, loss * _factor(model, size, total, replicas, loss.dtype), size, total, valid_count)
    return _metrics(model, x, y, y_pred, sample_weight, valid_count)


def predict_step(model: keras.Model, data):
    """`keras.Model.predict_step`, for the valid examples of a `Shard`.

    Args:
        model: keras.Model.
        data: this device's part of the batch, as Keras passes it to `predict_step`, or a `Shard`.

    Returns:
        tensor or nest of tensors (valid examples, ...).
    """
    batch, valid_count, _ = shards.unpack(data)
    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return shards.valid_examples(_forward(model)(x, training=False), valid_count)


def batch_size(x) -> tf.Tensor:
    """Number of examples in the inputs of a batch.

    Args:
        x: tensor or nest of tensors (b, ...), or a whole batch (x, y) or (x, y, sample_weight).

    Returns:
        int32 scalar tensor, b.
    """
    return tf.shape(_first_leaf(x))[0]


def _nan_if_any_device_overflows(gradients):
    """The gradients of this device, with NaN in the first if the gradients of any device are not finite.

    A LossScaleOptimizer skips the step if the gradients of the first device overflow (with several workers, of each worker
    by itself), as if they had been summed over the devices before. An overflow only on another device would make all
    weights NaN.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return gradients
    overflows = tf.add_n(
        [tf.cast(tf.reduce_any(~tf.math.is_finite(tensor)), tf.float32) for tensor in parts.tensors(gradients)]
    )
    nan_or_zero = tf.where(_sum_over_devices(overflows) > 0, np.nan, 0.0)
    index = next(index for index, gradient in enumerate(gradients) if gradient is not None)
    marked = tf.convert_to_tensor(gradients[index])
    return [*gradients[:index], marked + tf.cast(nan_or_zero, marked.dtype), *gradients[index + 1 :]]


def _track(model: keras.Model, loss, size, total, valid_count) -> None:
    """Adds this device's part of the loss to the tracker; the parts of all devices add up to the loss of the batch."""
    # The tracker multiplies by this device's number of examples and divides by that of all devices.
    mean = loss * tf.cast(tf.math.divide_no_nan(total, tf.cast(size, total.dtype)), loss.dtype)
    keras_training.track_loss(model, mean, size if valid_count is None else valid_count)


def _metrics(model: keras.Model, x, y, y_pred, sample_weight, valid_count) -> dict:
    x, y, y_pred, sample_weight = (shards.valid_examples(nest, valid_count) for nest in (x, y, y_pred, sample_weight))
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _total(size, shard, replicas: int) -> tf.Tensor:
    """float32 scalar tensor, the examples on all devices together, copies included; a `Shard` needs no communication."""
    if shard is None:
        return _sum_over_devices(tf.cast(size, tf.float32))
    copies = tf.where(shard.global_batch_size < replicas, tf.constant(replicas, tf.int64), tf.constant(1, tf.int64))
    return tf.cast(shard.global_batch_size * copies, tf.float32)


def _loss_weight(model: keras.Model, sample_weight, size, shard):
    """`sample_weight` for the loss; divided by the number of devices where a summed loss counts the batch on every device."""
    if shard is None or "sum" not in keras_training.loss_reductions(model):
        return sample_weight
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    fraction = tf.where(shard.global_batch_size < replicas, 1 / replicas, 1.0)
    if sample_weight is None:
        return tf.fill([size], fraction)
    return keras.tree.map_structure(lambda leaf: leaf * tf.cast(fraction, leaf.dtype), sample_weight)


def _sum_over_devices(value):
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce("SUM", value)


def _forward(model: keras.Model) -> Callable:
    return model if keras_training.takes_training(model) else lambda x, training: model(x)


def _first_leaf(x) -> tf.Tensor:
    return next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)


def _factor(model: keras.Model, part_size, total, replicas: int, dtype) -> tf.Tensor:
    """Weight of a micro-batch's loss in the loss of the whole batch, times the devices over which Keras averages."""
    if keras_training.loss_reductions(model)[:1] == ["sum"]:
        return tf.ones((), dtype)
    return tf.cast(part_size, dtype) * replicas / tf.cast(total, dtype)


def _is_keras(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("keras", "builtins", "tensorflow")
