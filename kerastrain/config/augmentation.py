"""The key `data.augment`: which random changes are made to training examples, and how strong they are.

Must not import TensorFlow; the changes themselves are in `kerastrain.data.augmentation`, under the same names.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler

from kerastrain.config.values import Fraction, NotNegative, Section

Above0Fraction = Annotated[float, Field(gt=0, le=1)]
Concentration = Annotated[float, Field(ge=1e-3, le=1e3)]
Whole = Annotated[int, Field(ge=1)]


class Flip(Section):
    """Mirror images; leave them out where these are other things, as with digits and letters."""

    probability: Fraction = 0.5
    """Of left and right changing places."""
    vertical_probability: Fraction = 0.0
    """Of top and bottom changing places."""


class Crop(Section):
    """A window of the image's size moved by whole pixels; beyond the edge it shows the reflection."""

    shift_fraction: Fraction = 0.125
    """Largest move to each side, as a share of it."""


class ResizedCrop(Section):
    """A rectangle cut out and enlarged to the whole image: changes of scale, place and proportion."""

    area_fraction: Above0Fraction = 0.7
    """Smallest share of the image that it covers."""
    aspect_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.2
    """Largest change of proportion; 1 keeps it."""


class Rotation(Section):
    """A turn about the centre; the corners are filled by reflection."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest angle to either side."""


class Colour(Section):
    """Colour jitter."""

    brightness: Fraction = 0.2
    """Factor drawn from 1 less to 1 more than this."""
    contrast: Fraction = 0.2
    """Likewise, about the mean grey."""
    saturation: Fraction = 0.2
    """Likewise."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Largest turn to either side, as a share of the colour circle."""


class RandAugment(Section):
    """A few of fourteen operations, one after the other, chosen anew for each image."""

    count: Whole = 2
    """Operations for an image."""
    strength_fraction: Fraction = 0.3
    """How strong, as a share of each operation's largest change; 0.3 is magnitude 9 of 30."""


class AugMix(Section):
    """A blend of the image with a mixture of chains of operations."""

    chains: Whole = 3
    """Chains that are mixed."""
    depth: Whole = 3
    """The most operations of a chain."""
    strength_fraction: Fraction = 0.3
    """The strongest operation, as a share of its largest change; 0.3 is severity 3 of 10."""


class Blur(Section):
    """A Gaussian blur."""

    probability: Fraction = 0.5
    """Of an image's being blurred."""
    renamed_keys = {"deviation_pixels": "stddev_pixels"}

    stddev_pixels: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Largest standard deviation in pixels."""


class Erasing(Section):
    """A rectangle covered with middle grey."""

    probability: Fraction = 0.5
    """Of a rectangle's being covered."""
    area_fraction: Above0Fraction = 0.2
    """Largest share of the image that is covered."""


class Noise(Section):
    """Gaussian noise on every value."""

    renamed_keys = {"deviation": "stddev"}

    stddev: NotNegative = 8.0
    """Largest standard deviation in grey levels of 0 to 255."""


class MixUp(Section):
    """Two images blended, and their labels by the same shares. With `cutmix`, each pair gets one of the two."""

    alpha: Concentration = 0.2
    """Of the Beta(alpha, alpha) distribution of the share; 1 makes all shares equally likely."""
    probability: Fraction = 1.0
    """Of an example's being blended at all."""


class CutMix(Section):
    """A rectangle covered by another image, and the labels' shares those of the area."""

    alpha: Concentration = 1.0
    """Of the Beta(alpha, alpha) distribution of the share that is covered."""
    probability: Fraction = 1.0
    """Of an example's being covered at all."""


class WordDropout(Section):
    """For texts: words left out."""

    probability: Fraction = 0.1
    """Of each word's being left out; at least one is kept."""


class AugmentConfig(Section):
    """Random changes to training examples, each with its arguments, or null where it is not made."""

    flip: Flip | None = None
    """Mirror images."""
    crop: Crop | None = None
    """Moved windows."""
    resized_crop: ResizedCrop | None = None
    """Enlarged cuttings."""
    rotation: Rotation | None = None
    """Turns."""
    colour: Colour | None = None
    """Colour jitter: brightness, contrast, saturation, hue."""
    randaugment: RandAugment | None = None
    """RandAugment (Cubuk et al. 2019)."""
    augmix: AugMix | None = None
    """AugMix (Hendrycks et al. 2019)."""
    blur: Blur | None = None
    """Gaussian blur."""
    erasing: Erasing | None = None
    """Covered rectangles."""
    noise: Noise | None = None
    """Gaussian noise."""
    mixup: MixUp | None = None
    """MixUp (Zhang et al. 2017); it changes the labels too."""
    cutmix: CutMix | None = None
    """CutMix (Yun et al. 2019); it changes the labels too."""
    word_dropout: WordDropout | None = None
    """For texts alone: words left out."""

    @property
    def named(self) -> dict[str, dict[str, float]]:
        """Each change that is made, with its arguments, as `data.augment` takes them."""
        return self.model_dump(exclude_none=True)


class OrNames:
    """Marks a field of `AugmentConfig` that a list may stand for, so that the JSON schema says so."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict:
        """The schema of the section, or of a list."""
        section = handler(core_schema)
        name = {"enum": list(AugmentConfig.model_fields)}
        return {"anyOf": [section, {"type": "array", "items": {"anyOf": [name, section]}}]}


DEFAULTS = {"images": ("resized_crop", "colour", "noise"), "text": ()}


def spelled_out(value: Any, kind: str) -> Any:
    """A value of `data.augment` as a mapping from each name to its arguments or None.

    Args:
        value: list of names and of mappings from a name to arguments, which alone are made then; or a mapping, what is
            other than the default for the kind of data.
        kind: "images" or "text".

    Raises:
        ValueError: the value is neither, or an entry of the list is neither.
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
            f"Received: {value!r}."
        )
    entries = [{entry: {}} if isinstance(entry, str) else entry for entry in value]
    return {name: arguments or {} for entry in entries for name, arguments in entry.items()}
