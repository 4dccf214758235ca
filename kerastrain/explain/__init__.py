"""What a prediction depends on: heatmaps of image regions with pictures of them, and values of the words of texts.

Takes a `keras.Model`, and images or texts; returns heatmaps as arrays, figures, and values of words. Must not train, and must
not change the model that it explains.
"""

from kerastrain.explain.heatmaps import gradcam, saliency
from kerastrain.explain.occlusion import TextExplanation, WordValue, occlusion
from kerastrain.explain.pictures import figure, overlay, write

__all__ = ["TextExplanation", "WordValue", "figure", "gradcam", "occlusion", "overlay", "saliency", "write"]
