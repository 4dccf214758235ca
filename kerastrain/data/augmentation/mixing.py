"""MixUp and CutMix: blends of two examples, their targets and their weights.

Takes a batch and its seeds, returns a batch. The partner of an example is its neighbour in the order of the epoch:
positions 2k and 2k + 1 are partners. In a shuffled epoch that is a random partner, and it depends only on the position:
with even batches it is the same for every batch size, number of devices, or step at which a run resumes. Partners exchange
equal shares, so that every example counts once in an epoch. An example whose partner is not in its batch, such as the last
of an odd batch, stays unchanged.

Training metrics are computed on blended targets, so that the training accuracy of a multi-label model is meaningless; use
validation metrics. Keras's MixUp and CutMix permute the batch by a generator whose state changes with every call.
"""

from collections.abc import Sequence

import tensorflow as tf

from kerastrain.data.augmentation.philox import symmetric_beta
from kerastrain.data.augmentation.photometric import covered, pasted
from kerastrain.data.augmentation.transforms import Mix, check_fraction, check_range
from kerastrain.errors import InputError


def mixup(*, alpha: float = 0.2, probability: float = 1.0) -> Mix:
    """MixUp: blends two images and their targets with the same weights.

    Each example keeps the larger of the two weights. As both partners are blended, that only changes which of the two
    results comes first.

    Args:
        alpha: float in [0.001, 1000], parameter of the Beta(alpha, alpha) distribution of the weight: a small one leaves
            most images nearly unchanged, 1 makes all weights equally likely.
        probability: float in [0, 1], the probability that an example is blended.

    Returns:
        Mix.

    Raises:
        InputError: an argument is outside its range.

    Reference: Zhang et al. 2017, https://arxiv.org/abs/1710.09412, section 2.
    """
    check_range("mixup.alpha", alpha, 1e-3, 1e3)
    check_fraction("mixup.probability", probability)

    def patches(draws: tf.Tensor) -> tf.Tensor:
        share = symmetric_beta(draws[:, 1], draws[:, 2], alpha)
        amount = tf.where(draws[:, 0] < probability, tf.minimum(share, 1 - share), 0.0)
        zero, one = tf.zeros_like(amount), tf.ones_like(amount)
        return tf.stack([amount, zero, zero, one, one], axis=1)

    return Mix(3, patches)


def cutmix(*, alpha: float = 1.0, probability: float = 1.0) -> Mix:
    """CutMix: replaces a rectangle by that of another image, and blends the targets by the area.

    The rectangle has the aspect ratio of the image and lies inside it.

    Args:
        alpha: float in [0.001, 1000], parameter of the Beta(alpha, alpha) distribution of the area that is replaced.
        probability: float in [0, 1], the probability that an example is changed.

    Returns:
        Mix.

    Raises:
        InputError: an argument is outside its range.

    Reference: Yun et al. 2019, https://arxiv.org/abs/1905.04899, section 3.1 (there the rectangle may cross the edge).
    """
    check_range("cutmix.alpha", alpha, 1e-3, 1e3)
    check_fraction("cutmix.probability", probability)

    def patches(draws: tf.Tensor) -> tf.Tensor:
        side = tf.sqrt(symmetric_beta(draws[:, 1], draws[:, 2], alpha))
        top, left = draws[:, 3] * (1 - side), draws[:, 4] * (1 - side)
        return tf.stack([tf.cast(draws[:, 0] < probability, tf.float32), top, left, side, side], axis=1)

    return Mix(5, patches)


def mixed(
    images: tf.Tensor, targets_and_weights: Sequence[tf.Tensor], seeds: tf.Tensor, patches: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Blends each example with its partner.

    With w and w' the weights of an example and its partner and s the partner's share,

        target' = ((1 - s) w target + s w' target') / weight',   weight' = (1 - s) w + s w'

    so that a loss that is linear in the targets, such as cross-entropy, is the mean of both examples' losses, weighted by
    their shares.

    Args:
        images: float32 (b, h, w, 3) in [0, 255].
        targets_and_weights: targets float32 (b, n), then weights float32 (b,) if there are any.
        seeds: int64 (b, 2), for each example the key of its epoch and its position in it.
        patches: float32 (b, 5) in [0, 1], as in `Mix`.

    Returns:
        tuple of the blended images and `targets_and_weights`, each of the same dtype and shape.

    Raises:
        InputError: there are no targets, or they are not float of shape (batch, labels).
    """
    targets = targets_and_weights[0] if targets_and_weights else None
    if targets is None or targets.shape.rank != 2 or not targets.dtype.is_floating:
        received = "none" if targets is None else f"{targets.dtype.name} of shape {targets.shape}"
        raise InputError(
            f"`targets` must be float of shape (batch, labels), because mixup and cutmix blend them. Received: {received}."
        )
    partner = partners(seeds)
    amount, top, left, height, width = tf.unstack(patches, axis=1)
    size = tf.shape(images)
    rows, columns = covered(size[1], top, height), covered(size[2], left, width)
    rows *= amount[:, tf.newaxis]
    changed = pasted(images, tf.gather(images, partner), rows, columns)
    share = tf.reduce_mean(rows, axis=1) * tf.reduce_mean(columns, axis=1)
    weights = (*targets_and_weights[1:], tf.ones_like(share))[0]
    own, others = (1 - share) * weights, share * tf.gather(weights, partner)
    blended = own[:, tf.newaxis] * targets + others[:, tf.newaxis] * tf.gather(targets, partner)
    new_targets = tf.math.divide_no_nan(blended, (own + others)[:, tf.newaxis])
    return changed, new_targets, *([own + others] * len(targets_and_weights[1:]))


def pair_seeds(seeds: tf.Tensor) -> tf.Tensor:
    """Seeds that both partners of a pair share.

    Args:
        seeds: int64 (b, 2), for each example the key of its epoch and its position in it.

    Returns:
        int64 (b, 2), the key of the epoch and the even position of the pair.
    """
    return tf.stack([seeds[:, 0], tf.bitwise.bitwise_and(seeds[:, 1], tf.constant(-2, tf.int64))], axis=1)


def partners(seeds: tf.Tensor) -> tf.Tensor:
    """Index of each example's partner in the batch.

    Args:
        seeds: int64 (b, 2), for each example the key of its epoch and its position in it.

    Returns:
        int32 (b,) in [0, b); the example's own index if its partner is not in the batch.
    """
    positions = seeds[:, 1]
    indices = tf.range(tf.shape(seeds)[0])
    partner_positions = tf.bitwise.bitwise_xor(positions, tf.ones_like(positions))
    candidates = tf.clip_by_value(indices + tf.cast(partner_positions - positions, tf.int32), 0, tf.shape(seeds)[0] - 1)
    expected = tf.stack([seeds[:, 0], partner_positions], axis=1)
    is_partner = tf.reduce_all(tf.gather(seeds, candidates) == expected, axis=1)
    return tf.where(is_partner, candidates, indices)
