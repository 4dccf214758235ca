"""Changes of texts.

Takes strengths, gives `TextTransform`s.
"""

import tensorflow as tf

from kerastrain.data.augmentation.philox import fractions, words
from kerastrain.data.augmentation.transforms import TextTransform, check_fraction


def word_dropout(*, probability: float = 0.1) -> TextTransform:
    """Leaves out words, so that no single one decides.

    A word is what stands between white space. At least one is kept, and a text that lost none is unchanged to the letter;
    in others one blank stands between words.

    Args:
        probability: float in [0, 1), of each word's being left out.

    Reference: Iyyer et al. 2015, "Deep unordered composition rivals syntactic methods for text classification",
        https://aclanthology.org/P15-1162, section 3.1.
    """
    check_fraction("word_dropout.probability", probability)

    def change(texts: tf.Tensor, seeds: tf.Tensor, stream: int) -> tf.Tensor:
        split = tf.strings.split(texts)
        longest = tf.cast(split.bounding_shape(axis=1), tf.int64)
        blocks = tf.range((longest + 3) // 4)
        drawn = fractions(words(seeds, tf.fill(tf.shape(blocks), tf.constant(stream, tf.int64)), blocks))[:, :longest]
        draws = tf.RaggedTensor.from_tensor(drawn, lengths=split.row_lengths())
        # The word of the largest draw stays, even if all fell below the probability.
        largest = tf.reduce_max(draws, axis=1)
        kept = draws >= tf.minimum(largest, probability)[:, tf.newaxis]
        joined = tf.strings.reduce_join(tf.ragged.boolean_mask(split, kept), axis=1, separator=" ")
        return tf.where(tf.reduce_all(kept, axis=1), texts, joined)

    return TextTransform(change)
