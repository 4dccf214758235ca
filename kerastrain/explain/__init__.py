"""Where a classifier looked: heatmaps over its input images, and pictures of them.

Takes a `keras.Model` and images; gives heatmaps as arrays, and figures. Must not train, and must not change the model
that it explains.
"""

from kerastrain.explain.heatmaps import gradcam, saliency
from kerastrain.explain.pictures import figure, overlay, write

__all__ = ["figure", "gradcam", "overlay", "saliency", "write"]
