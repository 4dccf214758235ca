"""Patches for bugs of Keras's own trainer on several devices, applied to the process.

Takes nothing and returns nothing: `patch` replaces seven names of `keras.src.backend.tensorflow.trainer`. On one device
each behaves as before. Must contain nothing but these patches.

1. `reduce_per_replica` reduces the scalars that a step returns along an axis that they do not have, when there are
   several workers: `fit` raises. https://github.com/keras-team/keras/issues/20585
2. `_maybe_symbolic_build` averages the first batch over the devices only to read its shape: it raises with several
   workers (the same issue), with strings, and where the devices have parts of unequal size.
3. `train_step` averages the means of the devices, whatever their number of examples: an uneven last batch changes the
   weights by up to 5e-2, silently. See `kerastrain.train_step.exact_step`; it, `test_step` and `predict_step` also accept
   the `Shard` of a batch that `kerastrain.distribute.shard` returns.
4. `_make_function` takes `steps_per_execution` steps in a `tf.cond` within a `tf.while_loop`, where the collectives of
   several workers fail ("You must feed a value for placeholder tensor"), and `TFEpochIterator` lets it read on where the
   steps of an epoch or a validation are not a multiple of it, so that examples of the next epoch count, silently.

The private names were read in Keras 3.12.4 and 3.15.1. `tests/train_step/test_keras_trainer.py` fails once Keras has fixed
one of the bugs.
"""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from kerastrain.errors import InputError
from kerastrain.train_step import exact_step, shards

PRIVATE_NAMES = ("reduce_per_replica", "_collective_all_reduce_multi_worker", "TensorFlowTrainer", "TFEpochIterator")
FIRST_VERSION, LAST_VERSION = (3, 12), (3, 15)

_reduce_per_replica = getattr(trainer, "reduce_per_replica", None)
_maybe_symbolic_build = getattr(trainer.TensorFlowTrainer, "_maybe_symbolic_build", None)
_STEPS = ("train_step", "test_step", "predict_step")
_make_function = getattr(trainer.TensorFlowTrainer, "_make_function", None)
_EpochIterator = getattr(trainer, "TFEpochIterator", object)
_steps = {name: getattr(trainer.TensorFlowTrainer, name) for name in _STEPS}


def patch() -> None:
    """Applies the patches to Keras; a second call changes nothing.

    Raises:
        ImportError: this version of Keras was never tested, or does not have the private names.
    """
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    missing = [name for name in PRIVATE_NAMES if not hasattr(trainer, name)]
    if not FIRST_VERSION <= version <= LAST_VERSION or missing or None in (_maybe_symbolic_build, _make_function):
        raise ImportError(
            f"kerastrain trains on several devices through private names of Keras 3.12 to 3.15. Received: Keras "
            f"{keras.__version__}. Without these patches the weights would be wrong. Install keras>=3.13.2,<3.16, or train "
            f"on one device."
        )
    trainer.reduce_per_replica = _patched_reduce_per_replica
    trainer.TFEpochIterator = _PatchedEpochIterator
    trainer.TensorFlowTrainer._maybe_symbolic_build = _patched_maybe_symbolic_build
    trainer.TensorFlowTrainer._make_function = _patched_make_function
    steps = {"train_step": _patched_train_step, "test_step": _patched_test_step, "predict_step": _patched_predict_step}
    for name, step in steps.items():
        setattr(trainer.TensorFlowTrainer, name, step)


def is_patched() -> bool:
    """Whether the patches are applied."""
    return trainer.TensorFlowTrainer.train_step is _patched_train_step


def unpatch() -> None:
    """Removes the patches."""
    trainer.reduce_per_replica = _reduce_per_replica
    trainer.TFEpochIterator = _EpochIterator
    trainer.TensorFlowTrainer._maybe_symbolic_build = _maybe_symbolic_build
    trainer.TensorFlowTrainer._make_function = _make_function
    for name, step in _steps.items():
        setattr(trainer.TensorFlowTrainer, name, step)


def _patched_reduce_per_replica(values, strategy, reduction):
    """Averages the scalars of a step over all workers; leaves every other case to Keras."""
    if reduction in ("auto", "mean") and trainer._collective_all_reduce_multi_worker(strategy):
        leaves = keras.tree.flatten(values)
        if any(len(strategy.experimental_local_results(leaf)[0].shape) for leaf in leaves):
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        # Stacked into one tensor, because each message between workers costs time.
        rows = strategy.run(lambda *own: tf.stack([tf.cast(leaf, tf.float32) for leaf in own]), args=tuple(leaves))
        means = tf.unstack(strategy.reduce("MEAN", rows, axis=None), num=len(leaves))
        return keras.tree.pack_sequence_as(values, means)
    return _reduce_per_replica(values, strategy, reduction)


def _patched_maybe_symbolic_build(self, iterator=None, data_batch=None):
    """Builds the model from the first device's part of the first batch."""
    strategy = self._distribute_strategy
    if strategy is None or iterator is None or strategy.num_replicas_in_sync == 1:
        return _maybe_symbolic_build(self, iterator=iterator, data_batch=data_batch)
    for _, _, batches in iterator:
        data_batch = keras.tree.map_structure(lambda part: strategy.experimental_local_results(part)[0], next(batches))
        break
    if isinstance(data_batch, shards.Shard):
        _check_accepts_shards(self)
        data_batch = data_batch.batch
    with strategy.scope():
        return self._symbolic_build(data_batch=data_batch)


def _patched_train_step(self, data):
    """Keras's train step on one device, the exact step on several."""
    if _is_single_device() or not self.trainable_weights:
        return _steps["train_step"](self, shards.unpack(data)[0])
    return exact_step.train_step(self, data)


def _patched_test_step(self, data):
    """Keras's test step on one device, the exact step on several."""
    return _steps["test_step"](self, data) if _is_single_device() else exact_step.test_step(self, data, forward=None)


def _patched_predict_step(self, data):
    """Keras's predict step on one device, the step that accepts shards on several."""
    return _steps["predict_step"](self, data) if _is_single_device() else exact_step.predict_step(self, data)


class _PatchedEpochIterator(_EpochIterator):
    """Keras's iterator, which on several devices never reads past the end of the epoch."""

    def _enumerate_iterator(self):
        steps = self.steps_per_epoch or self._num_batches
        for begin, end, iterator in super()._enumerate_iterator():
            if self.steps_per_execution == 1 or self._distribute_strategy.num_replicas_in_sync == 1:
                yield begin, end, iterator
            else:
                end = min(end, steps - 1) if steps else end
                yield begin, end, _Steps(iterator, end - begin + 1)


@dataclass
class _Steps:
    """The next `count` batches of a distributed iterator."""

    iterator: tf.distribute.DistributedIterator
    count: int

    def __next__(self):
        if self.count == 0:
            raise StopIteration
        self.count -= 1
        return next(self.iterator)


def _patched_make_function(self, step_function):
    """Keras's function of an iterator; on several devices a function that takes the steps of a `_Steps` in a plain loop."""
    strategy = self.distribute_strategy
    if self.steps_per_execution == 1 or strategy.num_replicas_in_sync == 1:
        return _make_function(self, step_function)

    @tf.autograph.experimental.do_not_convert
    def one_step(batch):
        return _patched_reduce_per_replica(strategy.run(step_function, args=(batch,)), strategy, reduction="auto")

    @tf.autograph.experimental.do_not_convert
    def steps(iterator, count):
        def next_step(number, _):
            return number + 1, one_step(iterator.get_next())

        first = one_step(iterator.get_next())
        return tf.while_loop(lambda number, _: number < count, next_step, (tf.constant(1), first))[1]

    if not self.run_eagerly:
        one_step = tf.function(one_step, reduce_retracing=True, jit_compile=self.jit_compile)
        steps = tf.function(steps, reduce_retracing=True)
    return lambda batches: steps(batches.iterator, tf.constant(batches.count))


def _is_single_device() -> bool:
    return tf.distribute.get_strategy().num_replicas_in_sync == 1


def _check_accepts_shards(model: keras.Model) -> None:
    overridden = [name for name in _STEPS[:2] if exact_step.overrides(model, name)]
    if overridden:
        raise InputError(
            f"a model that trains on a dataset of `kerastrain.distribute.shard` must use Keras's own steps. Received: "
            f"{type(model).__module__}.{type(model).__qualname__}, which overrides `{overridden[0]}`. Move what it computes "
            "to `compute_loss`, or distribute its dataset by the strategy's `experimental_distribute_dataset`."
        )
