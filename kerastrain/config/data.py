"""The section `data`: where the examples come from, how they are split and augmented. Must not import TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain.config.values import Section, Size

Augmentation = Literal["flip", "crop", "colour", "noise"]


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
    augment: tuple[Augmentation, ...] = ("crop", "colour", "noise")
    """Random changes to training images; add `flip` where a mirror image means the same."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """Whether an epoch gives each training example once, or draws each class equally often in as many draws."""
    cache: Literal["auto", "memory", "disk", "none"] = "auto"
    """Where decoded images are kept after their first reading: in memory, in a file of the user's cache folder, or not
    at all; auto takes the first of these that has room."""

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
