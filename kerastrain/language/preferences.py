"""Preference tuning: a language model learns which of two answers people liked more.

Takes a `keras.Model` from `decoders.build` with adapters, and pairs of sequences; returns a model to fit, its batches and
measures. The reference is the same model with its adapters switched off. Must not know of texts.

Reference: Rafailov et al. 2023, https://arxiv.org/abs/2305.18290.
"""

import dataclasses
import functools
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.evaluation import intervals
from kerastrain.language import adapters, batches, decoders, evaluation
from kerastrain.language.batches import NOT_LEARNED, Sequences, concatenated


@dataclass(frozen=True, eq=False)
class Preferences:
    """Pairs of answers to the same prompt.

    Args:
        chosen: Sequences of n answers that people liked more, one in each sequence.
        rejected: Sequences of n answers to the same prompts that they liked less.
        reference: float32 (n, 2), the log-probability of both under the reference, see `with_reference`; None if it is not
            known yet.

    Raises:
        InputError: the numbers of sequences differ.
    """

    chosen: Sequences
    rejected: Sequences
    reference: np.ndarray | None = None

    def __post_init__(self):
        counts = len(self.chosen), len(self.rejected)
        if counts[0] != counts[1]:
            raise InputError(f"every chosen answer must have a rejected one. Received: {counts[0]} and {counts[1]}.")

    def __len__(self) -> int:
        return len(self.chosen)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64 (n,), the number of tokens of the longer sequence of each pair, without padding."""
        return np.maximum(self.chosen.lengths, self.rejected.lengths)


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
    """The loss of direct preference optimization (DPO), of the margin between two answers.

        loss = -log sigmoid(beta * margin)

    Targets (b, 1), which are not read, and margins (b, 1) of `margin_model` to float32 (b,).

    Args:
        beta: float > 0, how far the model may leave its reference: the smaller, the farther.
        **options: `reduction`, `name` and `dtype` of a Keras loss.

    Raises:
        InputError: `beta` is not above 0.

    Example:
        >>> import numpy as np
        >>> round(float(PreferenceLoss(0.1)(np.ones((1, 1)), np.array([[10.0]]))), 4)
        0.3133
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


@keras.saving.register_keras_serializable("kerastrain")
def preference_accuracy(y_true, y_pred):
    """Whether a margin is above 0: the model has moved towards the chosen answer. A margin of 0 counts half.

    Args:
        y_true: float (b, 1), not read.
        y_pred: float (b, 1), margins.

    Returns:
        float32 (b,), 0, 0.5 or 1.
    """
    return (keras.ops.sign(keras.ops.cast(y_pred, "float32"))[:, 0] + 1) / 2


def margin_model(model: keras.Model) -> keras.Model:
    """A model of pairs that shares the layers of a language model.

        margin = (log p(chosen) - log p_reference(chosen)) - (log p(rejected) - log p_reference(rejected))

    Args:
        model: keras.Model from `decoders.build`.

    Returns:
        keras.Model, from a dict of int32 "token_ids", "segments" and "targets" (b, 2, tokens), the chosen answers first, and
        float32 "reference" (b, 2), to float32 margins (b, 1).
    """
    ops = keras.ops
    names = (*decoders.INPUT_NAMES, "targets")
    inputs = {name: keras.Input((2, None), dtype="int32", name=name) for name in names}
    inputs["reference"] = keras.Input((2,), dtype="float32", name="reference")
    # All chosen answers, then all rejected ones: one call of the model for both.
    rows = {name: ops.concatenate([inputs[name][:, 0], inputs[name][:, 1]], axis=0) for name in names}
    # A model from a file returns a list.
    [logits] = keras.tree.flatten(model({name: rows[name] for name in decoders.INPUT_NAMES}))
    sums = SequenceLogProbability(name="log_probability")(logits, rows["targets"])
    gains = ops.transpose(ops.reshape(sums, (2, -1))) - inputs["reference"]
    return keras.Model(inputs, gains[:, :1] - gains[:, 1:], name="preferences")


def with_reference(model: keras.Model, pairs: Preferences, *, batch_size: int = 8) -> Preferences:
    """Computes the log-probabilities of both answers of each pair under a model without its adapters.

    Args:
        model: keras.Model from `decoders.build`.
        pairs: Preferences.
        batch_size: int >= 1, sequences at a time.

    Returns:
        Preferences with `reference`.
    """
    with adapters.switched_off(model):
        return dataclasses.replace(pairs, reference=log_probabilities(model, pairs, batch_size=batch_size))


def log_probabilities(model: keras.Model, pairs: Preferences, *, batch_size: int = 8) -> np.ndarray:
    """The log-probabilities of both answers of each pair.

    Args:
        model: keras.Model from `decoders.build`.
        pairs: Preferences.
        batch_size: int >= 1, sequences at a time.

    Returns:
        float32 (n, 2), the chosen answers first.
    """
    both = concatenated([pairs.chosen, pairs.rejected])
    sums = evaluation.sums(model, both, batch_size=batch_size)[0]
    return -sums.reshape(2, -1).T.astype(np.float32)


def measure(model: keras.Model | None, pairs: Preferences, *, beta: float = 0.1, batch_size: int = 8) -> dict:
    """Measures how clearly a model prefers the chosen answers.

    Args:
        model: keras.Model from `decoders.build`; None for the reference itself.
        pairs: Preferences with `reference`.
        beta: float > 0, as for `PreferenceLoss`.
        batch_size: int >= 1, sequences at a time.

    Returns:
        dict with "pairs", "beta" and, each with a 95 % interval "…_interval" (Wilson's for fractions, else by the bootstrap over
        pairs): "loss", see `PreferenceLoss`; "accuracy", the fraction of pairs with a margin above 0, a margin of 0 counts half;
        "margin", the mean of beta * margin in nats; "likelier", the fraction of pairs whose chosen answer as a whole has the
        higher probability.
    """
    found = pairs.reference if model is None else log_probabilities(model, pairs, batch_size=batch_size)
    found, reference = (values.astype(np.float64) for values in (found, pairs.reference))
    rewards = beta * ((found - reference)[:, 0] - (found - reference)[:, 1])
    columns = {
        "loss": np.logaddexp(0, -rewards),
        "accuracy": (np.sign(rewards) + 1) / 2,
        "margin": rewards,
        "likelier": (np.sign(found[:, 0] - found[:, 1]) + 1) / 2,
    }
    measures = {"pairs": len(pairs), "beta": beta}
    for name, values in columns.items():
        interval = _share_interval(values) if name in ("accuracy", "likelier") else _mean_interval(values)
        measures |= {name: float(values.mean()), f"{name}_interval": list(interval)}
    return measures


def _mean_interval(values: np.ndarray) -> tuple[float, float]:
    return intervals.bootstrap(lambda rows: values[rows].mean(), len(values))


def _share_interval(values: np.ndarray) -> tuple[float, float]:
    """Wilson's interval, which does not shrink to a point where all of a few pairs agree; halves widen it."""
    total = values.sum()
    limits = (intervals.wilson(int(bound), len(values)) for bound in (np.floor(total), np.ceil(total)))
    (low, _), (_, high) = limits
    return low, high


def training_batches(
    pairs: Preferences, global_batch_size: int, *, seed: int = 0, epochs: int = 1, start_step: int = 0
) -> tf.data.Dataset:
    """Batches pairs in a new order in every epoch, those of a batch with similar lengths; a function of (pairs, seed, step).

    Args:
        pairs: Preferences with `reference`.
        global_batch_size: int >= 1, pairs in a step over all devices; the last batch of an epoch holds the rest.
        seed: int in [0, 2**31), for the order.
        epochs: int >= 1.
        start_step: int >= 0, the first step of the dataset.

    Returns:
        tf.data.Dataset of (inputs as for `margin_model`, float32 targets (b, 1) of 1).
    """
    drawn = batches.order_of(pairs, global_batch_size, seed)
    return _dataset(pairs, global_batch_size, drawn, epochs=epochs, start_step=start_step)


def evaluation_batches(pairs: Preferences, batch_size: int) -> tf.data.Dataset:
    """Batches pairs once, the longest first.

    Args:
        pairs: Preferences with `reference`.
        batch_size: int >= 1, pairs.

    Returns:
        tf.data.Dataset as from `training_batches`.
    """
    order = batches.longest_first(pairs)
    return _dataset(pairs, batch_size, lambda epoch: order, epochs=1, start_step=0)


def _dataset(pairs: Preferences, batch_size: int, drawn, *, epochs: int, start_step: int) -> tf.data.Dataset:
    arrays = tuple(
        np.stack([getattr(pairs.chosen, name), getattr(pairs.rejected, name)], axis=1)
        for name in ("token_ids", "segments", "targets")
    )
    options = {"epochs": epochs, "start_step": start_step}
    dataset = batches.cut_batches(
        arrays, pairs.lengths, lambda rows: pairs.reference[rows], batch_size, drawn, **options
    )

    def named(token_ids, segments, targets, reference):
        inputs = {"token_ids": token_ids, "segments": segments, "targets": targets, "reference": reference}
        return inputs, tf.ones_like(reference[:, :1])

    return dataset.map(named)
