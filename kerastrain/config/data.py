"""The section `data`: where the examples come from and how they are split and augmented. Must not import TensorFlow."""

import operator
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from kerastrain.config.augmentation import AugmentConfig, OrNames, normalize_augment
from kerastrain.config.expectations import shown
from kerastrain.config.values import Count, Fraction, NotNegative, Section, Size
from kerastrain.decoding import LARGEST_MEGAPIXELS
from kerastrain.tasks import Task

LANGUAGE_KINDS = ("chat", "language")
"""The values of `data.kind` for language models, which write text."""

ALL_FOLDS = "all"
"""The value of `data.fold` that trains every fold."""

_OF_CLASSIFIERS = [
    *(
        "task",
        "exclude",
        "exclude_classes",
        "image_size",
        "resize",
        "largest_megapixels",
        "pixel_range",
        "train_on_validation",
        "folds",
        "fold",
        "class_weights",
    ),
    *("sampling", "cache", "service"),
]
_OWNER_HINTS = {
    ("chat", "columns.input"): ", or name columns.prompt and columns.response",
    ("chat", "columns.targets"): ", or name columns.prompt and columns.response",
    ("language", "columns.prompt"): ", or set data.kind=chat",
    ("language", "columns.messages"): ", or set data.kind=chat",
    ("text", "columns.prompt"): ", or set data.kind=chat",
    ("text", "columns.messages"): ", or set data.kind=chat",
}

OneOrMore = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class ColumnsConfig(Section):
    """Which columns of a table, or features of a named data set, hold the inputs, targets, splits, weights and groups."""

    input: str | tuple[str, ...] | None = None
    """Column of image paths or of texts, or a list of columns of texts, which are joined in this order by a space. Null
    finds a column with a usual name, such as path, image, file or filename for images; text or sentence for texts."""
    pair: str | tuple[str, ...] | None = None
    """Column of the second text, if an example is a pair of texts, such as a premise (`input`) and a hypothesis (`pair`);
    or a list of columns, joined as for `input`. Null: an example is one text or one image."""
    numbers: OneOrMore = ()
    """Columns of numbers that are inputs beside the image or the text, such as [age, weight]. The model standardizes them,
    and where one is missing, it takes the mean of the training part and is told so. Empty means none."""
    targets: OneOrMore = ()
    """Columns of the targets. single_label: one column of class names. multi_label: one column of names joined by
    `separator`, or a column of 0 and 1 for each label. regression: columns of numbers. Empty finds a column with a usual
    name, such as label, labels or target, or the only one that is left."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Text that separates the names in a multi_label column. Null means |, or what the column uses if that is clear."""
    split: str | None = None
    """Column that assigns each example to train, val or test. Null uses a column named split, if there is one."""
    weight: str | None = None
    """Column of each example's weight in the loss; null means 1 for every example."""
    group: str | None = None
    """Column of group names, such as patients. A group is never divided between parts. Null means no groups."""
    slices: OneOrMore = ()
    """Columns by whose values the measures are divided, such as [camera, site], to find where the model is worse. They are no
    inputs of the model. Numbers with many values are divided into quarters. Empty means none."""
    folder: str | None = None
    """Folder that the image paths of a table are relative to, itself relative to the folder of the table. Null means the
    folder of the table, or the only one in which the images are found."""
    suffix: str | None = None
    """Suffix of the image files, such as .jpg, if the table leaves it out. Null finds it."""
    messages: str | None = None
    """Only for data.kind=chat: column of lists of messages, each with a role and a content. Null finds a column with a usual
    name: messages, conversations, dialog."""
    prompt: str | None = None
    """Only for data.kind=chat: column of the user's message. Null finds columns with usual names: prompt and response, question
    and answer, instruction and output, prompt and completion."""
    response: str | None = None
    """Only for data.kind=chat: column of the answer to `prompt`."""
    rejected: str | None = None
    """Only for data.kind=chat: column of an answer that people liked less than `response`, for fit.objective=dpo. Null finds the
    columns prompt, chosen and rejected."""
    system: str | None = None
    """Only for data.kind=chat: column of the system's message before `prompt`. Null finds a column named system."""


class DataConfig(Section):
    """Where the examples come from and how they are split and augmented."""

    kind: Literal["images", "text", "chat", "language"] = "images"
    """What an example is: an image or a text to classify; or, for language models, a conversation whose answers are learned
    (chat), or a text that is learned as a whole (language)."""
    task: Task = "single_label"
    """What the model predicts: one class (single_label), any number of labels (multi_label), or numbers
    (regression)."""
    path: Annotated[str, Field(min_length=1)] = "digits"
    """Where the examples are. Images: a folder with one subfolder per class, or `digits`, scikit-learn's 1,797
    handwritten digits. Texts: a folder with one file per class and one text per line, or one subfolder of files per
    class. Both may be divided into the folders train, validation and test, or val2017, test_set and the like.
    Also: a table (.csv, .tsv, .jsonl, .parquet, …) or a folder with train.csv, test.csv, …; an .npz file of arrays; a folder
    written by `data.write_tfrecords`; `hf:NAME` or `tfds:NAME`, a data set from Hugging Face or TensorFlow Datasets.
    Conversations: a table (.jsonl, .json, .csv, .parquet, …), a folder of tables, or `hf:NAME`. Texts for a language model: the
    same, a text file or a folder of text files."""
    chat_template: Annotated[str, Field(min_length=1)] | None = None
    """Only for data.kind=chat: file with the Jinja template that makes a text of a conversation, or the template itself. Null
    uses the tokenizer's own."""
    learn: Literal["answers", "all"] = "answers"
    """Only for data.kind=chat: which tokens count in the loss. answers: those that the assistant writes, with the token that
    ends each answer. all: every token."""
    packing: bool = False
    """Only for language models: whether a training sequence holds several examples, as many as fit; none of them sees another.
    Without it, an example is a sequence, and those of a batch have similar lengths."""
    columns: ColumnsConfig = ColumnsConfig()
    """Which columns of a table, or features of a named data set, hold the inputs, targets, splits, weights and groups."""
    exclude_classes: OneOrMore = ()
    """Classes whose examples are left out, such as [unsup], whatever the source."""
    exclude: Annotated[str, Field(min_length=1)] | None = None
    """Table of examples to leave out: the proposals.csv that `kerastrain data check` has written, which may be edited. Rows with
    the action exclude are left out, those with relabel get their proposed_label, those with look are ignored. A row that
    matches no example is refused."""
    image_size: tuple[Size, Size] | None = None
    """Height and width that images are resized to, in pixels; null uses the backbone's own size."""
    resize: Literal["stretch", "pad", "crop"] = "stretch"
    """How images of another aspect ratio are resized. stretch: to image_size. pad: as large as fits, on black. crop: the
    middle, as large as possible. Stored in the model for predictions and exports."""
    largest_megapixels: Annotated[float, Field(gt=0)] = LARGEST_MEGAPIXELS
    """Largest picture that is decoded, in millions of pixels; larger ones count as unreadable, to protect the memory."""
    pixel_range: tuple[float, float] | None = None
    """The values that are black and white in images of more than 8 bits: files of 16 bits or floating-point numbers, and
    arrays of other types than uint8, such as [0, 4095]. Null finds them from the data, and refuses what is unclear. Stored
    in the model for predictions and exports."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of each class held out to choose the best epoch. Ignored if the data has its own validation part."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of each class held out for the final evaluation; 0 for none. Ignored if the data has its own test part."""
    split_seed: Count | None = None
    """Seed of the split into parts and folds. Null means runtime.seed; a number keeps the parts the same under other seeds."""
    train_on_validation: bool = False
    """Whether the model trains on the validation part, too. No epoch can be chosen then: the weights of the last one ship, that
    of fit.stop_epoch if it is set. It is for settings that are chosen already, such as those of `kerastrain tune --retrain`."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Number of folds for cross-validation, in place of `validation_fraction`. `fold` says which of them are trained."""
    fold: Count | Literal["all"] = 0
    """Index of the fold that is the validation part, counted from 0; or all, which trains a run for each fold, so that every
    example of train and validation is predicted by a model that has not seen it. `export.formats` is then [] by default."""
    class_weights: Literal["balanced"] | dict[str, NotNegative] | None = None
    """Weights of the classes in the training loss. `balanced` gives every class the same total weight; a mapping such as
    {rare: 5} sets some weights, and the others are 1. Null means 1 for every class. For multi_label they are the weights of
    the examples that have a label, against those that lack it: `balanced` gives both the same total weight."""
    augment: Annotated[AugmentConfig, OrNames, Field(validate_default=True)] = {}
    """Random transforms of training examples. The default is resized_crop, colour and noise for images, and none for
    texts. A section changes the default: {flip: {}, noise: null} adds flips and removes noise. A list replaces it:
    [flip, {rotation: {degrees: 15}}]."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """uniform: an epoch contains each training example once. balanced: an epoch has the same number of examples, drawn so
    that every class is equally frequent."""

    cache: Literal["auto", "memory", "disk", "none"] = "auto"
    """Where decoded images are cached after the first read: in memory, in a file in the user's cache folder, or nowhere.
    auto uses the first of these that has room."""

    service: OneOrMore = ()
    """Decoding workers, each HOST:PORT of a `kerastrain data-worker`, that read and decode the images of the training steps of
    the whole model; the batches are the same as without. Needs cache=none and the same paths there. Empty means none."""

    unreadable_fraction: Fraction = 0.1
    """Largest fraction of image files, or of rows with texts or conversations, that may be unreadable; above it the run stops.
    They are skipped and listed in the run's quarantine.csv. Duplicates are skipped too, but do not count."""

    @field_validator("class_weights", mode="before")
    @classmethod
    def _check_class_weights(cls, value):
        if value is None or value == "balanced":
            return value
        if not isinstance(value, Mapping) or not all(map(_is_weight, value.values())):
            raise ValueError(
                "must be balanced, or a mapping from classes to numbers >= 0, such as {rare: 5}. "
                f"Received: {shown(value)}.{_space_hint(value)}"
            )
        return {str(name): weight for name, weight in value.items()}  # YAML reads the class 7 as a number

    @field_validator("pixel_range")
    @classmethod
    def _check_pixel_range(cls, value):
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"must be black and white, the smaller number first. Received: {list(value)}.")
        return value

    @field_validator("service")
    @classmethod
    def _check_service(cls, value, info):
        for address in value:
            host, _, port = address.rpartition(":")
            if not (host and port.isdigit() and 1 <= int(port) <= 65535):
                raise ValueError(f"must name decoding workers as HOST:PORT. Received: {shown(address)}.")
        kind, cache = info.data.get("kind"), info.data.get("cache")
        if value and kind in ("text", "images") and (kind == "text" or cache != "none"):
            received = f"kind={kind}" if kind == "text" else f"cache={cache}"
            raise ValueError(
                f"needs image files that are decoded in every epoch. Received: {received}. Set cache=none, or remove service."
            )
        return value

    @field_validator("augment", mode="before")
    @classmethod
    def _normalize_augment(cls, value, info):
        return normalize_augment(value, info.data.get("kind", "images"))

    @model_validator(mode="after")
    def _check_owners(self):
        is_language = self.kind in LANGUAGE_KINDS
        others = [] if is_language else ["chat_template", "learn", "packing"]
        others += ["chat_template", "learn"] if self.kind == "language" else []
        others += _OF_CLASSIFIERS if is_language else []
        columns = (
            ["pair", "numbers", "slices", "targets", "separator", "weight", "folder", "suffix"] if is_language else []
        )
        columns += [] if self.kind == "chat" else ["messages", "prompt", "response", "rejected", "system"]
        columns += ["input"] if self.kind == "chat" else []
        fields, default = type(self).model_fields, ColumnsConfig()
        wrong = [name for name in others if getattr(self, name) != fields[name].default]
        wrong += [f"columns.{name}" for name in columns if getattr(self.columns, name) != getattr(default, name)]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is not for data.kind={self.kind}. Received: {shown(operator.attrgetter(wrong[0])(self))}. "
                f"Remove it{_OWNER_HINTS.get((self.kind, wrong[0]), '')}."
            )
        named = self.columns
        if named.rejected is not None and named.response is None:
            raise ValueError(
                f"columns.rejected needs columns.response, the preferred answer. Received: only columns.rejected="
                f"{named.rejected}. Name both, and columns.prompt if there is one."
            )
        # Pairs may be whole conversations that share their beginning.
        lacks_one = (named.prompt is None) != (named.response is None) and named.rejected is None
        if self.kind == "chat" and lacks_one:
            given, lacking = ("prompt", "response") if named.prompt else ("response", "prompt")
            raise ValueError(f"columns.{given} needs columns.{lacking}. Received: only columns.{given}. Name both.")
        if named.messages is not None and (named.prompt or named.response):
            raise ValueError(
                "columns.messages holds whole conversations, and columns.prompt and columns.response their parts. Received: "
                f"columns.messages={named.messages} and columns.response={named.response}. Name one or the other."
            )
        if is_language and self.augment.named:
            raise ValueError(
                "augment is for examples that are classified. Received: "
                f"{', '.join(self.augment.named)} for data.kind={self.kind}. Remove it."
            )
        return self

    @model_validator(mode="after")
    def _check_augment(self):
        wrong = [name for name in self.augment.named if (name == "word_dropout") != (self.kind == "text")]
        if wrong:
            raise ValueError(
                f"augment must name transforms for {self.kind}. Received: {', '.join(wrong)}. word_dropout is for texts, "
                "all others are for images."
            )
        if self.task == "regression" and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(
                "augment must not use mixup or cutmix for task 'regression': the target of a blended image is not the "
                "blend of the targets. Remove them."
            )
        if self.columns.numbers and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(
                "augment must not use mixup or cutmix with columns.numbers: the numbers beside the images would not be "
                "blended. Remove them."
            )
        return self

    @model_validator(mode="after")
    def _check_settings_of_images(self):
        for name in ("image_size", "pixel_range"):
            if self.kind == "text" and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is for images. Received: {shown(getattr(self, name))}, and kind 'text'. Remove it."
                )
        return self

    @model_validator(mode="after")
    def _check_fold(self):
        if self.fold == ALL_FOLDS:
            if self.folds is None:
                raise ValueError(
                    "fold: all trains a run for each of several folds. Received: folds null. Set their number, such as "
                    "data.folds=5."
                )
        elif self.fold >= (self.folds or 1):
            folds = f"folds: {self.folds}" if self.folds else "no folds"
            raise ValueError(f"fold must be less than folds, counted from 0. Received: fold {self.fold} and {folds}.")
        return self

    @model_validator(mode="after")
    def _check_train_on_validation(self):
        if self.train_on_validation and self.folds is not None:
            raise ValueError(
                "train_on_validation leaves no validation part, and a fold is one. Received: train_on_validation true and "
                f"folds {self.folds}. Remove one of them."
            )
        return self

    @model_validator(mode="after")
    def _check_task(self):
        if self.class_weights is not None and self.task == "regression":
            raise ValueError(
                "class_weights is only for classes. Received: task 'regression'. Give each row of a table a weight with "
                "data.columns.weight."
            )
        if self.sampling == "balanced" and self.task != "single_label":
            raise ValueError(
                f"sampling: balanced draws classes, one for each example. Received: task {self.task!r}. Use uniform"
                f"{', and class_weights: balanced' if self.task == 'multi_label' else ''}."
            )
        if self.class_weights is not None and self.sampling == "balanced":
            raise ValueError("class_weights and sampling: balanced both balance the classes. Remove one.")
        return self

    @model_validator(mode="after")
    def _check_path_of_texts(self):
        if self.kind != "images" and self.path == "digits":
            noun = "conversations" if self.kind == "chat" else "texts"
            raise ValueError(
                f"path must name a folder of {noun}. Received: digits, the bundled images. Set data.path; a folder of this "
                "name is ./digits."
            )
        return self

    @model_validator(mode="after")
    def _check_fractions(self):
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction must sum to less than 1; the rest is the training part. "
                f"Received: {self.validation_fraction:g} and {self.test_fraction:g}."
            )
        return self


def _space_hint(value: object) -> str:
    """Says what {rare:5} lacks, which YAML reads as a class "rare:5" without a weight."""
    lacks_space = isinstance(value, Mapping) and any(":" in str(name) and value[name] is None for name in value)
    return " Write a space after each colon." if lacks_space else ""


def _is_weight(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
