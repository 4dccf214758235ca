"""Preference tuning: a language model learns which of two answers people liked more.

Takes a `keras.Model` from `decoders.build` with adapters, and pairs of sequences; returns a model to fit and its batches. The
reference is the same model with its adapters switched off. Must not know of texts.

Reference: Rafailov et al. 2023, https://arxiv.org/abs/2305.18290.
"""

import functools
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.data import sampling
from kerastrain.errors import InputError
from kerastrain.language import adapters, decoders
from kerastrain.language.batches import Sequences
from kerastrain.language.sequences import NOT_LEARNED
from kerastrain.system.resources import processor_count


@dataclass(frozen=True, eq=False)
class Preferences:
    """Pairs of answers to the same prompt.

    Args:
        chosen: Sequences of n answers that people liked more, one in each sequence.
        rejected: Sequences of n answers to the same prompts that they liked less.
        reference: float32 (n, 2), the log-probability of both under the reference, see `reference`; None if it is not known yet.

    Raises:
        InputError: the numbers differ.
    """

    chosen: Sequences
    rejected: Sequences
    reference: np.ndarray | None = None

    def __post_init__(self):
        if len(self.chosen) != len(self.rejected):
            raise InputError(
                f"every chosen answer must have a rejected one. Received: {len(self.chosen)} and {len(self.rejected)}."
            )

    def __len__(self) -> int:
        return len(self.chosen)


@keras.saving.register_keras_serializable("kerastrain")
class SequenceLogProbability(keras.layers.Layer):
    """The sum of the log-probabilities of a sequence's learned tokens.

    float logits (b, tokens, vocabulary) and int32 targets (b, tokens), `NOT_LEARNED` where nothing is learned, to float32 (b,).

    Args:
        **options: `name` of a Keras layer.
    """

    def __init__(self, **options: object):
        super().__init__(**{"dtype": "float32", **options})

    def call(self, logits, targets):
        """The log-probability of each sequence."""
        ops = keras.ops
        learned = ops.cast(targets != NOT_LEARNED, "float32")
        known = ops.where(targets == NOT_LEARNED, 0, targets)
        losses = ops.sparse_categorical_crossentropy(known, ops.cast(logits, "float32"), from_logits=True)
        return -ops.sum(losses * learned, axis=-1)

    def compute_output_shape(self, logits_shape, targets_shape=None):
        """(b,)."""
        return logits_shape[:1]


@keras.saving.register_keras_serializable("kerastrain")
class PreferenceLoss(keras.losses.Loss):
    """The loss of direct preference optimization, of the margin between two answers.

        loss = -log σ(beta · margin)

    Targets (b, 1), which are not read, and margins (b, 1) to float32 (b,).

    Args:
        beta: float > 0, how far the model may leave its reference: the smaller, the farther.
        **options: `reduction`, `name` and `dtype` of a Keras loss.

    Raises:
        InputError: `beta` is not above 0.
    """

    def __init__(self, beta: float = 0.1, **options: object):
        super().__init__(**{"name": "preference_loss", **options})
        if not beta > 0:
            raise InputError(f"`beta` must be above 0. Received: {beta!r}.")
        self.beta = float(beta)

    def call(self, y_true, y_pred):
        """The loss of each pair, (b,)."""
        return keras.ops.softplus(-self.beta * keras.ops.cast(y_pred, "float32"))[:, 0]

    def get_config(self):
        """The arguments of the constructor."""
        return {**super().get_config(), "beta": self.beta}


def margin_model(model: keras.Model) -> keras.Model:
    """A model of pairs that shares the layers of a language model.

        margin = (log p(chosen) - log p_reference(chosen)) - (log p(rejected) - log p_reference(rejected))

    Args:
        model: keras.Model from `decoders.build`.

    Returns:
        keras.Model, from a dict of int32 "token_ids", "segments" and "targets" (b, 2, tokens), the chosen answers first, and
        float32 "reference" (b, 2), to float32 margins (b, 1).
    """
    names = (*decoders.INPUT_NAMES, "targets")
    inputs = {name: keras.Input((2, None), dtype="int32", name=name) for name in names}
    reference = keras.Input((2,), name="reference")
    flat = {name: keras.ops.reshape(value, (-1, keras.ops.shape(value)[2])) for name, value in inputs.items()}
    logits = model({name: flat[name] for name in decoders.INPUT_NAMES})
    sums = SequenceLogProbability(name="log_probability")(logits, flat["targets"])
    gains = keras.ops.reshape(sums, (-1, 2)) - reference
    return keras.Model({**inputs, "reference": reference}, gains[:, :1] - gains[:, 1:], name="preferences")


def reference(model: keras.Model, pairs: Preferences, *, batch_size: int = 8) -> np.ndarray:
    """The log-probabilities of both answers of each pair under a model without its adapters.

    Args:
        model: keras.Model from `decoders.build`.
        pairs: Preferences.
        batch_size: int >= 1, sequences at a time.

    Returns:
        float32 (n, 2).
    """
    layer = SequenceLogProbability()

    @tf.function(reduce_retracing=True)
    def sums(inputs, targets):
        return layer(model(inputs, training=False), targets)

    with adapters.switched_off(model):
        columns = []
        for sequences in (pairs.chosen, pairs.rejected):
            parts = []
            for start in range(0, len(sequences), batch_size):
                rows = slice(start, start + batch_size)
                inputs = {"token_ids": sequences.token_ids[rows], "segments": sequences.segments[rows]}
                parts.append(
                    sums({name: tf.constant(value) for name, value in inputs.items()}, sequences.targets[rows])
                )
            columns.append(np.concatenate(parts))
    return np.stack(columns, axis=1).astype(np.float32)


def training_batches(
    pairs: Preferences,
    global_batch_size: int,
    *,
    seed: int = 0,
    epochs: int = 1,
    start_step: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Batches of pairs, each a pure function of (pairs, seed, step).

    Args:
        pairs: Preferences with `reference`.
        global_batch_size: int >= 1, pairs in a step over all devices.
        seed: int in [0, 2**31), for the order.
        epochs: int >= 1.
        start_step: int >= 0, the first step of the dataset.
        shuffle: bool, whether each epoch has a new order.

    Returns:
        tf.data.Dataset of (inputs as for `margin_model`, float32 targets (b, 1) of 1).
    """
    steps, count = -(-len(pairs) // global_batch_size), len(pairs)

    @functools.lru_cache(maxsize=2)
    def drawn(epoch: int) -> np.ndarray:
        return sampling.order(count, seed=seed, epoch=epoch) if shuffle else np.arange(count)

    def read(step: np.ndarray) -> tuple[np.ndarray, ...]:
        epoch, batch = divmod(int(step), steps)
        rows = drawn(epoch)[batch * global_batch_size : (batch + 1) * global_batch_size]
        columns = (
            np.stack([getattr(each, name)[rows] for each in (pairs.chosen, pairs.rejected)], axis=1)
            for name in ("token_ids", "segments", "targets")
        )
        return *columns, pairs.reference[rows], np.ones((len(rows), 1), np.float32)

    @tf.autograph.experimental.do_not_convert
    def batch(step: tf.Tensor):
        types = (tf.int32, tf.int32, tf.int32, tf.float32, tf.float32)
        token_ids, segments, targets, reference, ones = tf.numpy_function(read, [step], types, stateful=False)
        for values in (token_ids, segments, targets):
            values.set_shape((None, 2, pairs.chosen.token_ids.shape[1]))
        reference.set_shape((None, 2))
        ones.set_shape((None, 1))
        return {"token_ids": token_ids, "segments": segments, "targets": targets, "reference": reference}, ones

    dataset = tf.data.Dataset.range(start_step, epochs * steps)
    return dataset.map(batch, num_parallel_calls=processor_count(), deterministic=True).prefetch(tf.data.AUTOTUNE)
