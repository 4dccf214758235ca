"""Memory of one training step, measured by taking it.

Takes a compiled model and some examples; returns bytes, and restores the model.
"""

import keras
import tensorflow as tf

from kerastrain import data, distribute
from kerastrain.errors import InputError
from kerastrain.finders import memory_use
from kerastrain.finders.batch_size_search import first_batch, repeated
from kerastrain.finders.restoring import restored


def step_memory(model: keras.Model, dataset: tf.data.Dataset | data.Examples, *, batch_size: int) -> int:
    """Memory that a step with `batch_size` examples adds while it runs: of the fullest GPU, or of the process.

    A step with the smallest batch runs first, so that what TensorFlow allocates only once does not count. On a CPU this
    is resident memory, and the step may reuse memory that the process had freed but kept: measure in a fresh process.
    The model is restored bit for bit.

    Args:
        model: keras.Model, built and compiled.
        dataset: tf.data.Dataset of batches as for `fit`, or Examples; the first batch is repeated to `batch_size`.
        batch_size: int >= the number of devices, the examples of the step over all devices.

    Returns:
        int >= 0, bytes.

    Raises:
        InputError: `batch_size` is below the number of devices, there are no examples, or the model is not built or
            compiled.
        tf.errors.ResourceExhaustedError: the step does not fit into memory.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> step_memory(model, tf.data.Dataset.from_tensors((tf.ones((4, 8)), tf.ones((4, 1)))), batch_size=32) >= 0
        True
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    if batch_size < replicas:
        raise InputError(f"`batch_size` must be at least {replicas}, the number of devices. Received: {batch_size}.")
    examples = first_batch(dataset)
    keep_optimizer = getattr(model.optimizer, "built", False)
    with restored(model, keep_optimizer=keep_optimizer):
        for size in (replicas, batch_size):
            steps = distribute.shard(repeated(examples, size, 1), model.distribute_strategy)
            before = memory_use.current_bytes()
            memory_use.reset_peak()
            model.fit(steps, steps_per_epoch=1, shuffle=False, verbose=0)
        return max(memory_use.peak_bytes() - before, 0)
