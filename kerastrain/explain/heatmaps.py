"""Heatmaps of the pixels that raise the logit of a class.

Takes a `keras.Model` and raw images; returns float32 heatmaps of the images' size. tf-keras-vis computes the gradients;
this module adapts functional models to it and scales the results. Must not draw.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.explain.flattening import Step, flattened
from kerastrain.keras_internals.graph import is_transparent
from kerastrain.system import isolated_imports


def gradcam(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Regions of the last feature maps that raise the logit of a class.

    Use it to see whether a classifier uses the object or its surroundings.

        weight_k = mean over height and width of d logit_class / d map_k
        heatmap = relu(sum_k weight_k * map_k), resized bilinearly to the image's size, divided by its maximum

    Args:
        model: keras.Model from images to logits, functional or Sequential; may contain nested models and `HubLayer`s
            with a `feature_maps` endpoint. A softmax or sigmoid at its end is removed.
        images: uint8 or float32 (n, height, width, channels), as the model takes them.
        classes: the class to explain, one int for all images or one int per image; None for the predicted class. A
            model with one logit has the classes 0 and 1.
        layer: str, name of the layer whose output is used as the feature maps; None for the last one with a spatial
            output.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1]. The maximum of each heatmap is 1; a heatmap without evidence for the class
        is 0 everywhere.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: the model has no visible feature maps (use `saliency`), `layer` is not one of them, or `images` or
            `classes` do not fit the model.

    Example:
        >>> heatmaps = kt.explain.gradcam(model, images)  # doctest: +SKIP

    Reference: Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, eq. 1 and 2.
    """
    images = _checked(model, images)
    flat = flattened(model, images.shape[1:])
    maps = _maps(model, flat, layer)
    explainer = isolated_imports.tf_keras_vis().gradcam.Gradcam(flat)
    _check_same(model, flat, images[:1])
    heatmaps = []
    for part, score in _parts(flat, images, classes, batch_size):
        heatmap = explainer(
            score,
            part,
            penultimate_layer=maps,
            seek_penultimate_conv_layer=False,
            # In half precision the mean and the sum over the maps would round.
            gradient_modifier=lambda gradients: tf.cast(gradients, "float32"),
            expand_cam=False,
            normalize_cam=False,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        # tf-keras-vis would align the corners, which shifts the outer cells by half a cell.
        heatmaps.append(tf.image.resize(np.float32(heatmap)[..., None], part.shape[1:3])[..., 0])
    return _scaled(np.concatenate(heatmaps))


def saliency(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    samples: int = 16,
    noise_fraction: float = 0.1,
    seed: int = 0,
    batch_size: int = 32,
) -> np.ndarray:
    """Sensitivity of the logit of a class to each pixel, averaged over noisy copies of the image (SmoothGrad).

    Works on every differentiable model, including those without visible feature maps for `gradcam`, but is noisier.

        heatmap = max over channels of mean over samples of |d logit_class / d pixel|, divided by its maximum

    Args:
        model: keras.Model from images to logits.
        images: uint8 or float32 (n, height, width, channels), as the model takes them.
        classes: as for `gradcam`.
        samples: int > 0, noisy copies per image; with 1, the image itself is used without noise.
        noise_fraction: float >= 0, standard deviation of the noise as a share of the image's range of values.
        seed: int >= 0, seed of the noise.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1].

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: `images`, `classes`, `samples` or `noise_fraction` are out of range, or the model has no gradient with
            respect to its input.

    Reference: Smilkov et al. 2017, https://arxiv.org/abs/1706.03825; Simonyan et al. 2013,
        https://arxiv.org/abs/1312.6034.
    """
    if samples < 1 or noise_fraction < 0:
        raise InputError(
            "`samples` must be at least 1 and `noise_fraction` at least 0. "
            f"Received: {samples} and {noise_fraction}. The defaults are 16 and 0.1."
        )
    images = _checked(model, images)
    flat = flattened(model, images.shape[1:])
    explainer = isolated_imports.tf_keras_vis().saliency.Saliency(flat)
    generator = np.random.default_rng(seed)
    heatmaps = []
    for part, score in _parts(flat, images, classes, batch_size):
        stddev = noise_fraction * np.ptp(part, axis=(1, 2, 3), keepdims=True) * (samples > 1)
        total = np.zeros_like(part)
        for _ in range(samples):
            noisy = part + np.float32(stddev * generator.standard_normal(part.shape))
            gradients = explainer(score, noisy, keepdims=True, normalize_map=False, gradient_modifier=_absolute)
            total += np.asarray(gradients)
        heatmaps.append(total.max(axis=-1))
    return _scaled(np.concatenate(heatmaps))


def _checked(model: keras.Model, images: np.ndarray) -> np.ndarray:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with kerastrain.models.load."
        )
    images = np.asarray(images, "float32")
    if images.ndim != 4 or not len(images):
        raise InputError(
            "`images` must be (n, height, width, channels) with n >= 1. "
            f"Received: {images.shape}. Stack images with numpy.stack."
        )
    expected = getattr(model, "inputs", None) or []
    if len(expected) > 1 or len(model.outputs if expected else []) > 1:
        raise InputError(
            f"only models with one input and one output can be explained. Received: {len(expected)} inputs and "
            f"{len(model.outputs)} outputs. Wrap the model in a keras.Model of one image input and one output."
        )
    if expected:
        shape = tuple(expected[0].shape[1:])
        fits = len(shape) == 3 and all(a in (None, b) for a, b in zip(shape, images.shape[1:], strict=True))
        if not fits:
            raise InputError(
                f"`images` must fit the model's input {shape}. Received: {images.shape[1:]}. Resize them first."
            )
    return images


def _maps(model: keras.Model, flat: keras.Model, name: str | None) -> Step:
    steps = [step for step in flat.layers if isinstance(step, Step)]
    first = next((index for index, step in enumerate(steps) if step.has_weights), len(steps))
    # Before the first layer with weights there is only the preprocessed image.
    spatial = [step for step in steps[first:] if _is_spatial(step.output)] if is_transparent(model) else []
    if not spatial:
        raise InputError(
            f"Grad-CAM needs feature maps (batch, height, width, channels), and the model {model.name!r} has none that "
            "are visible: its backbone is opaque or not convolutional. Use saliency (`--method saliency`), or a backbone "
            "with a `feature_maps` endpoint."
        )
    if name is None:
        return spatial[-1]
    matches = [step for step in spatial if name in (step.origin, step.origin.split("/")[-1])]
    if len(matches) != 1:
        raise InputError(unknown("feature map layer", name, [step.origin for step in spatial]))
    return matches[0]


def _is_spatial(output) -> bool:
    return (
        isinstance(output, keras.KerasTensor)
        and len(output.shape) == 4
        and "float" in output.dtype
        and tuple(output.shape[1:3]) != (1, 1)
    )


def _check_same(model: keras.Model, flat: keras.Model, images: np.ndarray) -> None:
    """Checks that the flat model computes the outputs of the model, so that the right function is explained."""
    outputs = np.float64(model.predict(images, verbose=0))
    logits = np.float64(flat([images], training=False))
    logits = logits.reshape(outputs.shape)
    candidates = [logits, 1 / (1 + np.exp(-logits)), np.exp(logits - np.logaddexp.reduce(logits, -1, keepdims=True))]
    scale = max(1.0, float(np.abs(outputs).max()))
    if not any(np.allclose(outputs, candidate, atol=2e-2 * scale) for candidate in candidates):
        raise InputError(
            f"the feature maps of {model.name!r} do not lead to its outputs: they differ by "
            f"{np.abs(outputs - logits).max():.3g}. Its `feature_maps` endpoint must return the maps whose spatial mean "
            "is the module's output. Use saliency (`--method saliency`)."
        )


def _parts(flat: keras.Model, images: np.ndarray, classes, batch_size: int) -> Iterator[tuple]:
    """Batches of images, each with the score that tf-keras-vis differentiates."""
    classes = None if classes is None else _class_per_image(classes, len(images), max(2, flat.output_shape[-1]))
    scores = isolated_imports.tf_keras_vis().utils.scores
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        chosen = _predicted(flat, part) if classes is None else classes[start : start + batch_size]
        kind = scores.BinaryScore if flat.output_shape[-1] == 1 else scores.CategoricalScore
        yield part, kind(chosen.tolist())


def _class_per_image(classes: Sequence[int] | int, image_count: int, class_count: int) -> np.ndarray:
    indices = np.broadcast_to(classes, (image_count,)) if np.ndim(classes) == 0 else np.asarray(classes)
    valid = indices.shape == (image_count,) and indices.dtype.kind in "iu"
    if not valid or indices.min() < 0 or indices.max() >= class_count:
        raise InputError(
            f"`classes` must be one int, or one for each of {image_count} images, from 0 to {class_count - 1}. "
            f"Received: {classes}. Look the index up in the model's labels."
        )
    return indices


def _predicted(flat: keras.Model, images: np.ndarray) -> np.ndarray:
    logits = np.asarray(tf.cast(flat([images], training=False), "float32"))
    return (logits[:, 0] > 0).astype("int64") if logits.shape[-1] == 1 else logits.argmax(axis=-1)


def _absolute(gradients: tf.Tensor | None) -> tf.Tensor:
    if gradients is None:
        raise InputError(
            "saliency needs the gradients of the model's output with respect to its input. Received: none, because the "
            "model is not differentiable. Explain the model that it was exported from."
        )
    return tf.abs(tf.cast(gradients, "float32"))


def _scaled(heatmaps: np.ndarray) -> np.ndarray:
    largest = heatmaps.max(axis=(1, 2), keepdims=True)
    return np.divide(heatmaps, largest, out=np.zeros_like(heatmaps), where=largest > 0).astype("float32")
