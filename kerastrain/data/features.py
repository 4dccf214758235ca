"""What a frozen model says about every example, computed once.

Takes a model and `Examples`, gives `Examples` of features, which `batches` serves like any other. While the backbone
is frozen and nothing is augmented, an epoch of the head then costs the head alone. Must not train.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from kerastrain.data.examples import Examples
from kerastrain.data.pipeline import batches
from kerastrain.distribute import collectives


def precompute(model: keras.Model, examples: Examples, global_batch_size: int = 32) -> Examples:
    """The examples with their inputs replaced by the model's outputs.

    Args:
        model: keras.Model from the examples' inputs to float features (n, ...), called with training=False.
        examples: Examples that the model can take.
        global_batch_size: int > 0, examples in one forward pass.

    Returns:
        Examples with `inputs` float32 (n, ...), the outputs in the order of `examples`; all else unchanged.

    Example:
        >>> head_data = precompute(backbone, split.train)  # doctest: +SKIP
        >>> head.fit(batches(head_data, 32, shuffle=True))  # doctest: +SKIP
    """
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        outputs = model.predict(batches(examples, global_batch_size), verbose=0)
        return dataclasses.replace(examples, inputs=np.asarray(outputs, np.float32))
    workers, worker = collectives.worker_count(strategy), collectives.worker_index(strategy)
    share = -(-len(examples) // workers)
    # Each worker a stretch of the same length; what it has too much is cut off in the end.
    own = examples.subset(np.minimum(np.arange(share) + worker * share, len(examples) - 1))
    outputs = [_answers(strategy, model, batch[0]) for batch in batches(own, global_batch_size)]
    found = collectives.all_gather(strategy, [np.concatenate(outputs).astype(np.float32)])
    return dataclasses.replace(examples, inputs=np.concatenate([array for (array,) in found])[: len(examples)])


def _answers(strategy: tf.distribute.Strategy, model: keras.Model, inputs: tf.Tensor) -> np.ndarray:
    """What a model under a strategy says of inputs, divided among the devices of this process."""
    # Counted, not asked: replicas that all return the same Python object come back from `run` as one.
    devices = strategy.num_replicas_in_sync // collectives.worker_count(strategy)
    # No device is asked about no example: what is added is cut off in the end.
    parts = np.array_split(inputs.numpy()[np.minimum(np.arange(max(len(inputs), devices)), len(inputs) - 1)], devices)
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group % devices])
    )
    answers = strategy.run(tf.function(lambda own: model(own, training=False), reduce_retracing=True), (values,))
    return np.concatenate([part.numpy() for part in strategy.experimental_local_results(answers)])[: len(inputs)]
