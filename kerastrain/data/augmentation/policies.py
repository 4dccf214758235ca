"""Chains of operations chosen at random: RandAugment and AugMix.

Takes strengths, gives `PhotometricTransform`s.
"""

import tensorflow as tf

from kerastrain.data.augmentation.operations import AUGMIX_OPERATIONS, OPERATIONS, applied
from kerastrain.data.augmentation.philox import rounded
from kerastrain.data.augmentation.transforms import PhotometricTransform, check_count, check_fraction


def randaugment(*, count: int = 2, strength_fraction: float = 0.3) -> PhotometricTransform:
    """Changes each image by a few operations of its own, one after the other, all of one strength.

    Keras's RandAugment chooses the same operations for a whole batch, and turns by up to half a circle where the paper
    turns by 30 degrees.

    Args:
        count: int >= 1, operations for an image, each chosen from all fourteen.
        strength_fraction: float in [0, 1], how strong, as a share of each operation's largest change, to either side;
            0.3 is the usual magnitude 9 of 30. Contrast stretching and equalization have one strength.

    Reference: Cubuk et al. 2019, https://arxiv.org/abs/1909.13719, section 3 and figure 2.
    """
    check_count("randaugment.count", count)
    check_fraction("randaugment.strength_fraction", strength_fraction)

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        for first in range(0, 2 * count, 2):
            sign = tf.where(draws[:, first + 1] < 0.5, -1.0, 1.0)
            images = applied(images, _chosen(draws[:, first], OPERATIONS), sign * strength_fraction)
        return images

    return PhotometricTransform(2 * count, change)


def augmix(*, chains: int = 3, depth: int = 3, strength_fraction: float = 0.3) -> PhotometricTransform:
    """Blends each image with a mixture of chains of operations: varied, and yet near the image.

        image' = (1 - m) image + m * sum over chains c of w_c chain_c(image),  m ~ Uniform(0, 1),  w ~ Dirichlet(1, ..., 1)

    The paper's loss of consistency between several such images is no part of it. Keras's AugMix chooses the operations
    when the pipeline is made: the same for every batch and epoch.

    Args:
        chains: int >= 1, chains that are mixed.
        depth: int >= 1, the most operations of a chain; its own number is drawn from 1 to depth.
        strength_fraction: float in [0, 1], the strongest operation, as a share of its largest change; each draws its own
            from [0, strength_fraction]. 0.3 is the paper's severity 3 of 10.

    Reference: Hendrycks et al. 2019, https://arxiv.org/abs/1912.02781, algorithm 1.
    """
    check_count("augmix.chains", chains)
    check_count("augmix.depth", depth)
    check_fraction("augmix.strength_fraction", strength_fraction)
    of_chain = 1 + 3 * depth

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        copies = tf.repeat(images, chains, axis=0)
        each = tf.reshape(draws[:, : chains * of_chain], (-1, of_chain))
        lengths = 1 + tf.floor(each[:, 0] * depth)
        for number in range(depth):
            choice, amount, sign = tf.unstack(each[:, 1 + 3 * number : 4 + 3 * number], axis=1)
            chosen = tf.where(number < lengths, _chosen(choice, AUGMIX_OPERATIONS), OPERATIONS.index("identity"))
            copies = applied(copies, chosen, tf.where(sign < 0.5, -1.0, 1.0) * amount * strength_fraction)
        parts = -rounded(tf.math.log1p, -draws[:, chains * of_chain : -1])
        shares = draws[:, -1:] * parts / tf.reduce_sum(parts, axis=1, keepdims=True)
        shape = tf.shape(images)
        mixture = shares[:, tf.newaxis] @ tf.reshape(copies, (shape[0], chains, -1))
        kept = (1 - draws[:, -1])[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return tf.clip_by_value(kept * images + tf.reshape(mixture, shape), 0.0, 255.0)

    return PhotometricTransform(chains * of_chain + chains + 1, change)


def _chosen(draws: tf.Tensor, names: tuple[str, ...]) -> tf.Tensor:
    """int32 (b,), numbers of `OPERATIONS`, each of `names` equally likely."""
    numbers = tf.constant([OPERATIONS.index(name) for name in names])
    return tf.gather(numbers, tf.cast(draws * len(names), tf.int32))
