"""How good heatmaps are: deletion and insertion, the pointing game, and the comparison with randomised weights.

Takes a `keras.Model`, images and heatmaps; returns numbers. Must not draw. The model is as it was afterwards.
"""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import scipy
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.explain.covering import mean_colours
from kerastrain.explain.explainer import Explainer
from kerastrain.explain.flattening import Step, flattened
from kerastrain.explain.image_inputs import ClassScores, checked
from kerastrain.hub.layer import HubLayer

_RANDOM_CELLS = 8  # along each side of a random heatmap, as smooth as those that it is compared with
_COMPARED_SIDE = 32  # pixels, to which heatmaps are reduced before their ranks are compared
_BLUR_FRACTION = 1 / 16  # of the shorter side


@dataclasses.dataclass(frozen=True)
class DeletionInsertion:
    """The probability of a class while an image loses, or gets, its pixels in the order of a heatmap.

    A good heatmap has a small area under the curve of deletion and a large one under that of insertion, compared with those of
    a random order.

    Args:
        fractions: float array (points,), the shares of the pixels, from 0 to 1.
        deletion: float array (n, points), where the pixels become the mean colour of the image.
        insertion: float array (n, points), where they return to a blurred image.
        random_deletion: float array (n, points), in a random order.
        random_insertion: float array (n, points), in a random order.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    @property
    def areas(self) -> dict[str, np.ndarray]:
        """The area under each curve, float arrays (n,) in [0, 1] by its name."""
        names = [field.name for field in dataclasses.fields(self)[1:]]
        return {name: scipy.integrate.trapezoid(getattr(self, name), self.fractions, axis=1) for name in names}


@dataclasses.dataclass(frozen=True)
class SanityCheck:
    """How similar heatmaps are to those of the model with randomised weights.

    Heatmaps that stay similar do not depend on what the model has learned.

    Args:
        fractions: float array (stages,), the share of the layers, from the output on, whose weights are randomised.
        correlations: float array (stages, n), Spearman's rank correlation with the heatmaps of the model; 0 for a heatmap
            without contrast.
    """

    fractions: np.ndarray
    correlations: np.ndarray


def deletion_insertion(
    model: keras.Model,
    images: np.ndarray,
    heatmaps: np.ndarray,
    classes: Sequence[int] | int | None = None,
    *,
    steps: int = 16,
    batch_size: int = 32,
    seed: int = 0,
) -> DeletionInsertion:
    """Removes pixels from images, and returns them, in the order of their heatmaps, and follows the probability of a class.

    Args:
        model: keras.Model of a classifier.
        images: uint8 or float32 (n, height, width, channels), as the model takes them.
        heatmaps: float32 (n, height, width).
        classes: the class that each heatmap explains, one int for all images or one int per image; None for the predicted one.
        steps: int > 0, steps from none of the pixels to all.
        batch_size: int > 0, images per batch.
        seed: int >= 0, seed of the random order.

    Returns:
        DeletionInsertion.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: the model is of regression, or an argument does not fit the images.

    Reference: Petsiuk, Das and Saenko 2018, https://arxiv.org/abs/1806.07421, section 3.3.
    """
    images = checked(model, images)
    _check_shape(heatmaps, images.shape[:3])
    if steps < 1:
        raise InputError(f"`steps` must be at least 1. Received: {steps}.")
    probability = _probability(model, images, classes, batch_size)
    side = min(images.shape[1:3])
    blurred = scipy.ndimage.gaussian_filter(images, (0, side * _BLUR_FRACTION, side * _BLUR_FRACTION, 0))
    removed, generator = mean_colours(images), np.random.default_rng(seed)
    fractions = np.arange(steps + 1) / steps
    curves = {name: [] for name in ("deletion", "insertion", "random_deletion", "random_insertion")}
    for index, (image, heatmap) in enumerate(zip(images, np.asarray(heatmaps, "float32"), strict=True)):
        cells = generator.uniform(size=(1, _RANDOM_CELLS, _RANDOM_CELLS, 1)).astype("float32")
        random = tf.image.resize(cells, heatmap.shape)[0, ..., 0].numpy()
        for prefix, order in (("", heatmap), ("random_", random)):
            # Equal values, such as zeros, in a random order.
            ranks = np.lexsort((generator.permutation(order.size), -order.ravel())).argsort().reshape(order.shape)
            masks = ranks[None, ..., None] < (fractions * order.size)[:, None, None, None]
            curves[f"{prefix}deletion"].append(probability(np.where(masks, removed[index], image), index))
            curves[f"{prefix}insertion"].append(probability(np.where(masks, image, blurred[index]), index))
    return DeletionInsertion(fractions, **{name: np.stack(values) for name, values in curves.items()})


def pointing_game(
    heatmaps: np.ndarray, boxes: Sequence[tuple[int, int, int, int]], *, tolerance_pixels: int = 0
) -> np.ndarray:
    """Whether the largest value of each heatmap lies on the object.

    Args:
        heatmaps: float32 (n, height, width).
        boxes: sequence of n (top, left, bottom, right) in pixels, the last two outside of the object.
        tolerance_pixels: int >= 0, pixels around the box that count too; 15 in the paper.

    Returns:
        bool array (n,); False for a heatmap of zeros. The share of True is the score.

    Raises:
        InputError: there is not a box for each heatmap.

    Reference: Zhang et al. 2016, https://arxiv.org/abs/1608.00507, section 4.1.
    """
    heatmaps = np.asarray(heatmaps)
    if heatmaps.ndim != 3 or len(boxes) != len(heatmaps) or any(len(box) != 4 for box in boxes):
        raise InputError(
            "`heatmaps` must be (n, height, width), with a box (top, left, bottom, right) for each. Received: "
            f"{heatmaps.shape} and {len(boxes)} boxes."
        )
    hits = []
    for heatmap, (top, left, bottom, right) in zip(heatmaps, boxes, strict=True):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        in_rows = top - tolerance_pixels <= row < bottom + tolerance_pixels
        hits.append(in_rows and left - tolerance_pixels <= column < right + tolerance_pixels and heatmap.max() > 0)
    return np.array(hits, bool)


def sanity_check(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    method: str = "auto",
    *,
    layer: str | None = None,
    stages: int = 4,
    seed: int = 0,
    batch_size: int = 32,
) -> SanityCheck:
    """Compares heatmaps with those of the model while its weights are randomised, layer by layer from the output on.

    The values of each kernel are shuffled, so that their distribution stays. The weights are restored in the end.

    Args:
        model: keras.Model.
        images: uint8 or float32 (n, height, width, channels), as the model takes them.
        classes: as for `heatmaps`.
        method: as for `heatmaps`.
        layer: as for `heatmaps`.
        stages: int > 0, steps from the last layers to all.
        seed: int >= 0.
        batch_size: int > 0, images per batch.

    Returns:
        SanityCheck.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: as for `heatmaps`, or the model has no weights.

    Reference: Adebayo et al. 2018, https://arxiv.org/abs/1810.03292, section 4, cascading randomization.
    """
    images = checked(model, images)
    explainer = Explainer(model, images.shape[1:], method, layer=layer)
    indices = explainer(images, classes, batch_size=batch_size).classes
    found = explainer.signed(images, indices, batch_size=batch_size)
    layers = _layers_of_weights(model, images.shape[1:])
    if not layers:
        raise InputError(f"the model {model.name!r} has no weights that could be randomised.")
    fractions = (np.arange(stages) + 1) / stages
    generator, correlations, done = np.random.default_rng(seed), [], 0
    values = [(variable, variable.numpy()) for variables in layers for variable in variables]
    try:
        for fraction in fractions:
            wanted = int(np.ceil(fraction * len(layers)))
            for variables in layers[len(layers) - wanted : len(layers) - done]:
                for variable in variables:
                    shuffled = generator.permutation(variable.numpy().ravel()).reshape(variable.shape)
                    variable.assign(shuffled)
            done = wanted
            other = Explainer(model, images.shape[1:], explainer.method, layer=layer)
            randomised = other.signed(images, indices, batch_size=batch_size)
            correlations.append(_rank_correlations(found, randomised))
    finally:
        for variable, value in values:
            variable.assign(value)
    return SanityCheck(fractions, np.stack(correlations))


def _layers_of_weights(model: keras.Model, image_shape: tuple[int, int, int]) -> list[list]:
    """The kernels of each layer in the order of the graph; of a layer whose inside is not known, each weight by itself."""
    steps = [step for step in flattened(model, image_shape, cut=False).layers if isinstance(step, Step)]
    layers, seen = [], set()
    for operation in (step.of.operation for step in steps if step.has_weights):
        # Kernels, not the few numbers of a channel: with the statistics of batch norm shuffled, the outputs would be constant.
        kernels = [weight for weight in operation.weights if "float" in str(weight.dtype) and len(weight.shape) > 1]
        weights = [weight for weight in kernels if id(weight) not in seen]
        seen.update(map(id, weights))
        is_whole = not isinstance(operation, HubLayer | keras.Model)
        layers += [weights] if is_whole and weights else [[weight] for weight in weights]
    return layers


def _rank_correlations(heatmaps: np.ndarray, others: np.ndarray) -> list[float]:
    size = [min(side, _COMPARED_SIDE) for side in heatmaps.shape[1:]]
    pairs = [tf.image.resize(values[..., None], size, method="area").numpy() for values in (heatmaps, others)]
    found = []
    for one, other in zip(*pairs, strict=True):
        is_flat = np.ptp(one) == 0 or np.ptp(other) == 0
        found.append(0.0 if is_flat else float(scipy.stats.spearmanr(one.ravel(), other.ravel()).statistic))
    return found


def _probability(model, images, classes, batch_size) -> Callable[[np.ndarray, int], np.ndarray]:
    """A function from variants of an image to the probabilities of the class of the image."""
    scores = ClassScores(model, flattened(model, images.shape[1:], cut=False))
    if scores.is_regression:
        raise InputError("deletion and insertion need probabilities, which a regression model does not have.")
    indices = scores.indices(classes, images, batch_size)

    def probability(variants: np.ndarray, index: int) -> np.ndarray:
        outputs, which = scores.values(np.float32(variants), batch_size, is_repeated=True), indices[index]
        if scores.is_binary or not scores.is_single_label:
            logits = outputs[:, 0] * (2 * which - 1) if scores.is_binary else outputs[:, which]
            return 1 / (1 + np.exp(-np.float64(logits)))
        if outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
            return outputs[:, which]  # an opaque model that ends in a softmax
        return tf.nn.softmax(outputs)[:, which].numpy()

    return probability


def _check_shape(heatmaps: np.ndarray, shape: tuple[int, ...]) -> None:
    if np.shape(heatmaps) != shape:
        raise InputError(f"`heatmaps` must fit the images, {shape}. Received: {np.shape(heatmaps)}.")
