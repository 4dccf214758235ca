"""The memory that one training step takes, measured by taking it.

Takes a compiled model and some examples; gives bytes, and leaves the model as it was. Must not change the model.
"""

import keras
import tensorflow as tf

from kerastrain import data, distribute
from kerastrain.errors import InputError
from kerastrain.finders import memory_use
from kerastrain.finders.batch_size_search import first_batch, repeated
from kerastrain.finders.restoring import restored


def step_memory(model: keras.Model, batches: tf.data.Dataset | data.Examples, *, batch_size: int) -> int:
    """The bytes that a step with a batch of that size adds while it runs, of the fullest GPU or of the process.

    A step with the smallest batch comes first, so that what TensorFlow takes once does not count. On a CPU it is
    resident memory, and what the process had freed but kept may serve again: measure in a fresh process. The model
    comes back bit by bit.

    Args:
        model: keras.Model, built and compiled.
        batches: tf.data.Dataset of batches as for `fit`, or Examples; the first batch is repeated to the size.
        batch_size: int > 0, examples of the step over all devices.

    Returns:
        int, bytes.

    Raises:
        InputError: `batch_size` is below the number of devices, there are no examples, or the model is not built or
            compiled.
        tf.errors.ResourceExhaustedError: the step does not fit.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> step_memory(model, tf.data.Dataset.from_tensors((tf.ones((4, 8)), tf.ones((4, 1)))), batch_size=32) >= 0
        True
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    if batch_size < replicas:
        raise InputError(f"`batch_size` must be at least {replicas}, the number of devices. Received: {batch_size}.")
    examples = first_batch(batches)
    kept = getattr(model.optimizer, "built", False)
    with restored(model, keep_optimizer=kept):
        for size in (replicas, batch_size):
            steps = distribute.shard(repeated(examples, size, 1), model.distribute_strategy)
            before = memory_use.current_bytes()
            memory_use.reset_peak()
            model.fit(steps, steps_per_epoch=1, shuffle=False, verbose=0)
        return max(memory_use.peak_bytes() - before, 0)
