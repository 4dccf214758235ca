"""Heatmaps of what a score loses when a part of the image is covered. Needs no gradients and no feature maps.

Takes the scores of a flat model and images; returns raw heatmaps. Must not scale or draw.
"""

import numpy as np

from kerastrain.explain.image_inputs import ClassScores

PATCHES = 8
"""The patches along the shorter side of an image, unless their size is given."""


def mean_colours(images: np.ndarray) -> np.ndarray:
    """The mean colour of each image, as an image.

    Args:
        images: float32 (n, height, width, channels).

    Returns:
        float32 of the same shape.
    """
    return np.broadcast_to(images.mean(axis=(1, 2), keepdims=True, dtype="float64"), images.shape).astype("float32")


def places(side: int, patch: int, stride: int) -> list[int]:
    """The first pixels of patches that cover a side.

    Args:
        side: int, pixels.
        patch: int, pixels of a patch.
        stride: int, pixels from one to the next.

    Returns:
        list of int; patches at both ends are cut off by the border, so that every pixel is covered equally often, nearly.
    """
    return list(range(min(0, stride - patch), side, stride))


def occlusion(
    scores: ClassScores,
    images: np.ndarray,
    indices: np.ndarray,
    *,
    patch: int,
    stride: int,
    batch_size: int,
) -> np.ndarray:
    """The mean loss of the score over the patches that cover a pixel, each filled with the image's mean colour.

    Args:
        scores: ClassScores.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.
        patch: int > 0, pixels.
        stride: int > 0, pixels.
        batch_size: int > 0, covered images at a time.

    Returns:
        float32 (n, height, width); negative where covering raises the score.
    """
    height, width = images.shape[1:3]
    boxes = [
        (slice(max(top, 0), top + patch), slice(max(left, 0), left + patch))
        for top in places(height, patch, stride)
        for left in places(width, patch, stride)
    ]
    fills, heatmaps = mean_colours(images), []
    for image, fill, index in zip(images, fills, indices, strict=True):
        before = scores.of(scores.values(image[None]), np.array([index])).numpy()[0]
        total, count = np.zeros((height, width)), np.zeros((height, width))
        for start in range(0, len(boxes), batch_size):
            some = boxes[start : start + batch_size]
            covered = np.repeat(image[None], len(some), axis=0)
            for variant, box in zip(covered, some, strict=True):
                variant[box] = fill[box]
            after = scores.of(scores.values(covered, batch_size, is_repeated=True), np.full(len(some), index)).numpy()
            for box, loss in zip(some, before - after, strict=True):
                total[box] += loss
                count[box] += 1
        heatmaps.append(total / np.maximum(count, 1))
    return np.float32(heatmaps)
