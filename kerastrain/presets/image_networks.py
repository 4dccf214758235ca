"""Whether a pretrained network of images can be built, before TensorFlow starts.

Takes a `Preset` of images; returns the size of its images, or refuses it in one sentence. Must not import TensorFlow.
"""

from kerastrain.presets import vision_transformers
from kerastrain.presets.image_scaling import image_scaling
from kerastrain.presets.preset import Preset

DEFAULT_SIZE = (224, 224)
"""Height and width in pixels for a network whose files name no size."""


def check(
    preset: Preset, image_size: tuple[int, int] | None = None, value_range: tuple[float, float] | None = None
) -> tuple[int, int]:
    """Checks what can be known about a network without building it.

    Args:
        preset: Preset of images; without its weights, only its JSON files are checked.
        image_size: (height, width) in pixels, or None for the size that its files name.
        value_range: (low, high) that pixels are scaled to, where its files do not say it.

    Returns:
        (height, width) in pixels.

    Raises:
        InputError: it cannot take this size or value range, or its files do not fit each other.
    """
    image_scaling(preset, value_range)
    size = tuple(image_size or preset.image_size or DEFAULT_SIZE)
    if preset.family in vision_transformers.FAMILIES:
        patch = (
            vision_transformers.read(preset).patch_size if preset.is_fetched else vision_transformers.patch_size(preset)
        )
        if patch is not None:
            vision_transformers.check_image_size(preset, patch, size)
    return size
