"""Whether a pretrained network of images can be built, before TensorFlow starts.

Takes a `Preset` of images; returns the size of its images, or refuses it in one sentence. Must not import TensorFlow.
"""

from collections.abc import Iterable

from kerastrain.errors import InputError
from kerastrain.presets import convnexts, kerashub_images, mobilenets, resnets, vision_transformers
from kerastrain.presets.image_scaling import image_scaling
from kerastrain.presets.preset import Preset, require_kerashub

DEFAULT_SIZE = (224, 224)
"""Height and width in pixels for a network whose files name no size."""

_SMALLEST_SIDE = 32
_POOLINGS = {
    "first": "the class token",
    "first_two": "the class token and the distillation token",
    "mean": "the mean of the patches",
    "first_and_mean": "the class token and the mean of the patches",
}
_READERS = {
    "convnext": convnexts.read,
    "mobilenet": mobilenets.read,
    "resnet": resnets.read,
}  # of the families that need no library of the origin


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
    if preset.origin == "kerashub":
        require_kerashub()
    size = tuple(image_size or preset.image_size or DEFAULT_SIZE)
    if preset.family in vision_transformers.FAMILIES:
        patch = _patch_size(preset)
        if patch is not None:
            vision_transformers.check_image_size(preset, patch, size)
        return size
    if preset.origin == "kerashub":
        kerashub_images.check_convolutional(preset)
    elif preset.family in _READERS:
        if preset.is_fetched:
            _READERS[preset.family](preset)
    else:
        require_kerashub()
    if min(size) < _SMALLEST_SIDE:
        raise InputError(
            f"`data.image_size` must be at least {_SMALLEST_SIDE} by {_SMALLEST_SIDE} pixels for {preset.handle!r}, which "
            f"divides a side by 32. Received: {list(size)}."
        )
    return size


def _patch_size(preset: Preset) -> int | None:
    if preset.origin == "kerashub":
        return kerashub_images.read(preset).patch_size
    return vision_transformers.read(preset).patch_size if preset.is_fetched else vision_transformers.patch_size(preset)


def check_formats(preset: Preset, formats: Iterable[str]) -> None:
    """Checks that a network can be exported to formats.

    Args:
        preset: Preset of images.
        formats: iterable of str as in `export.formats`.

    Raises:
        InputError: its layer normalization cannot be written in a format of integers.
    """
    kind = "transformer" if preset.family in vision_transformers.FAMILIES else preset.family
    if (reason := without_integers(kind, formats)) is not None:
        raise InputError(f"`export.formats`: {reason}, with the backbone {preset.handle!r}.")


def kind_of_layers(layers: Iterable[str]) -> str | None:
    """The kind of network that layers are of, for `without_integers`.

    Args:
        layers: iterable of str, the names of the classes of all layers of a model.

    Returns:
        "transformer", "convnext", or None for others.
    """
    names = set(layers)
    if "PoolTokens" in names:
        return "transformer"
    return "convnext" if names & {"GlobalResponseNorm", "ScaleChannels"} else None


def without_integers(kind: str | None, formats: Iterable[str]) -> str | None:
    """Says why a network with layer normalization cannot be written as integers.

    Args:
        kind: "transformer", "convnext", or anything else.
        formats: iterable of str as in `export.formats`, or as `quantize` of a compression.

    Returns:
        str, a sentence without its end; None if all formats can be written.
    """
    integers = {"transformer": ("int8", "int16x8"), "convnext": ("int16x8",)}.get(kind, ())
    refused = [name for name in formats if name.removeprefix("tflite_") in integers]
    if not refused:
        return None
    start = "tflite_" if refused[0].startswith("tflite_") else ""
    if kind == "convnext":
        reason = "the layer normalization of a ConvNeXt has operations that int16x8 has not"
    else:
        reason = (
            "the layer normalization of a vision transformer does not fit into integers: int16x8 has no such operations, and "
            "an int8 file would answer differently"
        )
    return f"{reason}. Use {start}dynamic, which is as small as int8. Received: {', '.join(refused)}"


def description(
    preset: Preset,
    image_size: tuple[int, int] | None = None,
    value_range: tuple[float, float] | None = None,
    *,
    resize: str = "stretch",
) -> list[str]:
    """Says what was read from a network's files, and what its origin does otherwise.

    Args:
        preset: as for `check`.
        image_size: as for `check`.
        value_range: as for `check`.
        resize: str, as in `data.resize`.

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
    facts = [f"{preset.architecture} of {library}, {size}", *image_scaling(preset, value_range).notes(resize)]
    if preset.family in vision_transformers.FAMILIES and preset.is_fetched:
        read = kerashub_images.read if preset.origin == "kerashub" else vision_transformers.read
        facts.insert(1, f"its features are {_POOLINGS[read(preset).pooling]}")
    return facts
