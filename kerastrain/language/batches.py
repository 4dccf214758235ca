"""Batches of token sequences for a language model; each batch is a pure function of (sequences, seed, step).

Takes `Sequences`, returns a `tf.data.Dataset`. Must not know of texts or tokenizers.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kerastrain.data import sampling
from kerastrain.data.released import releasable
from kerastrain.errors import InputError
from kerastrain.keras_internals import dataset_iterators
from kerastrain.system.resources import processor_count

NOT_LEARNED = -1
"""The target of a token whose next token does not count in the loss."""

_MULTIPLE = 8  # Matrix units of GPUs and CPUs are used whole at multiples of 8.


@dataclass(frozen=True, eq=False)
class Sequences:
    """Token sequences, each with one example or several.

    Args:
        token_ids: int32 (n, tokens), padded at the end.
        segments: int32 (n, tokens), the number of the example that a token belongs to, counted from 1 in each sequence; 0
            for padding.
        targets: int32 (n, tokens), the id of the next token where it is learned, and `NOT_LEARNED` elsewhere.

    Raises:
        InputError: the shapes differ, or a sequence has nothing to learn.
    """

    token_ids: np.ndarray
    segments: np.ndarray
    targets: np.ndarray

    def __post_init__(self):
        shapes = {values.shape for values in (self.token_ids, self.segments, self.targets)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise InputError(f"`Sequences` must hold three arrays of one shape (n, tokens). Received: {shapes}.")
        if len(self) and not self.learned_counts.all():
            index = int(np.flatnonzero(self.learned_counts == 0)[0])
            raise InputError(f"every sequence must have a token to learn. Received: none in sequence {index}.")

    def __len__(self) -> int:
        return len(self.token_ids)

    @functools.cached_property
    def learned_counts(self) -> np.ndarray:
        """int64 (n,), the number of learned tokens of each sequence."""
        return (self.targets != NOT_LEARNED).sum(axis=1)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64 (n,), the number of tokens of each sequence, without padding."""
        return (self.segments != 0).sum(axis=1)

    def subset(self, indices: np.ndarray) -> "Sequences":
        """Selects sequences.

        Args:
            indices: int array (m,), values in [0, n).

        Returns:
            Sequences, m of them.
        """
        return Sequences(self.token_ids[indices], self.segments[indices], self.targets[indices])


def concatenated(parts: Iterable[Sequences]) -> Sequences:
    """Puts sequences of the same length one after the other.

    Args:
        parts: iterable of Sequences.

    Returns:
        Sequences.
    """
    arrays = zip(*((part.token_ids, part.segments, part.targets) for part in parts), strict=True)
    return Sequences(*map(np.concatenate, arrays))


def training_batches(
    sequences: Sequences, global_batch_size: int, *, seed: int = 0, epochs: int = 1, start_step: int = 0
) -> tf.data.Dataset:
    """Batches the sequences of all epochs in a new order in every epoch, those of a batch with similar lengths.

    The weight of a sequence is its number of learned tokens, times the sequences of its batch over the learned tokens of the
    batch. So Keras's mean over sequences of (weight * mean loss of a sequence's learned tokens) is the mean loss of the
    learned tokens of the whole batch, however many devices and micro-batches share it.

    Args:
        sequences: Sequences.
        global_batch_size: int >= 1, sequences in a step over all devices; the last batch of an epoch holds the rest.
        seed: int in [0, 2**31), for the order.
        epochs: int >= 1.
        start_step: int >= 0, the first step of the dataset.

    Returns:
        tf.data.Dataset of ({"token_ids", "segments"}, targets, weights): int32 (b, t) each, and float32 (b,); t is the
        longest of the batch, at most rounded up to a multiple of 8.
    """
    drawn = order_of(sequences, global_batch_size, seed)

    def weights(counts: np.ndarray) -> np.ndarray:
        return counts * (len(counts) / counts.sum())

    return _dataset(sequences, global_batch_size, drawn, weights, epochs=epochs, start_step=start_step)


def indices(sequences: Sequences, global_batch_size: int, step: int, *, seed: int = 0) -> np.ndarray:
    """Finds the sequences in one batch of `training_batches`.

    Args:
        sequences: Sequences.
        global_batch_size: as for `training_batches`.
        step: int >= 0, the batch, counted over all epochs.
        seed: as for `training_batches`.

    Returns:
        int64 array (b,).
    """
    epoch, batch = divmod(step, -(-len(sequences) // global_batch_size))
    drawn = order_of(sequences, global_batch_size, seed)(epoch)
    return drawn[batch * global_batch_size : (batch + 1) * global_batch_size]


def evaluation_batches(sequences: Sequences, batch_size: int) -> tf.data.Dataset:
    """Batches the sequences once, the longest first.

    The weights are relative to all sequences: Keras's mean of the loss over them is the mean over all learned tokens.

    Args:
        sequences: Sequences.
        batch_size: int >= 1.

    Returns:
        tf.data.Dataset as from `training_batches`.
    """
    order, counts = longest_first(sequences), sequences.learned_counts
    factor = len(counts) / counts.sum()
    return _dataset(sequences, batch_size, lambda epoch: order, lambda counts: counts * factor, epochs=1, start_step=0)


def longest_first(sequences) -> np.ndarray:
    """The order of `evaluation_batches`.

    Args:
        sequences: Sequences, or pairs of them, with `lengths`.

    Returns:
        int64 (n,), the index of the sequence at each position.
    """
    return np.argsort(-sequences.lengths, kind="stable")


def order_of(sequences, batch_size: int, seed: int) -> Callable[[int], np.ndarray]:
    """The order of the sequences in each epoch, those of a batch with similar lengths.

    Args:
        sequences: Sequences, or pairs of them, with `lengths`.
        batch_size: int >= 1.
        seed: int in [0, 2**31).

    Returns:
        function from the number of an epoch to int64 (n,), the index of the sequence at each position.
    """

    @functools.lru_cache(maxsize=2)  # The end of an epoch and the start of the next may be read concurrently.
    def drawn(epoch: int) -> np.ndarray:
        order = sampling.order(len(sequences), seed=seed, epoch=epoch)
        return sampling.by_length(order, sequences.lengths, batch_size, seed=seed, epoch=epoch)

    return drawn


def _dataset(sequences: Sequences, batch_size: int, drawn, weights, *, epochs: int, start_step: int) -> tf.data.Dataset:
    arrays = (sequences.token_ids, sequences.segments, sequences.targets)

    def weight(rows: np.ndarray) -> np.ndarray:
        return weights(sequences.learned_counts[rows])

    dataset = cut_batches(arrays, sequences.lengths, weight, batch_size, drawn, epochs=epochs, start_step=start_step)
    return dataset.map(
        lambda ids, segments, targets, weight: ({"token_ids": ids, "segments": segments}, targets, weight)
    )


def cut_batches(
    arrays: tuple[np.ndarray, ...],
    lengths: np.ndarray,
    numbers: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
    drawn: Callable[[int], np.ndarray],
    *,
    epochs: int,
    start_step: int,
) -> tf.data.Dataset:
    """Batches arrays of tokens, cut to the longest sequence of each batch.

    Args:
        arrays: tuple of int32 (n, …, tokens).
        lengths: int (n,), tokens without padding.
        numbers: function from int64 (b,), rows, to numbers (b, …) that go with them.
        batch_size: int >= 1.
        drawn: function from the number of an epoch to int64 (n,), the row at each position.
        epochs: int >= 1.
        start_step: int >= 0, the first step of the dataset.

    Returns:
        tf.data.Dataset of (*arrays, numbers): int32 (b, …, t) each, and float32 (b, …).

    Raises:
        InputError: there are no rows, or the batch size is below 1.
    """
    if not len(lengths):
        raise InputError("`sequences` must hold at least one sequence. Received: none.")
    if batch_size < 1:
        raise InputError(f"the batch size must be at least 1. Received: {batch_size}.")
    dataset_iterators.close_at_exit()
    steps, longest = -(-len(lengths) // batch_size), arrays[0].shape[-1]

    def read_rows(step: np.ndarray) -> tuple[np.ndarray, ...]:
        epoch, batch = divmod(int(step), steps)
        rows = drawn(epoch)[batch * batch_size : (batch + 1) * batch_size]
        length = min(-(-int(lengths[rows].max()) // _MULTIPLE) * _MULTIPLE, longest)
        return *(values[rows, ..., :length] for values in arrays), numbers(rows).astype(np.float32)

    read, tie = releasable(read_rows)

    @tf.autograph.experimental.do_not_convert
    def batch(step: tf.Tensor):
        found = tf.numpy_function(read, [step], [tf.int32] * len(arrays) + [tf.float32], stateful=False)
        for values, whole in zip(found, arrays, strict=False):
            values.set_shape((None, *whole.shape[1:-1], None))
        found[-1].set_shape((None, *numbers(np.arange(1)).shape[1:]))
        return tuple(found)

    dataset = tf.data.Dataset.range(start_step, epochs * steps)
    dataset = dataset.map(batch, num_parallel_calls=processor_count(), deterministic=True).prefetch(tf.data.AUTOTUNE)
    tie(dataset)
    return dataset
