"""What a prediction depends on: heatmaps of image regions with pictures of them, and values of the words of texts.

Takes a `keras.Model`, and images or texts; returns heatmaps as arrays, figures, and values of words. Must not train, and must
not change the model that it explains.
"""

from kerastrain.explain.explainer import METHODS, Explainer, Heatmaps, heatmaps
from kerastrain.explain.methods import (
    gradcam,
    gradcam_plus_plus,
    image_integrated_gradients,
    image_occlusion,
    layercam,
    pixel_attributions,
    rollout,
    saliency,
    scorecam,
)
from kerastrain.explain.occlusion import TextExplanation, WordValue, occlusion
from kerastrain.explain.pictures import figure, overlay, write

__all__ = [
    "METHODS",
    "Explainer",
    "Heatmaps",
    "TextExplanation",
    "WordValue",
    "figure",
    "gradcam",
    "gradcam_plus_plus",
    "heatmaps",
    "image_integrated_gradients",
    "image_occlusion",
    "layercam",
    "occlusion",
    "overlay",
    "pixel_attributions",
    "rollout",
    "saliency",
    "scorecam",
    "write",
]
