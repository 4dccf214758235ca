"""The section `data`: where the examples come from, how they are split and augmented. Must not import TensorFlow."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from kerastrain.config.augmentation import AugmentConfig, OrNames, spelled_out
from kerastrain.config.values import Count, Fraction, NotNegative, Section, Size
from kerastrain.tasks import Task

OneOrMore = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class ColumnsConfig(Section):
    """Which columns of a manifest, or features of a named set, hold what."""

    input: str | None = None
    """Paths of images, or texts; null takes the one with a usual name: path, image, file, file_name or filename; text or
    sentence."""
    targets: OneOrMore = ()
    """What is learnt: one column of classes; for multi_label one of several classes with `separator` between them, or a
    column of 0 and 1 for each; for regression columns of numbers. Empty takes label, labels or target, by the task."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """What stands between the classes in a column of several."""
    split: str | None = None
    """The part of each example: train, val, test; null takes a column called split, if there is one."""
    weight: str | None = None
    """How much each example counts in the loss; null for 1 each."""
    group: str | None = None
    """What an example belongs to that must not be parted, such as a patient; null for nothing."""


class DataConfig(Section):
    """Where the examples come from, how they are split and augmented."""

    kind: Literal["images", "text"] = "images"
    """What the examples are."""
    task: Task = "single_label"
    """What is learnt of each: one class; any number of labels at once; or numbers, of images alone."""
    path: str = "digits"
    """A folder with one folder of images per class, or `digits`: scikit-learn's 1,797 handwritten digits. For texts a
    folder with one file per class, a text on each line, or one folder of .txt files per class. Either may stand inside of
    folders train, validation and test. Also a manifest .csv, .tsv or .parquet; arrays in an .npz file; a folder of
    `data.write_tfrecords`; and `hf:NAME` or `tfds:NAME`, a data set of Hugging Face or of TensorFlow Datasets."""
    columns: ColumnsConfig = ColumnsConfig()
    """Which columns of a manifest, or features of a named set, hold what."""
    image_size: tuple[Size, Size] | None = None
    """Height and width in pixels that images are resized to; null takes what the backbone was made for."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of each class held out to choose the best epoch, where the data does not mark such a part itself."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of each class that only the final evaluation sees, where the data does not mark it itself; 0 for none."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """How many folds take turns as the validation part, in place of `validation_fraction`: train once for each."""
    fold: Count = 0
    """Which of the folds validates, counted from 0."""
    class_weights: Literal["balanced"] | dict[str, NotNegative] | None = None
    """How much each class counts in the loss of training: `balanced` lets all count alike, a mapping such as {rare: 5}
    names those that do not weigh 1."""
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

    @field_validator("class_weights", mode="before")
    @classmethod
    def _class_weights_are_numbers(cls, value):
        if value is None or value == "balanced":
            return value
        if not isinstance(value, Mapping) or not all(map(_is_weight, value.values())):
            raise ValueError(
                "must be balanced, or a mapping from classes to numbers >= 0, such as {rare: 5}. "
                f"Received: {value!r}."
            )
        return {str(name): weight for name, weight in value.items()}  # YAML reads the class 7 as a number

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
        if self.task == "regression" and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(
                "augment must leave out mixup and cutmix for task 'regression': they blend labels, and the number of a "
                "blended image is not the blend of the numbers. Remove them."
            )
        return self

    @model_validator(mode="after")
    def _the_fold_is_one_of_them(self):
        if self.fold >= (self.folds or 1):
            told = f"folds: {self.folds}" if self.folds else "no folds"
            raise ValueError(f"fold must be less than folds, counted from 0. Received: fold {self.fold} and {told}.")
        return self

    @model_validator(mode="after")
    def _the_task_fits(self):
        if self.kind == "text" and self.task == "regression":
            raise ValueError("task regression works on images. Received: kind 'text'. Take another task.")
        if self.class_weights is not None and self.task != "single_label":
            raise ValueError(
                f"class_weights goes with task single_label. Received: task {self.task!r}. Give each row of a manifest a "
                "weight in columns.weight."
            )
        if self.class_weights is not None and self.sampling == "balanced":
            raise ValueError("class_weights and sampling: balanced do the same thing twice. Keep one.")
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


def _is_weight(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
