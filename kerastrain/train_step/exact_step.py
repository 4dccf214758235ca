"""One optimizer step that is the same however many devices and micro-batches share its batch.

Takes a compiled `keras.Model` and a batch; changes the model's weights as one device would with the whole batch. Must
not know how devices are found or data is read.

The private names are `_call_has_training_arg`, `_compute_loss`, `_loss_tracker` and `_symbolic_build` of `keras.Model`,
which Keras's own `fit` uses, read in Keras 3.12.4 and 3.15.1.

With R devices, of which device r holds b_r of the B examples in M_r micro-batches of b_rm, and the loss a mean over
examples plus regularization, the gradient of the whole batch is

    g = sum over r and m of  b_rm / B * gradient(mean loss of micro-batch rm + regularization),

while Keras takes 1 / R in place of b_r / B: wrong as soon as the devices' parts are not of one size.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number
from kerastrain.train_step import shards, support

logger = logging.getLogger("kerastrain")


@dataclass
class ExactStep:
    """A `train_step` for one model; `kerastrain.memory` sets how it saves memory.

    Args:
        model: keras.Model.
        micro_batches: int > 0, parts of each device's batch.
        forward: callable (inputs, training) -> outputs in place of the model's own call; None for that.
        overlapping: bool, whether the micro-batches may run at the same time, each on another device of a pipeline.
    """

    model: keras.Model
    micro_batches: int = 1
    forward: Callable | None = None
    overlapping: bool = False

    def __call__(self, data) -> dict:
        """One step."""
        if self.model.jit_compile:
            raise InputError(
                "XLA keeps the activations that micro-batches and blocks are there to free. Received: a model that was "
                "compiled anew, with jit_compile=True or with what 'auto' is on a GPU. Compile it with "
                "jit_compile=False."
            )
        return train_step(
            self.model,
            data,
            micro_batches=self.micro_batches,
            forward=self.forward,
            overlapping=self.overlapping,
        )


def install(model: keras.Model) -> ExactStep:
    """The step that `model` takes in `fit`, put in place of Keras's own on the first call; without XLA.

    XLA runs these steps to the same result, but reorders them: measured on a CPU, their memory was that of a plain step.

    Raises:
        TypeError: the model brings a `train_step` of its own.
    """
    if is_own(model, "train_step"):
        raise TypeError(
            f"`model` must train by Keras's own `train_step`. Received: {type(model).__module__}."
            f"{type(model).__qualname__}, which has one of its own. Split the batch there."
        )
    if not isinstance(model.train_step, ExactStep):
        model.train_step = ExactStep(model)
    if model.compiled and model.jit_compile:
        logger.info("XLA is off for %s: it would keep the activations that are to be freed", model.name)
        model.jit_compile = False
    model.train_function = None
    return model.train_step


def is_own(model: keras.Model, name: str) -> bool:
    """Whether the method of that name is the model's own, and not Keras's."""
    return any(name in vars(cls) for cls in type(model).__mro__ if not _is_keras(cls))


def build(model: keras.Model, batch) -> None:
    """Makes whatever a first step on such a batch would make: slots of the optimizer, variables of loss and metrics."""
    model._symbolic_build(data_batch=batch)


def split(model: keras.Model, micro_batches: int, *, overlapping: bool = False) -> None:
    """Lets `model` take its steps in micro-batches.

    Raises:
        TypeError: the model brings a `train_step` of its own.
        InputError: `micro_batches` is no positive int, or a BatchNormalization would see only its micro-batch.
    """
    if not is_whole_number(micro_batches) or micro_batches < 1:
        raise InputError(f"`micro_batches` must be an int of at least 1. Received: {micro_batches!r}.")
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    seeing = [layer.name for layer in norms if layer.trainable]
    if micro_batches > 1 and seeing:
        raise InputError(
            f"a BatchNormalization would see only its micro-batch, and the weights would differ. Received: "
            f"{', '.join(seeing)}. Freeze them with `layer.trainable = False`, or take GroupNormalization."
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
    """What `keras.Model.train_step` does, exact on uneven parts and in micro-batches.

    The micro-batches run one after the other, each freeing its activations before the next, or where they may overlap
    each as soon as its device is free; the weights change only when all gradients are there.

    Args:
        model: keras.Model, compiled; called in the replica context of a strategy, or on one device.
        data: this device's part of the batch, as Keras's `train_step` takes it, or a `Shard`.
        micro_batches: int > 0, equal parts (to one example) into which it is split.
        forward: callable (inputs, training) -> outputs in place of the model's own call; None for that.
        overlapping: bool, whether the micro-batches may run at the same time.

    Returns:
        dict of the metrics' results.

    Raises:
        InputError: loss or optimizer cannot be shared exactly; see `exactness.check`.
    """
    batch, valid_count, shard = shards.unpack(data)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    weights = model.trainable_weights
    if not model.optimizer.built:
        model.optimizer.build(weights)  # here, since XLA takes no variable whose value waits for a gradient
    size = batch_size(x)
    total, loss_weight = _total(size, shard, replicas), _shared_by_copies(model, sample_weight, size, shard)
    micro_batches = min(micro_batches, _leading(x).shape[0] or micro_batches)
    gradients, loss_sum, predictions = [None] * len(weights), 0.0, []
    for number in range(micro_batches):
        after = [] if overlapping else gradients
        part, part_size = _part((x, y, loss_weight), number, micro_batches, size, after=after)
        with tf.GradientTape() as tape:
            y_pred = (forward or _call(model))(part[0], training=True)
            loss = model._compute_loss(x=part[0], y=part[1], y_pred=y_pred, sample_weight=part[2], training=True)
            support.check(model, y_pred, part[2], replicas=replicas, micro_batches=micro_batches)
            factor = _factor(model, part_size, total, replicas, loss.dtype)
            loss = loss * factor
            scaled = model.optimizer.scale_loss(loss)
        gradients = [_sum(*pair) for pair in zip(gradients, tape.gradient(scaled, weights), strict=True)]
        loss_sum += tf.stop_gradient(loss)
        predictions.append(y_pred if micro_batches == 1 else shards.counting(y_pred, part_size))
    with tf.control_dependencies(_tensors(gradients)):
        _track(model, loss_sum, size, total, valid_count)
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _left_out_together(gradients)
        model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
    y_pred = predictions[0] if micro_batches == 1 else keras.tree.map_structure(_joined, *predictions)
    return _metrics(model, x, y, y_pred, sample_weight, valid_count)


def test_step(model: keras.Model, data) -> dict:
    """What `keras.Model.test_step` does, exact on uneven parts; for the arguments see `train_step`."""
    batch, valid_count, shard = shards.unpack(data)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    replicas, size = tf.distribute.get_strategy().num_replicas_in_sync, batch_size(x)
    total, loss_weight = _total(size, shard, replicas), _shared_by_copies(model, sample_weight, size, shard)
    y_pred = _call(model)(x, training=False)
    loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=loss_weight, training=False)
    _track(model, loss * _factor(model, size, total, replicas, loss.dtype), size, total, valid_count)
    return _metrics(model, x, y, y_pred, sample_weight, valid_count)


def predict_step(model: keras.Model, data):
    """What `keras.Model.predict_step` does, for the examples of a `Shard` that count."""
    batch, valid_count, _ = shards.unpack(data)
    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return shards.counting(_call(model)(x, training=False), valid_count)


def batch_size(x) -> tf.Tensor:
    """int32 scalar tensor, the examples in the inputs of a batch."""
    return tf.shape(_leading(x))[0]


def _left_out_together(gradients):
    """The gradients of this device, one of them no number if any of any device is none.

    A LossScaleOptimizer leaves out the step in which the first device's gradients overflow, or in workers each by itself,
    as if they had been summed over the devices before; what only another one has would make all weights NaN.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return gradients
    overflows = tf.add_n(
        [tf.cast(tf.reduce_any(~tf.math.is_finite(tensor)), tf.float32) for tensor in _tensors(gradients)]
    )
    mark = tf.where(_over_devices(overflows) > 0, np.nan, 0.0)
    place = next(place for place, gradient in enumerate(gradients) if gradient is not None)
    marked = tf.convert_to_tensor(gradients[place])
    return [*gradients[:place], marked + tf.cast(mark, marked.dtype), *gradients[place + 1 :]]


def _track(model: keras.Model, loss, size, total, valid_count) -> None:
    """Counts this device's share of the loss; the shares of all devices add up to it."""
    # The tracker multiplies by the number of examples and divides by that of all devices.
    mean = loss * tf.cast(tf.math.divide_no_nan(total, tf.cast(size, total.dtype)), loss.dtype)
    model._loss_tracker.update_state(mean, sample_weight=size if valid_count is None else valid_count)


def _metrics(model: keras.Model, x, y, y_pred, sample_weight, valid_count) -> dict:
    x, y, y_pred, sample_weight = (shards.counting(one, valid_count) for one in (x, y, y_pred, sample_weight))
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _total(size, shard, replicas: int) -> tf.Tensor:
    """float32 scalar tensor, the examples that all devices have together, copies too; a `Shard` knows them unasked."""
    if shard is None:
        return _over_devices(tf.cast(size, tf.float32))
    copies = tf.where(shard.global_batch_size < replicas, tf.constant(replicas, tf.int64), tf.constant(1, tf.int64))
    return tf.cast(shard.global_batch_size * copies, tf.float32)


def _shared_by_copies(model: keras.Model, sample_weight, size, shard):
    """`sample_weight` for a loss that is a sum: where all devices have the whole batch, each takes its part of it."""
    if shard is None or "sum" not in support.reductions(model):
        return sample_weight
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    part = tf.where(shard.global_batch_size < replicas, 1 / replicas, 1.0)
    if sample_weight is None:
        return tf.fill([size], part)
    return keras.tree.map_structure(lambda leaf: leaf * tf.cast(part, leaf.dtype), sample_weight)


def _over_devices(value):
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce("SUM", value)


def _call(model: keras.Model) -> Callable:
    return model if model._call_has_training_arg else lambda x, training: model(x)


def _leading(x) -> tf.Tensor:
    return next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)


def _factor(model: keras.Model, part_size, total, replicas: int, dtype) -> tf.Tensor:
    if support.reductions(model)[:1] == ["sum"]:
        return tf.ones((), dtype)
    return tf.cast(part_size, dtype) * replicas / tf.cast(total, dtype)


def _part(data, number: int, count: int, size, *, after):
    """Examples size * number // count to size * (number + 1) // count, read when `after` has been computed, and how many.

    Where there is none, one example that is not to count: what fails on no example need not see that there is none.
    """
    if count == 1:
        return data, size
    begin, end = size * number // count, size * (number + 1) // count
    first = tf.minimum(begin, size - 1)
    last = tf.maximum(end, first + 1)
    with tf.control_dependencies(_tensors(after)):
        part = keras.tree.map_structure(lambda leaf: None if leaf is None else tf.identity(leaf[first:last]), data)
    return part, end - begin


def _sum(first, second):
    if first is None or second is None:
        return second if first is None else first
    with tf.device(first.device or None):
        return tf.convert_to_tensor(first) + tf.convert_to_tensor(second)


def _tensors(gradients) -> list[tf.Tensor]:
    tensors = [gradient for gradient in gradients if gradient is not None]
    return [tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor for tensor in tensors]


def _joined(*parts):
    return tf.concat(parts, axis=0)


def _is_keras(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("keras", "builtins", "tensorflow")
