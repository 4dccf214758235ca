"""How well a language model predicts held-out text: loss, perplexity and accuracy of the next tokens.

Takes a `keras.Model` from `decoders.build` and `Sequences`; returns numbers. Must not train.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from kerastrain.evaluation import intervals
from kerastrain.language import batches

TASK = "language"
"""What "task" is in the measures of a language model."""

_LARGEST_LOSS = 700.0  # nats; exp of more is no float


def measure(model: keras.Model, sequences: batches.Sequences, *, batch_size: int = 8) -> dict:
    """Measures a language model on the learned tokens of sequences.

        loss = mean over learned tokens of -log p(token | the tokens before it),  perplexity = exp(loss)

    Args:
        model: keras.Model.
        sequences: Sequences.
        batch_size: int >= 1.

    Returns:
        dict with "task", "sequences" and "tokens" (the learned ones), "loss" in nats, "perplexity", "accuracy" (the fraction of
        tokens that have the highest logit), and "loss_interval" and "perplexity_interval", 95 % by the bootstrap over
        sequences, or None for a single sequence, of which nothing can be said.
    """
    loss, right, count = sums(model, sequences, batch_size=batch_size)
    mean = loss.sum() / count.sum()
    limits = None
    if len(loss) > 1:
        limits = intervals.bootstrap(lambda rows: loss[rows].sum() / count[rows].sum(), len(loss))
    return {
        "task": TASK,
        "sequences": len(loss),
        "tokens": int(count.sum()),
        "loss": float(mean),
        "loss_interval": limits and list(limits),
        "perplexity": _perplexity(mean),
        "perplexity_interval": limits and [_perplexity(limit) for limit in limits],
        "accuracy": float(right.sum() / count.sum()),
    }


def sums(model: keras.Model, sequences: batches.Sequences, *, batch_size: int = 8) -> np.ndarray:
    """Sums the losses of the learned tokens of each sequence.

    Args:
        model: keras.Model.
        sequences: Sequences.
        batch_size: int >= 1.

    Returns:
        float64 (3, n): the sum of the losses in nats, how many tokens have the highest logit, and the number of tokens.
    """

    @tf.function(reduce_retracing=True)
    def of_batch(inputs, targets):
        logits = model(inputs, training=False)
        learned = targets != batches.NOT_LEARNED
        known = tf.where(learned, targets, 0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(known, logits)
        right = tf.argmax(logits, axis=-1, output_type=tf.int32) == targets
        columns = (losses, tf.cast(right, tf.float32), tf.ones_like(losses))
        return tf.stack([tf.reduce_sum(tf.where(learned, column, 0), axis=1) for column in columns])

    parts = [of_batch(inputs, targets) for inputs, targets, _ in batches.evaluation_batches(sequences, batch_size)]
    result = np.empty((3, len(sequences)))
    result[:, batches.longest_first(sequences)] = np.concatenate(parts, axis=1)
    return result


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, _LARGEST_LOSS))
