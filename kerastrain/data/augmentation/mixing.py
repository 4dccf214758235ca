"""Blends of two examples, of their targets and of their weights: MixUp and CutMix.

Takes a batch and its seeds, gives a batch. The partner of an example is the neighbour in the order of its epoch: position
2k goes with 2k + 1 and 2k + 1 with 2k. In a shuffled epoch that is a random partner, and a function of the position
alone: with even batches it is the same whatever the size of the batch, the number of devices or the step a run resumes
at. Both of a pair give and take the same share, so that every example counts once in an epoch. One whose neighbour is not
in its batch, as the last of an odd one, stays as it is.

Metrics of training are taken on blended targets, so that the accuracy of a multi-label model means nothing there: look at
validation. Keras's MixUp and CutMix permute the batch by a generator that moves with every call.
"""

from collections.abc import Sequence

import tensorflow as tf

from kerastrain.data.augmentation.philox import symmetric_beta
from kerastrain.data.augmentation.photometric import covered, pasted
from kerastrain.data.augmentation.transforms import Mix, check_fraction, check_range
from kerastrain.errors import InputError


def mixup(*, alpha: float = 0.2, probability: float = 1.0) -> Mix:
    """Blends two images, each by its share, which is also its label's share.

    The larger of the two shares is the example's own: of a pair that is blended both ways, that changes no more than which
    of the two images comes first.

    Args:
        alpha: float > 0, of the Beta(alpha, alpha) distribution of the share: small ones leave most images nearly alone,
            1 makes all shares equally likely.
        probability: float in [0, 1], of an example's being blended at all.

    Reference: Zhang et al. 2017, https://arxiv.org/abs/1710.09412, section 2.
    """
    check_range("mixup.alpha", alpha, 1e-3, 1e3)
    check_fraction("mixup.probability", probability)

    def patches(draws: tf.Tensor) -> tf.Tensor:
        share = symmetric_beta(draws[:, 1], draws[:, 2], alpha)
        amount = tf.where(draws[:, 0] < probability, tf.minimum(share, 1 - share), 0.0)
        none, all_ = tf.zeros_like(amount), tf.ones_like(amount)
        return tf.stack([amount, none, none, all_, all_], axis=1)

    return Mix(3, patches)


def cutmix(*, alpha: float = 1.0, probability: float = 1.0) -> Mix:
    """Covers a rectangle with the same place of another image; the labels' shares are those of the area.

    The rectangle has the proportion of the image and lies inside it.

    Args:
        alpha: float > 0, of the Beta(alpha, alpha) distribution of the share that is covered.
        probability: float in [0, 1], of an example's being covered at all.

    Reference: Yun et al. 2019, https://arxiv.org/abs/1905.04899, section 3.1 (there the rectangle may cross the edge).
    """
    check_range("cutmix.alpha", alpha, 1e-3, 1e3)
    check_fraction("cutmix.probability", probability)

    def patches(draws: tf.Tensor) -> tf.Tensor:
        side = tf.sqrt(symmetric_beta(draws[:, 1], draws[:, 2], alpha))
        top, left = draws[:, 3] * (1 - side), draws[:, 4] * (1 - side)
        return tf.stack([tf.cast(draws[:, 0] < probability, tf.float32), top, left, side, side], axis=1)

    return Mix(5, patches)


def mixed(images: tf.Tensor, given: Sequence[tf.Tensor], seeds: tf.Tensor, patches: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """A batch in which each example shows some of its partner.

    With w and w' the weights of an example and its partner and s the partner's share,

        target' = ((1 - s) w target + s w' target') / weight',   weight' = (1 - s) w + s w'

    so that a loss that is linear in the targets, as cross-entropy is, is the mean of both examples' losses by their shares.

    Args:
        images: float32 (b, h, w, 3).
        given: targets float32 (b, n), and weights float32 (b,) if there are any.
        seeds: int64 (b, 2), for each example the key of its epoch and its position in it.
        patches: float32 (b, 5), as of `Mix`.

    Returns:
        tuple of images and what was given, of the same kinds.

    Raises:
        InputError: there are no targets, or they have no axis of labels.
    """
    if not given or given[0].shape.rank != 2 or not given[0].dtype.is_floating:
        found = f"{given[0].dtype.name} of shape {given[0].shape}" if given else "none"
        raise InputError(
            f"`targets` must be float of shape (batch, labels) under mixup and cutmix, which blend them. Received: {found}."
        )
    partner = partners(seeds)
    amount, top, left, height, width = tf.unstack(patches, axis=1)
    size = tf.shape(images)
    rows, columns = covered(size[1], top, height), covered(size[2], left, width)
    rows *= amount[:, tf.newaxis]
    changed = pasted(images, tf.gather(images, partner), rows, columns)
    share = tf.reduce_mean(rows, axis=1) * tf.reduce_mean(columns, axis=1)
    targets, weights = given[0], (*given[1:], tf.ones_like(share))[0]
    own, others = (1 - share) * weights, share * tf.gather(weights, partner)
    blended = own[:, tf.newaxis] * targets + others[:, tf.newaxis] * tf.gather(targets, partner)
    return changed, tf.math.divide_no_nan(blended, (own + others)[:, tf.newaxis]), *([own + others] * len(given[1:]))


def pair_seeds(seeds: tf.Tensor) -> tf.Tensor:
    """int64 (b, 2), the same for both of a pair: the key of the epoch and the even one of their positions."""
    return tf.stack([seeds[:, 0], tf.bitwise.bitwise_and(seeds[:, 1], tf.constant(-2, tf.int64))], axis=1)


def partners(seeds: tf.Tensor) -> tf.Tensor:
    """int32 (b,), where in the batch each example's partner stands; its own place where the partner is not there."""
    positions = seeds[:, 1]
    places = tf.range(tf.shape(seeds)[0])
    wanted = tf.bitwise.bitwise_xor(positions, tf.ones_like(positions))
    candidates = tf.clip_by_value(places + tf.cast(wanted - positions, tf.int32), 0, tf.shape(seeds)[0] - 1)
    is_there = tf.reduce_all(tf.gather(seeds, candidates) == tf.stack([seeds[:, 0], wanted], axis=1), axis=1)
    return tf.where(is_there, candidates, places)
