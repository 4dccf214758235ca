"""How the pixels of image files become the inputs of a model, in one record.

Data sources decode with it, and the model stores it, so that predictions and exported files decode in the same way. Must
not import anything that decodes.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from kerastrain.errors import InputError, unknown

Resize = Literal["stretch", "pad", "crop"]

LARGEST_MEGAPIXELS = 89.478485  # PIL.Image.MAX_IMAGE_PIXELS, Pillow's limit against decompression bombs.


@dataclass(frozen=True)
class Decoding:
    """How image files become pixels of the model's input size.

    Args:
        resize: "stretch" to the input size; "pad", which keeps the aspect ratio and fills the rest with black; or "crop",
            which keeps the aspect ratio and cuts off what exceeds it, equally on both sides.
        largest_megapixels: float > 0, the largest picture that is decoded, in millions of pixels. It protects the memory.
        pixel_range: (black, white), the values that become 0 and 255 in images of more than 8 bits: files of 16 bits or
            of floating-point numbers, and arrays of types other than uint8. None finds them from the data.

    Raises:
        InputError: an argument is out of range.
    """

    resize: Resize = "stretch"
    largest_megapixels: float = LARGEST_MEGAPIXELS
    pixel_range: tuple[float, float] | None = None

    def __post_init__(self):
        if self.resize not in get_args(Resize):
            raise InputError(unknown("`resize`", self.resize, get_args(Resize)))
        if not self.largest_megapixels > 0:
            raise InputError(f"`largest_megapixels` must be above 0. Received: {self.largest_megapixels}.")
        if self.pixel_range is not None:
            object.__setattr__(self, "pixel_range", _checked_range(self.pixel_range))

    @property
    def largest_pixels(self) -> float:
        """The largest number of pixels of a picture that is decoded."""
        return round(self.largest_megapixels * 1e6, 3)

    @classmethod
    def taken_from(cls, options: dict[str, object]) -> "Decoding":
        """Removes the arguments of `Decoding` from a dict of options.

        Args:
            options: dict of keyword arguments, which is changed.

        Returns:
            Decoding.

        Raises:
            InputError: an argument is out of range.
        """
        return cls(**{field.name: options.pop(field.name) for field in fields(cls) if field.name in options})

    @classmethod
    def from_config(cls, config: Mapping[str, object] | None) -> "Decoding | None":
        """Makes a record from the dict that `get_config` returned; None stays None.

        Args:
            config: dict of JSON values, or None.

        Returns:
            Decoding, or None.
        """
        return None if config is None else cls(**config)

    def get_config(self) -> dict[str, object]:
        """The arguments, as JSON values."""
        return {**asdict(self), "pixel_range": self.pixel_range and list(self.pixel_range)}


def _checked_range(values: object) -> tuple[float, float]:
    try:
        black, white = (float(value) for value in values)
    except (TypeError, ValueError):
        black = white = math.nan
    if not (math.isfinite(white - black) and black < white):
        raise InputError(
            f"`pixel_range` must be two finite numbers, black and white, the smaller one first. Received: {values!r}."
        )
    return black, white


# What models of earlier versions were trained with, which do not store it.
OF_EARLIER_VERSIONS = Decoding(pixel_range=(0, 65535))
