"""The loss and the accuracy of a language model, of the next tokens that are to be learned.

Takes targets and logits; returns a number for each sequence. Must not know of texts.
"""

import keras

from kerastrain.language.batches import NOT_LEARNED


@keras.saving.register_keras_serializable("kerastrain")
class NextTokenCrossentropy(keras.losses.Loss):
    """The mean cross-entropy of a sequence's learned tokens, in nats.

        loss = - mean over learned tokens t of log softmax(logits_t)[target_t]

    int (b, tokens) targets, `NOT_LEARNED` where nothing is learned, and float logits (b, tokens, vocabulary) to float32 (b,).

    Args:
        **options: `reduction`, `name` and `dtype` of a Keras loss.

    Example:
        >>> import numpy as np
        >>> round(float(NextTokenCrossentropy()(np.array([[1, -1]]), np.zeros((1, 2, 4), "float32"))), 4)
        1.3863
    """

    def __init__(self, **options: object):
        super().__init__(**{"name": "next_token_crossentropy", **options})

    def call(self, y_true, y_pred):
        """The loss of each sequence, (b,)."""
        ops = keras.ops
        targets = ops.cast(y_true, "int32")
        known = ops.where(targets == NOT_LEARNED, 0, targets)
        losses = ops.sparse_categorical_crossentropy(known, ops.cast(y_pred, "float32"), from_logits=True)
        return _mean_of_learned(losses, targets)


@keras.saving.register_keras_serializable("kerastrain")
def next_token_accuracy(y_true, y_pred):
    """The fraction of a sequence's learned tokens that have the highest logit.

    Args:
        y_true: int (b, tokens), `NOT_LEARNED` where nothing is learned.
        y_pred: float (b, tokens, vocabulary).

    Returns:
        float32 (b,) in [0, 1].
    """
    targets = keras.ops.cast(y_true, "int32")
    right = keras.ops.cast(keras.ops.argmax(y_pred, axis=-1), "int32") == targets
    return _mean_of_learned(keras.ops.cast(right, "float32"), targets)


def _mean_of_learned(values, targets):
    ops = keras.ops
    learned = ops.cast(targets != NOT_LEARNED, "float32")
    return ops.sum(values * learned, axis=-1) / ops.maximum(ops.sum(learned, axis=-1), 1)
