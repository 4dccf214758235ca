"""Backbones: networks that turn images or texts into features, loaded from any kind of handle.

`load` and `image_size` are for images, `text_backbones.load` is for texts, and `describe` is for both. Must not train or
write.
"""

from kerastrain.backbones.backbone import Backbone
from kerastrain.backbones.description import describe
from kerastrain.backbones.image_backbones import image_size, load

__all__ = ["Backbone", "describe", "image_size", "load"]
