"""Heatmaps of the image regions that a classifier's prediction depends on, and pictures of them.

Takes a `keras.Model` and images; returns heatmaps as arrays, and figures. Must not train, and must not change the model
that it explains.
"""

from kerastrain.explain.heatmaps import gradcam, saliency
from kerastrain.explain.pictures import figure, overlay, write

__all__ = ["figure", "gradcam", "overlay", "saliency", "write"]
