"""What a prediction depends on: heatmaps of image regions with pictures of them, and values of the words of texts.

Takes a `keras.Model`, and images or texts; returns heatmaps as arrays, figures, and values of words. Must not train, and must
not change the model that it explains.
"""

from kerastrain.explain.explainer import METHODS, PIXEL_METHODS, Explainer, Heatmaps, heatmaps
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
from kerastrain.explain.occlusion import occlusion
from kerastrain.explain.pictures import figure, overlay, pixel_overlay, write
from kerastrain.explain.scores import DeletionInsertion, SanityCheck, deletion_insertion, pointing_game, sanity_check
from kerastrain.explain.text_explanation import Completeness, TextExplanation, WordValue
from kerastrain.explain.text_methods import TEXT_METHODS, text_method
from kerastrain.explain.text_scores import Deletion, deletion
from kerastrain.explain.token_gradients import integrated_gradients

__all__ = [
    "METHODS",
    "PIXEL_METHODS",
    "TEXT_METHODS",
    "Completeness",
    "Deletion",
    "DeletionInsertion",
    "Explainer",
    "Heatmaps",
    "SanityCheck",
    "TextExplanation",
    "WordValue",
    "deletion",
    "deletion_insertion",
    "figure",
    "gradcam",
    "gradcam_plus_plus",
    "heatmaps",
    "image_integrated_gradients",
    "image_occlusion",
    "integrated_gradients",
    "layercam",
    "occlusion",
    "overlay",
    "pixel_attributions",
    "pixel_overlay",
    "pointing_game",
    "rollout",
    "saliency",
    "sanity_check",
    "scorecam",
    "text_method",
    "write",
]
