"""One function for each method that explains images.

Takes a `keras.Model` and raw images; returns float32 heatmaps of the images' size. Must not draw.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.explain import covering, pixel_gradients
from kerastrain.explain.explainer import Explainer
from kerastrain.explain.flattening import flattened
from kerastrain.explain.image_inputs import ClassScores, checked


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
        model: keras.Model from images to logits, functional or Sequential; may contain nested models and `HubLayer`s,
            whose modules are cut at their last feature maps. A softmax or sigmoid at its end is removed.
        images: uint8 or float32 (n, height, width, channels), as the model takes them.
        classes: the class to explain, one int for all images or one int per image; None for the predicted class. A
            model with one logit has the classes 0 and 1.
        layer: str, name of the layer whose output is used as the feature maps, also of one inside a Hub module; None for
            the last one with a spatial output.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1]. The maximum of each heatmap is 1; a heatmap without evidence for the class
        is 0 everywhere.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: the model has no feature maps (use `image_occlusion`), attention mixes them afterwards, `layer` is not one
            of them, or `images` or `classes` do not fit the model.

    Example:
        >>> heatmaps = kt.explain.gradcam(model, images)  # doctest: +SKIP

    Reference: Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, eq. 1 and 2.
    """
    return _heatmaps(model, images, classes, "gradcam", layer, batch_size)


def gradcam_plus_plus(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Grad-CAM with weights that also find several and small objects of a class.

        weight_k = sum over positions of alpha_k * relu(d exp(logit_class) / d map_k)

    Args:
        model: as for `gradcam`.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        layer: as for `gradcam`.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1].

    Raises:
        TypeError: as for `gradcam`.
        InputError: as for `gradcam`.

    Reference: Chattopadhyay et al. 2018, https://arxiv.org/abs/1710.11063, eq. 19.
    """
    return _heatmaps(model, images, classes, "gradcam++", layer, batch_size)


def layercam(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Feature maps weighted by their positive gradients at each position, which suits earlier layers and flattened maps.

        heatmap = relu(sum_k relu(d logit_class / d map_k) * map_k)

    Args:
        model: as for `gradcam`.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        layer: as for `gradcam`.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1].

    Raises:
        TypeError: as for `gradcam`.
        InputError: as for `gradcam`.

    Reference: Jiang et al. 2021, https://ieeexplore.ieee.org/document/9462463, eq. 5 to 7.
    """
    return _heatmaps(model, images, classes, "layercam", layer, batch_size)


def scorecam(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Feature maps weighted by the probability of the class where only they show the image. Needs no gradients.

    Of maps with more than 64 channels, the 64 of largest variation are used ("Faster Score-CAM").

    Args:
        model: as for `gradcam`, a classifier.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        layer: as for `gradcam`.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1].

    Raises:
        TypeError: as for `gradcam`.
        InputError: as for `gradcam`, or the model is of regression.

    Reference: Wang et al. 2020, https://arxiv.org/abs/1910.01279.
    """
    return _heatmaps(model, images, classes, "scorecam", layer, batch_size)


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
    options = {"samples": samples, "noise_fraction": noise_fraction, "seed": seed}
    return _heatmaps(model, images, classes, "saliency", None, batch_size, **options)


def image_integrated_gradients(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    steps: int = 32,
    batch_size: int = 32,
) -> np.ndarray:
    """Pixels that raise the logit of a class above that of the image's mean colour; `pixel_attributions` has both signs.

    Args:
        model: keras.Model from images to logits, differentiable.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        steps: int > 0, points on the way from the mean colour to the image.
        batch_size: int > 0, points at a time.

    Returns:
        float32 (n, height, width) in [0, 1], the positive part of the sum over the channels, divided by its maximum.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: as for `pixel_attributions`.

    Reference: Sundararajan, Taly and Yan 2017, https://arxiv.org/abs/1703.01365.
    """
    _check_positive("steps", steps)
    return _heatmaps(model, images, classes, "integrated_gradients", None, batch_size, steps=steps)


def pixel_attributions(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    baseline: float | np.ndarray | None = None,
    steps: int = 64,
    batch_size: int = 32,
) -> np.ndarray:
    """Integrated gradients: the part of each value of an image in the difference of the logit from that of a baseline.

        attribution = (image - baseline) * integral over a in [0, 1] of d logit_class(baseline + a (image - baseline)) / d image

    Args:
        model: keras.Model from images to logits, differentiable.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        baseline: float, or array that broadcasts to the images; None for the mean colour of each image.
        steps: int > 0, points of the midpoint rule.
        batch_size: int > 0, points at a time.

    Returns:
        float32 (n, height, width, channels), whose sum over an image is the difference of the logits, up to the error of the
        midpoint rule.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: an argument does not fit the model, or it is not differentiable.

    Reference: Sundararajan, Taly and Yan 2017, https://arxiv.org/abs/1703.01365, eq. 1 and 3.
    """
    _check_positive("steps", steps)
    images = checked(model, images)
    scores = ClassScores(model, flattened(model, images.shape[1:], cut=False))
    if baseline is None:
        baselines = covering.mean_colours(images)
    else:
        try:
            baselines = np.broadcast_to(np.float32(baseline), images.shape)
        except ValueError as error:
            raise InputError(
                f"`baseline` must broadcast to the images {images.shape}. Received: {np.shape(baseline)}. Use a number, a "
                "colour, or an image."
            ) from error
    options = {"baselines": baselines, "steps": steps, "batch_size": batch_size}
    return pixel_gradients.attributions(scores, images, scores.indices(classes, images, batch_size), **options)


def image_occlusion(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """What the score of a class loses when a square of the image is filled with its mean colour. Works on every model.

        heatmap = relu(mean over the squares that cover a pixel of (score - score without the square)), divided by its maximum

    Args:
        model: keras.Model from images to logits or probabilities.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        patch: int > 0, side of a square in pixels; None for an eighth of the shorter side.
        stride: int > 0, pixels from one square to the next; None for half of `patch`.
        batch_size: int > 0, covered images per batch.

    Returns:
        float32 (n, height, width) in [0, 1].

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: `images`, `classes`, `patch` or `stride` do not fit.

    Reference: Zeiler and Fergus 2013, https://arxiv.org/abs/1311.2901, section 4.2.
    """
    for name, value in (("patch", patch), ("stride", stride)):
        if value is not None:
            _check_positive(name, value)
    if patch and stride and stride > patch:
        raise InputError(
            f"`stride` must be at most `patch`, or pixels are never covered. Received: {stride} and {patch}. Lower it."
        )
    return _heatmaps(model, images, classes, "occlusion", None, batch_size, patch=patch, stride=stride)


def rollout(
    model: keras.Model, images: np.ndarray, classes: Sequence[int] | int | None = None, *, batch_size: int = 32
) -> np.ndarray:
    """How the attention of a vision transformer leads from the patches of an image to the logit of a class.

    See `attention_rollout.Rollout` for the formula.

    Args:
        model: keras.Model with a vision transformer, whose tokens a layer `MapsToTokens` makes of the patches.
        images: as for `gradcam`.
        classes: as for `gradcam`.
        batch_size: int > 0, images per batch.

    Returns:
        float32 (n, height, width) in [0, 1].

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: the attention of the model cannot be followed, or `images` or `classes` do not fit.

    Reference: Chefer, Gur and Wolf 2021, https://arxiv.org/abs/2103.15679; Abnar and Zuidema 2020,
        https://arxiv.org/abs/2005.00928.
    """
    return _heatmaps(model, images, classes, "rollout", None, batch_size)


def _heatmaps(model, images, classes, method, layer, batch_size, **options) -> np.ndarray:
    images = checked(model, images)
    return Explainer(model, images.shape[1:], method, layer=layer)(
        images, classes, batch_size=batch_size, **options
    ).values


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"`{name}` must be a whole number of at least 1. Received: {value!r}.")
