"""Heatmaps from gradients with respect to pixels: saliency with SmoothGrad, and integrated gradients.

Takes the scores of a flat model and images; returns raw heatmaps and attributions. tf-keras-vis computes saliency. Must not
scale or draw.
"""

import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.explain.image_inputs import ClassScores
from kerastrain.system import isolated_imports


def saliency(
    scores: ClassScores,
    images: np.ndarray,
    indices: np.ndarray,
    *,
    samples: int,
    noise_fraction: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """The largest mean size of the gradients of a pixel's channels over noisy copies.

    Args:
        scores: ClassScores.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.
        samples: int > 0.
        noise_fraction: float >= 0.
        generator: numpy.random.Generator of the noise.

    Returns:
        float32 (n, height, width) >= 0.
    """
    explainer = isolated_imports.tf_keras_vis().saliency.Saliency(scores.flat)
    score = scores.for_vis(indices)
    stddev = noise_fraction * np.ptp(images, axis=(1, 2, 3), keepdims=True) * (samples > 1)
    total = np.zeros_like(images)
    for _ in range(samples):
        noisy = images + np.float32(stddev * generator.standard_normal(images.shape))
        gradients = explainer(score, noisy, keepdims=True, normalize_map=False, gradient_modifier=_absolute)
        total += np.asarray(gradients)
    return total.max(axis=-1)


def attributions(
    scores: ClassScores,
    images: np.ndarray,
    indices: np.ndarray,
    *,
    baselines: np.ndarray,
    steps: int,
    batch_size: int,
) -> np.ndarray:
    """Integrated gradients of each value of each image, by the midpoint rule.

    Args:
        scores: ClassScores.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.
        baselines: float32 of the same shape as `images`.
        steps: int > 0.
        batch_size: int > 0, images at a time.

    Returns:
        float32 (n, height, width, channels), whose sum over an image is about the score of the image less that of its baseline.
    """
    shares = ((np.arange(steps) + 0.5) / steps).astype("float32")[:, None, None, None]
    found = []
    for image, baseline, index in zip(images, baselines, indices, strict=True):
        total = np.zeros_like(image)
        for start in range(0, steps, batch_size):
            path = tf.constant(baseline + shares[start : start + batch_size] * (image - baseline))
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(path)
                outputs = scores.flat([path], training=False)
                score = tf.reduce_sum(scores.of(outputs, np.full(len(path), index)))
            total += checked_gradient(tape.gradient(score, path)).numpy().sum(axis=0)
        found.append((image - baseline) * total / steps)
    return np.stack(found)


def checked_gradient(gradients: tf.Tensor | None) -> tf.Tensor:
    """A gradient as float32.

    Args:
        gradients: float tensor, or None.

    Returns:
        float32 tensor.

    Raises:
        InputError: it is None.
    """
    if gradients is None:
        raise InputError(
            "saliency and integrated gradients need the gradients of the model's output with respect to its input. Received: "
            "none, because the model is not differentiable. Use occlusion, or explain the model that it was exported from."
        )
    return tf.cast(gradients, "float32")


def _absolute(gradients: tf.Tensor | None) -> tf.Tensor:
    return tf.abs(checked_gradient(gradients))
