"""What Keras's own trainer gets wrong on several devices, mended for the process.

Takes nothing, gives nothing: `mend` replaces three functions of `keras.src.backend.tensorflow.trainer`, once. Each
does what it did before wherever there is only one device. Must hold nothing but these patches.

1. `reduce_per_replica` reduces the scalars that a step returns along an axis that they do not have, when there are
   several workers: `fit` raises. https://github.com/keras-team/keras/issues/20585
2. `_maybe_symbolic_build` averages the first batch over the devices in order to see its shape: it raises with several
   workers (the same issue), with strings, and where the devices got parts of unequal size.
3. `train_step` averages the means of the devices, whatever their number of examples: an uneven last batch moves the
   weights by up to 5e-2, silently. See `kerastrain.distribute.exact_step`.

The private names were read in Keras 3.12.4 and 3.15.1. `tests/test_keras_trainer.py` fails once Keras has mended one.
"""

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer

from kerastrain.distribute import exact_step

PRIVATE_NAMES = ("reduce_per_replica", "_collective_all_reduce_multi_worker", "TensorFlowTrainer")
FIRST_VERSION, LAST_VERSION = (3, 12), (3, 15)

_reduce_per_replica = getattr(trainer, "reduce_per_replica", None)
_maybe_symbolic_build = getattr(trainer.TensorFlowTrainer, "_maybe_symbolic_build", None)
_train_step = trainer.TensorFlowTrainer.train_step


def mend() -> None:
    """Puts the three patches into Keras; a second call changes nothing.

    Raises:
        ImportError: this Keras was never tried, or has not the private names any more.
    """
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    missing = [name for name in PRIVATE_NAMES if not hasattr(trainer, name)]
    if not FIRST_VERSION <= version <= LAST_VERSION or missing or _maybe_symbolic_build is None:
        raise ImportError(
            f"kerastrain trains on several devices through private names of Keras 3.12 to 3.15. Received: Keras "
            f"{keras.__version__}. Without them the weights would be wrong. Install keras>=3.13.2,<3.16, or train on "
            f"one device."
        )
    trainer.reduce_per_replica = reduce_per_replica
    trainer.TensorFlowTrainer._maybe_symbolic_build = maybe_symbolic_build
    trainer.TensorFlowTrainer.train_step = train_step


def is_mended() -> bool:
    """Whether the patches are in Keras now."""
    return trainer.TensorFlowTrainer.train_step is train_step


def unmend() -> None:
    """Takes the three patches out again."""
    trainer.reduce_per_replica = _reduce_per_replica
    trainer.TensorFlowTrainer._maybe_symbolic_build = _maybe_symbolic_build
    trainer.TensorFlowTrainer.train_step = _train_step


def reduce_per_replica(values, strategy, reduction):
    """The mean over all workers of the scalars of a step; everything else as Keras does it."""
    if reduction in ("auto", "mean") and trainer._collective_all_reduce_multi_worker(strategy):
        return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
    return _reduce_per_replica(values, strategy, reduction)


def maybe_symbolic_build(self, iterator=None, data_batch=None):
    """Builds the model from the first device's part of the first batch."""
    strategy = self._distribute_strategy
    if strategy is None or iterator is None or strategy.num_replicas_in_sync == 1:
        return _maybe_symbolic_build(self, iterator=iterator, data_batch=data_batch)
    for _, _, batches in iterator:
        data_batch = keras.tree.map_structure(lambda part: strategy.experimental_local_results(part)[0], next(batches))
        break
    with strategy.scope():
        return self._symbolic_build(data_batch=data_batch)


def train_step(self, data):
    """Keras's train step on one device, the exact one on several."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1 or not self.trainable_weights:
        return _train_step(self, data)
    return exact_step.train_step(self, data)
