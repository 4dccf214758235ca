"""Whether a pretrained network of images can be built, before TensorFlow starts.

Takes a `Preset` of images; returns the size of its images, or refuses it in one sentence. Must not import TensorFlow.
"""

from collections.abc import Iterable

from kerastrain.errors import InputError
from kerastrain.presets import resnets, vision_transformers
from kerastrain.presets.image_scaling import image_scaling
from kerastrain.presets.preset import Preset, require_kerashub

DEFAULT_SIZE = (224, 224)
"""Height and width in pixels for a network whose files name no size."""

_SMALLEST_SIDE = 32


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
        MissingExtra: KerasHub is not installed, and its converters build the network.
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
    if preset.family == "resnet":
        if preset.is_fetched:
            resnets.read(preset)
    else:
        require_kerashub()
    if min(size) < _SMALLEST_SIDE:
        raise InputError(
            f"`data.image_size` must be at least {_SMALLEST_SIDE} by {_SMALLEST_SIDE} pixels for {preset.handle!r}, which "
            f"divides a side by 32. Received: {list(size)}."
        )
    return size


def check_formats(preset: Preset, formats: Iterable[str]) -> None:
    """Checks that a network can be exported to formats.

    Args:
        preset: Preset of images.
        formats: iterable of str as in `export.formats`.

    Raises:
        InputError: it is a transformer, and a format computes in integers.
    """
    integers = [name for name in formats if name in ("tflite_int8", "tflite_int16x8")]
    if integers and preset.family in vision_transformers.FAMILIES:
        raise InputError(
            "`export.formats`: the layer normalization of a vision transformer does not fit into integers: int16x8 has no "
            f"such operations, and an int8 file would answer differently. Received: {', '.join(integers)}, with the backbone "
            f"{preset.handle!r}. Use tflite_dynamic, which is as small."
        )


def description(
    preset: Preset, image_size: tuple[int, int] | None = None, value_range: tuple[float, float] | None = None
) -> list[str]:
    """Says what was read from a network's files, and what its origin does otherwise.

    Args:
        preset: as for `check`.
        image_size: as for `check`.
        value_range: as for `check`.

    Returns:
        list of str, a sentence each.

    Raises:
        InputError: as `check`.
    """
    height, width = check(preset, image_size, value_range)
    library = {"kerashub": "KerasHub", "transformers": "Hugging Face", "timm": "timm"}[preset.origin]
    size = f"images of {height} by {width} pixels"
    if preset.image_size is not None and preset.image_size != (height, width):
        size += f" instead of its own {preset.image_size[0]} by {preset.image_size[1]}"
    return [f"{preset.architecture} of {library}, {size}", *image_scaling(preset, value_range).notes()]
