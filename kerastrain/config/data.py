"""The section `data`: where the examples come from, how they are split and augmented. Must not import TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kerastrain.config.augmentation import AugmentConfig, OrNames, spelled_out
from kerastrain.config.values import Fraction, Section, Size


class DataConfig(Section):
    """Where the examples come from, how they are split and augmented."""

    kind: Literal["images", "text"] = "images"
    """What the examples are."""
    path: str = "digits"
    """A folder with one folder of images per class, or `digits`: scikit-learn's 1,797 handwritten digits. For texts a
    folder with one file per class, a text on each line, or one folder of .txt files per class."""
    image_size: tuple[Size, Size] | None = None
    """Height and width in pixels that images are resized to; null takes what the backbone was made for."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of each class held out to choose the best epoch."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of each class that only the final evaluation sees; 0 for none."""
    augment: Annotated[AugmentConfig, OrNames, Field(validate_default=True)] = {}
    """Random changes to training examples. A section says what is other than the default, which is resized_crop, colour
    and noise for images and nothing for texts: {flip: {}, noise: null} adds mirror images and takes noise away. A list
    such as [flip, {rotation: {degrees: 15}}] names all that are made."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """Whether an epoch gives each training example once, or draws each class equally often in as many draws."""

    cache: Literal["auto", "memory", "disk", "none"] = "auto"
    """Where decoded images are kept after their first reading: in memory, in a file of the user's cache folder, or not
    at all; auto takes the first of these that has room."""

    unreadable_fraction: Fraction = 0.1
    """Share of the image files that may be unreadable before the run stops; up to it they are left out and listed in the
    run's quarantine.csv. Repeated files are left out too, and do not count."""

    @field_validator("augment", mode="before")
    @classmethod
    def _augment_is_spelled_out(cls, value, info):
        return spelled_out(value, info.data.get("kind", "images"))

    @model_validator(mode="after")
    def _augment_suits_the_kind(self):
        wrong = [name for name in self.augment.named if (name == "word_dropout") != (self.kind == "text")]
        if wrong:
            raise ValueError(
                f"augment of {self.kind} must name changes of {self.kind}. Received: {', '.join(wrong)}. Texts have "
                "word_dropout, images all others."
            )
        return self

    @model_validator(mode="after")
    def _texts_have_a_place(self):
        if self.kind == "text" and self.path == "digits":
            raise ValueError("path must name a folder of texts: the embedded digits are images. Set data.path.")
        return self

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self):
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction must sum to less than 1, the rest is trained on. "
                f"Received: {self.validation_fraction:g} and {self.test_fraction:g}."
            )
        return self
