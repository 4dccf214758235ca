"""Pretrained networks of KerasHub, Hugging Face and timm: what a handle names, and whether its files are whole.

`read` says what a handle is before TensorFlow starts, `fetch` downloads what `read` left, and `is_preset` tells these
handles from SavedModels, `.keras` files and `keras:NAME`. Must not import TensorFlow, Keras or KerasHub.
"""

from kerastrain.presets.handles import HUGGING_FACE, is_preset, repository
from kerastrain.presets.preset import Preset, fetch, read, require_language

__all__ = ["HUGGING_FACE", "Preset", "fetch", "is_preset", "read", "repository", "require_language"]
