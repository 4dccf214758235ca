"""Augmentations of texts.

Takes strengths, returns `TextTransform`s.
"""

import tensorflow as tf

from kerastrain.data.augmentation.philox import derived_seeds, fractions, words
from kerastrain.data.augmentation.transforms import TextTransform, check_fraction


def word_dropout(*, probability: float = 0.1) -> TextTransform:
    """Drops words at random, so that no prediction depends on a single word.

    Words are separated by white space. At least one word remains. A text that loses no word is unchanged; in other texts
    a single space separates the words.

    Args:
        probability: float in [0, 1], the probability that a word is dropped.

    Returns:
        TextTransform.

    Raises:
        InputError: `probability` is outside [0, 1].

    Reference: Iyyer et al. 2015, "Deep unordered composition rivals syntactic methods for text classification",
        https://aclanthology.org/P15-1162, section 3.1.
    """
    check_fraction("word_dropout.probability", probability)

    def change(texts: tf.Tensor, seeds: tf.Tensor, stream: int) -> tf.Tensor:
        if texts.shape.rank == 2:  # Both texts of a pair lose words, each by its own draws.
            seconds = derived_seeds(seeds, stream)
            return tf.stack([change(texts[:, 0], seeds, stream), change(texts[:, 1], seconds, stream)], axis=1)
        split = tf.strings.split(texts)
        longest = tf.cast(split.bounding_shape(axis=1), tf.int64)
        blocks = tf.range((longest + 3) // 4)
        streams = tf.fill(tf.shape(blocks), tf.constant(stream, tf.int64))
        padded = fractions(words(seeds, streams, blocks))[:, :longest]
        draws = tf.RaggedTensor.from_tensor(padded, lengths=split.row_lengths())
        # The word with the largest draw remains, even if all draws are below the probability.
        largest = tf.reduce_max(draws, axis=1)
        remains = draws >= tf.minimum(largest, probability)[:, tf.newaxis]
        joined = tf.strings.reduce_join(tf.ragged.boolean_mask(split, remains), axis=1, separator=" ")
        return tf.where(tf.reduce_all(remains, axis=1), texts, joined)

    return TextTransform(change)
