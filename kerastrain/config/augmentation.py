"""The key `data.augment`: which random transforms training examples get, and how strong they are.

Takes the value of the key in any of its forms and returns a frozen record. The transforms themselves have the same names
in `kerastrain.data.augmentation`. Must not import TensorFlow.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler

from kerastrain.config.expectations import shown
from kerastrain.config.values import Fraction, NotNegative, Section

Above0Fraction = Annotated[float, Field(gt=0, le=1)]
Concentration = Annotated[float, Field(ge=1e-3, le=1e3)]
Whole = Annotated[int, Field(ge=1)]


class Flip(Section):
    """Mirrors images. Leave it out where a mirrored image means something else, as with digits and letters."""

    probability: Fraction = 0.5
    """Probability that an image is mirrored left to right."""
    vertical_probability: Fraction = 0.0
    """Probability that an image is mirrored top to bottom."""


class Crop(Section):
    """Shifts images by whole pixels; the uncovered border shows a reflection of the image."""

    shift_fraction: Fraction = 0.125
    """Largest shift in each direction, as a fraction of the image's height or width."""


class ResizedCrop(Section):
    """Cuts out a random rectangle and enlarges it to the size of the image."""

    area_fraction: Above0Fraction = 0.7
    """Smallest area of the rectangle, as a fraction of the image's area."""
    aspect_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.2
    """Largest factor by which the aspect ratio changes; 1 keeps it."""


class Rotation(Section):
    """Rotates images about their centre; the corners show a reflection of the image."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest angle in either direction, in degrees."""


class Colour(Section):
    """Colour jitter."""

    brightness: Fraction = 0.2
    """Largest relative change of brightness: the factor is drawn from [1 - value, 1 + value]."""
    contrast: Fraction = 0.2
    """Largest relative change of contrast about the mean grey: the factor is drawn from [1 - value, 1 + value]."""
    saturation: Fraction = 0.2
    """Largest relative change of saturation: the factor is drawn from [1 - value, 1 + value]."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Largest rotation of the hue in either direction, as a fraction of the colour circle."""


class RandAugment(Section):
    """Applies a few of fourteen operations in sequence, drawn separately for each image."""

    count: Whole = 2
    """Number of operations applied to each image."""
    strength_fraction: Fraction = 0.3
    """Strength, as a fraction of each operation's largest change; 0.3 is magnitude 9 of 30 in the paper."""


class AugMix(Section):
    """Blends each image with a mixture of several chains of operations."""

    chains: Whole = 3
    """Number of chains that are mixed."""
    depth: Whole = 3
    """Largest number of operations in a chain."""
    strength_fraction: Fraction = 0.3
    """Largest strength, as a fraction of each operation's largest change; 0.3 is severity 3 of 10 in the paper."""


class Blur(Section):
    """Blurs images with a Gaussian."""

    renamed_keys = {"deviation_pixels": "stddev_pixels"}

    probability: Fraction = 0.5
    """Probability that an image is blurred."""
    stddev_pixels: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Largest standard deviation of the Gaussian, in pixels."""


class Erasing(Section):
    """Covers a random rectangle with mid-grey."""

    probability: Fraction = 0.5
    """Probability that an image gets a rectangle."""
    area_fraction: Above0Fraction = 0.2
    """Largest area of the rectangle, as a fraction of the image's area."""


class Noise(Section):
    """Adds Gaussian noise to every pixel value."""

    renamed_keys = {"deviation": "stddev"}

    stddev: NotNegative = 8.0
    """Largest standard deviation of the noise, in grey levels of 0 to 255."""


class MixUp(Section):
    """Blends pairs of images, and their labels in the same proportion. With `cutmix`, each pair gets one of the two."""

    alpha: Concentration = 0.2
    """Parameter of the Beta(alpha, alpha) distribution of the mixing proportion; 1 makes it uniform."""
    probability: Fraction = 1.0
    """Probability that an example is blended."""


class CutMix(Section):
    """Pastes a rectangle of another image, and mixes the labels in proportion to the areas."""

    alpha: Concentration = 1.0
    """Parameter of the Beta(alpha, alpha) distribution of the pasted area; 1 makes it uniform."""
    probability: Fraction = 1.0
    """Probability that an example gets a pasted rectangle."""


class WordDropout(Section):
    """For texts: drops random words."""

    probability: Fraction = 0.1
    """Probability that a word is dropped; at least one word of a text remains."""


class AugmentConfig(Section):
    """Random transforms of training examples, each with its arguments, or null where it is off."""

    flip: Flip | None = None
    """Mirror images; null turns it off."""
    crop: Crop | None = None
    """Shift images by some pixels; null turns it off."""
    resized_crop: ResizedCrop | None = None
    """Cut out and enlarge a rectangle; null turns it off."""
    rotation: Rotation | None = None
    """Rotate images; null turns it off."""
    colour: Colour | None = None
    """Colour jitter: brightness, contrast, saturation, hue; null turns it off."""
    randaugment: RandAugment | None = None
    """RandAugment (Cubuk et al. 2019); null turns it off."""
    augmix: AugMix | None = None
    """AugMix (Hendrycks et al. 2019); null turns it off."""
    blur: Blur | None = None
    """Gaussian blur; null turns it off."""
    erasing: Erasing | None = None
    """Cover a random rectangle; null turns it off."""
    noise: Noise | None = None
    """Gaussian noise; null turns it off."""
    mixup: MixUp | None = None
    """MixUp (Zhang et al. 2017), which changes the labels too; null turns it off."""
    cutmix: CutMix | None = None
    """CutMix (Yun et al. 2019), which changes the labels too; null turns it off."""
    word_dropout: WordDropout | None = None
    """For texts only: drop random words; null turns it off."""

    @property
    def named(self) -> dict[str, dict[str, float]]:
        """The transforms that are on, with their arguments, as `data.augment` takes them."""
        return self.model_dump(exclude_none=True)


class OrNames:
    """Marks a field of type `AugmentConfig` that may also be a list of names, so that the JSON schema allows both."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict:
        """Returns the JSON schema of the section or of a list."""
        section = handler(core_schema)
        name = {"enum": list(AugmentConfig.model_fields)}
        return {"anyOf": [section, {"type": "array", "items": {"anyOf": [name, section]}}]}


DEFAULTS = {"images": ("resized_crop", "colour", "noise"), "text": ()}


def normalize_augment(value: Any, kind: str) -> Any:
    """Converts any accepted form of `data.augment` into a mapping from transform names to arguments or None.

    Args:
        value: a list of names and of mappings from a name to arguments, which replaces the defaults; a mapping, which is
            merged into the defaults; None, which turns every transform off; or an `AugmentConfig`.
        kind: as `data.kind`, which decides the defaults.

    Returns:
        dict from str to a mapping of arguments or None; an `AugmentConfig` is returned as it is.

    Raises:
        ValueError: `value` or an entry of the list has another type.
    """
    if isinstance(value, AugmentConfig):
        return value
    if value is None:
        return dict.fromkeys(AugmentConfig.model_fields)
    if isinstance(value, Mapping):
        return {name: {} for name in DEFAULTS.get(kind, ())} | dict(value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, (str, Mapping)) for entry in value):
        raise ValueError(
            f"must be a list such as [flip, {{rotation: {{degrees: 15}}}}], or a section such as {{flip: {{}}, noise: null}}. "
            f"Received: {shown(value)}."
        )
    entries = [{entry: {}} if isinstance(entry, str) else entry for entry in value]
    return {name: arguments or {} for entry in entries for name, arguments in entry.items()}
