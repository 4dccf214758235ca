"""What Keras's own trainer gets wrong on several devices, mended for the process.

Takes nothing, gives nothing: `mend` replaces seven names of `keras.src.backend.tensorflow.trainer`, once. Each
does what it did before wherever there is only one device. Must hold nothing but these patches.

1. `reduce_per_replica` reduces the scalars that a step returns along an axis that they do not have, when there are
   several workers: `fit` raises. https://github.com/keras-team/keras/issues/20585
2. `_maybe_symbolic_build` averages the first batch over the devices in order to see its shape: it raises with several
   workers (the same issue), with strings, and where the devices got parts of unequal size.
3. `train_step` averages the means of the devices, whatever their number of examples: an uneven last batch moves the
   weights by up to 5e-2, silently. See `kerastrain.train_step.exact_step`; it, `test_step` and `predict_step` also take
   the `Shard` of a batch that `kerastrain.distribute.shard` gives.
4. `_make_function` takes `steps_per_execution` steps in a `tf.cond` within a `tf.while_loop`, where the collectives of
   several workers fail ("You must feed a value for placeholder tensor"), and `TFEpochIterator` lets it read on where the
   steps of an epoch or a validation do not divide by it, so that examples of the next count, silently.

The private names were read in Keras 3.12.4 and 3.15.1. `tests/train_step/test_keras_trainer.py` fails once Keras has mended one.
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
    """Puts the patches into Keras; a second call changes nothing.

    Raises:
        ImportError: this Keras was never tried, or has not the private names any more.
    """
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    missing = [name for name in PRIVATE_NAMES if not hasattr(trainer, name)]
    if not FIRST_VERSION <= version <= LAST_VERSION or missing or None in (_maybe_symbolic_build, _make_function):
        raise ImportError(
            f"kerastrain trains on several devices through private names of Keras 3.12 to 3.15. Received: Keras "
            f"{keras.__version__}. Without them the weights would be wrong. Install keras>=3.13.2,<3.16, or train on "
            f"one device."
        )
    trainer.reduce_per_replica = reduce_per_replica
    trainer.TFEpochIterator = EpochIterator
    trainer.TensorFlowTrainer._maybe_symbolic_build = maybe_symbolic_build
    trainer.TensorFlowTrainer._make_function = make_function
    for name, step in {"train_step": train_step, "test_step": test_step, "predict_step": predict_step}.items():
        setattr(trainer.TensorFlowTrainer, name, step)


def is_patched() -> bool:
    """Whether the patches are in Keras now."""
    return trainer.TensorFlowTrainer.train_step is train_step


def unpatch() -> None:
    """Takes the patches out again."""
    trainer.reduce_per_replica = _reduce_per_replica
    trainer.TFEpochIterator = _EpochIterator
    trainer.TensorFlowTrainer._maybe_symbolic_build = _maybe_symbolic_build
    trainer.TensorFlowTrainer._make_function = _make_function
    for name, step in _steps.items():
        setattr(trainer.TensorFlowTrainer, name, step)


def reduce_per_replica(values, strategy, reduction):
    """The mean over all workers of the scalars of a step; everything else as Keras does it."""
    if reduction in ("auto", "mean") and trainer._collective_all_reduce_multi_worker(strategy):
        leaves = keras.tree.flatten(values)
        if any(len(strategy.experimental_local_results(leaf)[0].shape) for leaf in leaves):
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        # Side by side, since each word between workers has its price.
        rows = strategy.run(lambda *own: tf.stack([tf.cast(leaf, tf.float32) for leaf in own]), args=tuple(leaves))
        means = tf.unstack(strategy.reduce("MEAN", rows, axis=None), num=len(leaves))
        return keras.tree.pack_sequence_as(values, means)
    return _reduce_per_replica(values, strategy, reduction)


def maybe_symbolic_build(self, iterator=None, data_batch=None):
    """Builds the model from the first device's part of the first batch."""
    strategy = self._distribute_strategy
    if strategy is None or iterator is None or strategy.num_replicas_in_sync == 1:
        return _maybe_symbolic_build(self, iterator=iterator, data_batch=data_batch)
    for _, _, batches in iterator:
        data_batch = keras.tree.map_structure(lambda part: strategy.experimental_local_results(part)[0], next(batches))
        break
    if isinstance(data_batch, shards.Shard):
        _check_takes_shares(self)
        data_batch = data_batch.batch
    with strategy.scope():
        return self._symbolic_build(data_batch=data_batch)


def train_step(self, data):
    """Keras's train step on one device, the exact one on several."""
    if _is_alone() or not self.trainable_weights:
        return _steps["train_step"](self, shards.unpack(data)[0])
    return exact_step.train_step(self, data)


def test_step(self, data):
    """Keras's test step on one device, the exact one on several."""
    return _steps["test_step"](self, data) if _is_alone() else exact_step.test_step(self, data)


def predict_step(self, data):
    """Keras's predict step on one device, the one that knows shares on several."""
    return _steps["predict_step"](self, data) if _is_alone() else exact_step.predict_step(self, data)


class EpochIterator(_EpochIterator):
    """Keras's, which in front of several devices never takes a step that is not of the epoch."""

    def _enumerate_iterator(self):
        steps = self.steps_per_epoch or self._num_batches
        for begin, end, iterator in super()._enumerate_iterator():
            if self.steps_per_execution == 1 or self._distribute_strategy.num_replicas_in_sync == 1:
                yield begin, end, iterator
            else:
                end = min(end, steps - 1) if steps else end
                yield begin, end, Steps(iterator, end - begin + 1)


@dataclass
class Steps:
    """The next `count` batches of a distributed iterator."""

    iterator: tf.distribute.DistributedIterator
    count: int

    def __next__(self):
        if self.count == 0:
            raise StopIteration
        self.count -= 1
        return next(self.iterator)


def make_function(self, step_function):
    """Keras's function of an iterator; on several devices one that takes the steps of a `Steps` in a plain loop."""
    strategy = self.distribute_strategy
    if self.steps_per_execution == 1 or strategy.num_replicas_in_sync == 1:
        return _make_function(self, step_function)

    @tf.autograph.experimental.do_not_convert
    def one_step(batch):
        return reduce_per_replica(strategy.run(step_function, args=(batch,)), strategy, reduction="auto")

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


def _is_alone() -> bool:
    return tf.distribute.get_strategy().num_replicas_in_sync == 1


def _check_takes_shares(model: keras.Model) -> None:
    own = [name for name in _STEPS[:2] if exact_step.is_own(model, name)]
    if own:
        raise InputError(
            f"a model that is fed by `kerastrain.distribute.shard` must take Keras's own steps. Received: "
            f"{type(model).__module__}.{type(model).__qualname__}, which has its own `{own[0]}`. Put what it computes into "
            "`compute_loss`, or feed it by the strategy's `experimental_distribute_dataset`."
        )
