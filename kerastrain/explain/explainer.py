"""Explains images by one of all methods, and chooses the method for a model.

Takes a `keras.Model` and raw images; returns float32 heatmaps of the images' size, with the method and the reason for it. Must
not draw.
"""

import dataclasses
import functools
from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError, unknown
from kerastrain.explain import class_activation, covering, pixel_gradients
from kerastrain.explain.attention_rollout import NoRollout, Rollout
from kerastrain.explain.feature_maps import NoFeatureMaps, feature_maps, has_attention, is_flattened, shape_text
from kerastrain.explain.flattening import flattened
from kerastrain.explain.image_inputs import ClassScores, checked, enlarged, parts, scaled
from kerastrain.explain.same_outputs import check_same

_CAMS = {
    "gradcam": class_activation.gradcam,
    "gradcam++": class_activation.gradcam_plus_plus,
    "layercam": class_activation.layercam,
    "scorecam": class_activation.scorecam,
}
METHODS = (*_CAMS, "saliency", "integrated_gradients", "occlusion", "rollout")
"""The methods that explain images."""

PIXEL_METHODS = ("saliency", "integrated_gradients")
"""The methods whose heatmaps are of single pixels, which are drawn smoothed."""

_FEWEST_CELLS = 3  # of maps along the shorter side; fewer locate nothing


@dataclasses.dataclass(frozen=True)
class Heatmaps:
    """Heatmaps of images.

    Args:
        values: float32 array (n, height, width) in [0, 1].
        classes: int array (n,), the class that each explains.
        method: str, out of `METHODS`.
        reason: str, a sentence that says why this method was used.
    """

    values: np.ndarray
    classes: np.ndarray
    method: str
    reason: str


def heatmaps(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | int | None = None,
    method: str = "auto",
    *,
    layer: str | None = None,
    batch_size: int = 32,
) -> Heatmaps:
    """Explains images by the method that suits the model, or by a given one.

    Args:
        model: keras.Model from images to logits, probabilities or numbers.
        images: uint8 or float32 (n, height, width, channels), as the model takes them.
        classes: the class to explain, one int for all images or one int per image; None for the predicted class, and for the
            first number of a regression model. A classifier with one output has the classes 0 and 1.
        method: str, out of `METHODS`, or "auto", see `Explainer`.
        layer: str, the layer whose maps are used, for the methods gradcam, gradcam++, layercam and scorecam.
        batch_size: int > 0, images per batch.

    Returns:
        Heatmaps.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: the method is unknown or does not suit the model, or an argument does not fit it.

    Example:
        >>> kt.explain.heatmaps(model, images).method  # doctest: +SKIP
        'gradcam'
    """
    images = checked(model, images)
    return Explainer(model, images.shape[1:], method, layer=layer)(images, classes, batch_size=batch_size)


class Explainer:
    """A method prepared for a model, to explain many batches of images; it keeps the weights that Hub modules have now.

    The method "auto" is

    - rollout for a network of attention whose tokens are known to be patches of the image, and occlusion for any other, since
      maps of positions that attention has mixed show nothing;
    - gradcam where the last feature maps have at least 3 by 3 cells, also inside a TF Hub module, and layercam where these are
      flattened instead of pooled;
    - occlusion for everything else.

    Args:
        model: keras.Model.
        image_shape: tuple of int, height, width and channels.
        method: str, out of `METHODS`, or "auto".
        layer: str, the layer whose maps are used; None for the last ones.

    Raises:
        InputError: the method is unknown or does not suit the model, or there is no such layer.
    """

    def __init__(
        self, model: keras.Model, image_shape: tuple[int, int, int], method: str = "auto", *, layer: str | None = None
    ):
        if method not in ("auto", *METHODS):
            raise InputError(unknown("method", method, ("auto", *METHODS)))
        if layer is not None and method not in ("auto", *_CAMS):
            raise InputError(
                f"`layer` names feature maps, which only {', '.join(_CAMS)} use. Received: layer={layer!r} and "
                f"method={method!r}. Leave the layer out."
            )
        self._model, self._image_shape, self._layer = model, tuple(image_shape), layer
        self.method, self.reason = (method, "it was asked for.") if method != "auto" else self._choice()
        # Refuses a model without maps or rollout before any image is read.
        _ = self._maps if self.method in _CAMS else self._rollout if self.method == "rollout" else None

    def __call__(
        self, images: np.ndarray, classes: Sequence[int] | int | None = None, *, batch_size: int = 32, **options: object
    ) -> Heatmaps:
        """Explains images.

        Args:
            images: uint8 or float32 (n, height, width, channels).
            classes: as for `heatmaps`.
            batch_size: int > 0, images per batch.
            **options: those of the function of the method, such as `samples` of `saliency`.

        Returns:
            Heatmaps.

        Raises:
            InputError: an argument does not fit the model, or the feature maps do not lead to its outputs.
        """
        values, indices = self._explained(images, classes, batch_size, np.maximum, **options)
        return Heatmaps(scaled(values), indices, self.method, self.reason)

    def signed(
        self, images: np.ndarray, classes: Sequence[int] | int | None = None, *, batch_size: int = 32
    ) -> np.ndarray:
        """Heatmaps with what speaks against the class, as far as the method knows it.

        Args:
            images: as for `__call__`.
            classes: as for `heatmaps`.
            batch_size: int > 0, images per batch.

        Returns:
            float32 (n, height, width), not scaled; of gradcam, integrated gradients and occlusion with negative values.

        Raises:
            InputError: as for `__call__`.
        """
        return self._explained(images, classes, batch_size, lambda cells, zero: cells)[0]

    def _explained(self, images, classes, batch_size: int, limit, **options) -> tuple[np.ndarray, np.ndarray]:
        images = checked(self._model, images)
        scores = self._prepared(images, batch_size)
        indices = scores.indices(classes, images, batch_size)
        explain = self._function(scores, images.shape[1:3], batch_size, limit, **options)
        return np.concatenate([explain(*part) for part in parts(images, indices, batch_size)]), indices

    def _prepared(self, images: np.ndarray, batch_size: int) -> ClassScores:
        if self.method == "rollout":
            return self._rollout.scores
        if self.method not in _CAMS:
            return self._whole
        flat = self._scores.flat
        # What a cut module computes is compared for every image, the rest once.
        check_same(self._model, flat, images if flat.notes.inner else images[:1], batch_size)
        return self._scores

    def _function(self, scores: ClassScores, size: tuple[int, int], batch_size: int, limit, **options):
        """The method as a function of images and classes."""
        if self.method in _CAMS:
            cells = functools.partial(_CAMS[self.method], scores, self._maps)
            return lambda images, indices: enlarged(limit(cells(images, indices), 0), size)
        if self.method == "rollout":
            return lambda images, indices: enlarged(self._rollout(images, indices), size)
        if self.method == "saliency":
            generator = np.random.default_rng(options.pop("seed", 0))
            options = {"samples": 16, "noise_fraction": 0.1, **options, "generator": generator}
            return functools.partial(pixel_gradients.saliency, scores, **options)
        if self.method == "integrated_gradients":
            return functools.partial(_positive_evidence, scores, steps=options.get("steps", 32), batch_size=batch_size)
        patch = options.get("patch") or max(1, -(-min(size) // covering.PATCHES))
        stride = options.get("stride") or max(1, patch // 2)
        return functools.partial(covering.occlusion, scores, patch=patch, stride=stride, batch_size=batch_size)

    @functools.cached_property
    def _scores(self) -> ClassScores:
        return ClassScores(self._model, flattened(self._model, self._image_shape, layer=self._layer))

    @functools.cached_property
    def _whole(self) -> ClassScores:
        return ClassScores(self._model, flattened(self._model, self._image_shape, cut=False))

    @functools.cached_property
    def _maps(self):
        return feature_maps(self._model, self._scores.flat, self._layer)

    @functools.cached_property
    def _rollout(self) -> Rollout:
        return Rollout(self._model, self._image_shape)

    def _choice(self) -> tuple[str, str]:
        if self._layer is not None:
            return "gradcam", f"the layer {self._layer!r} was asked for."
        if has_attention(self._model):
            try:
                _ = self._rollout
            except NoRollout as error:
                return "occlusion", f"the model attends, and its attention cannot be followed: {error.reason}."
            return "rollout", "the model attends among patches of the image, and its attention can be followed."
        try:
            maps = self._maps
        except NoFeatureMaps as error:
            return "occlusion", f"the model has no feature maps for Grad-CAM: {error.reason}."
        where = f"its last feature maps ({shape_text(maps)} at {maps.origin!r})"
        if min(side or _FEWEST_CELLS for side in maps.output.shape[1:3]) < _FEWEST_CELLS:
            return "occlusion", f"{where} have too few cells for Grad-CAM."
        if is_flattened(self._scores.flat, maps):
            return "layercam", f"{where} are flattened, so that each position has weights of its own."
        return "gradcam", f"{where} lead to its outputs."


def _positive_evidence(scores, images, indices, *, steps: int, batch_size: int) -> np.ndarray:
    baselines = covering.mean_colours(images)
    options = {"baselines": baselines, "steps": steps, "batch_size": batch_size}
    return pixel_gradients.attributions(scores, images, indices, **options).sum(axis=-1)
