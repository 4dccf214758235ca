"""Random chains of operations: RandAugment and AugMix.

Takes strengths, returns `PhotometricTransform`s.
"""

import tensorflow as tf

from kerastrain.data.augmentation.operations import AUGMIX_OPERATIONS, OPERATIONS, applied
from kerastrain.data.augmentation.philox import rounded
from kerastrain.data.augmentation.transforms import PhotometricTransform, check_count, check_fraction


def randaugment(*, count: int = 2, strength_fraction: float = 0.3) -> PhotometricTransform:
    """RandAugment: applies a few operations in sequence, chosen for each image, all at the same strength.

    Keras's RandAugment chooses the same operations for a whole batch, and rotates by up to 180 degrees where the paper
    rotates by up to 30.

    Args:
        count: int >= 1, operations per image, each chosen from all fourteen.
        strength_fraction: float in [0, 1], the strength as a fraction of each operation's largest change, in a random
            direction; 0.3 is the usual magnitude 9 of 30. "autocontrast" and "equalize" have a single strength.

    Returns:
        PhotometricTransform.

    Raises:
        InputError: `count` is not an int >= 1, or `strength_fraction` is outside [0, 1].

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
    """AugMix: blends each image with a mixture of chains of operations, so that results vary but stay close to the image.

        image' = (1 - m) image + m * sum over chains c of w_c chain_c(image),  m ~ Uniform(0, 1),  w ~ Dirichlet(1, ..., 1)

    The paper's consistency loss between several such images is not included. Keras's AugMix chooses the operations when
    the pipeline is built, so that they are the same in every batch and epoch.

    Args:
        chains: int >= 1, number of chains that are mixed.
        depth: int >= 1, the largest number of operations in a chain; the number is drawn from 1 to `depth`.
        strength_fraction: float in [0, 1], the largest strength as a fraction of each operation's largest change; the
            strength is drawn from [0, strength_fraction]. 0.3 is the paper's severity 3 of 10.

    Returns:
        PhotometricTransform.

    Raises:
        InputError: `chains` or `depth` is not an int >= 1, or `strength_fraction` is outside [0, 1].

    Reference: Hendrycks et al. 2019, https://arxiv.org/abs/1912.02781, algorithm 1.
    """
    check_count("augmix.chains", chains)
    check_count("augmix.depth", depth)
    check_fraction("augmix.strength_fraction", strength_fraction)
    draws_per_chain = 1 + 3 * depth

    def change(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        copies = tf.repeat(images, chains, axis=0)
        chain_draws = tf.reshape(draws[:, : chains * draws_per_chain], (-1, draws_per_chain))
        lengths = 1 + tf.floor(chain_draws[:, 0] * depth)
        for number in range(depth):
            choice, amount, sign = tf.unstack(chain_draws[:, 1 + 3 * number : 4 + 3 * number], axis=1)
            chosen = tf.where(number < lengths, _chosen(choice, AUGMIX_OPERATIONS), OPERATIONS.index("identity"))
            copies = applied(copies, chosen, tf.where(sign < 0.5, -1.0, 1.0) * amount * strength_fraction)
        exponentials = -rounded(tf.math.log1p, -draws[:, chains * draws_per_chain : -1])
        weights = draws[:, -1:] * exponentials / tf.reduce_sum(exponentials, axis=1, keepdims=True)
        shape = tf.shape(images)
        mixture = weights[:, tf.newaxis] @ tf.reshape(copies, (shape[0], chains, -1))
        image_weights = (1 - draws[:, -1])[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return tf.clip_by_value(image_weights * images + tf.reshape(mixture, shape), 0.0, 255.0)

    return PhotometricTransform(chains * draws_per_chain + chains + 1, change)


def _chosen(draws: tf.Tensor, names: tuple[str, ...]) -> tf.Tensor:
    """int32 (b,), indices into `OPERATIONS`, drawn uniformly from `names`."""
    numbers = tf.constant([OPERATIONS.index(name) for name in names])
    return tf.gather(numbers, tf.cast(draws * len(names), tf.int32))
