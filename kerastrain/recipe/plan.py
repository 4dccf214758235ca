"""Plans a run: the parts of the data, the phases, their steps and learning rates.

Takes a `Config`; returns numbers and frozen records. `recipe` trains by these numbers, and `kerastrain check` prints them.
Must not import TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerastrain import data, presets, tokenization
from kerastrain.config import EPOCHS, Config, folds
from kerastrain.data import exclusions
from kerastrain.data.sources import number_columns
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError, unknown
from kerastrain.presets import image_networks
from kerastrain.presets.text_presets import read_text
from kerastrain.recipe import monitors, operating_points, starting_run
from kerastrain.schedules import curves

_MOST_NAMED = 3
_LEAST_STEPS = 100  # of fine-tuning: ten epochs of 80 images are 30, too few at a rate that keeps the features
_ENCODER_EPOCHS = 3  # of a pretrained text encoder, as the guides of Hugging Face have it


@dataclass(frozen=True)
class Phase:
    """A training phase with its own optimizer and learning rate schedule.

    Args:
        name: "head" (frozen backbone), "fine_tune" (the layers chosen by the config section `fine_tune` train), or "fit"
            (everything trains, because the backbone has random weights).
        epochs: int > 0.
        steps_per_epoch: int > 0, optimizer steps per epoch, including the last, smaller batch.
        warmup_steps: int >= 0, optimizer steps of the linear warm-up.
        learning_rate: float > 0, the peak of the schedule.
        schedule: str, a key of `schedules.CURVES`.
        arguments: mapping, the curve's other arguments, with lengths in steps.
        stop_epoch: int in [1, epochs], the epoch after which the phase ends, while its schedule is that of all epochs; None for
            the last one.
    """

    name: str
    epochs: int
    steps_per_epoch: int
    warmup_steps: int
    learning_rate: float
    schedule: str
    arguments: Mapping[str, object]
    stop_epoch: int | None = None

    @property
    def trained_epochs(self) -> int:
        """Number of epochs that are trained."""
        return self.epochs if self.stop_epoch is None else self.stop_epoch

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the schedule of the phase."""
        return self.epochs * self.steps_per_epoch

    @property
    def learning_rates(self) -> np.ndarray:
        """Learning rate of each step, float32 (steps,)."""
        return curves.rate(
            np.arange(self.steps),
            self.schedule,
            peak=self.learning_rate,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            arguments=self.arguments,
        )


def parts(config: Config, whole: data.Listing | None = None) -> dict[str, data.Examples]:
    """Splits the examples of `config` without decoding any image.

    Args:
        config: Config.
        whole: data.Listing from `listing`; None lists the examples.

    Returns:
        dict from "train", "validation" and "test" to data.Examples.

    Raises:
        InputError: the folder holds no classes, too few examples to split, or too many that cannot be used.
        FileNotFoundError: the path of the data does not exist.
    """
    whole = listing(config) if whole is None else whole
    check_labels(config, whole.examples.labels)
    data.check_skipped(whole, config.data.unreadable_fraction)
    whole, _ = data.without_repeats(whole)
    indices_of = data.divide(whole, **split_options(config))
    return {name: whole.examples.subset(indices) for name, indices in indices_of.items()}


def description(config: Config, whole: data.Listing, parts: Mapping[str, data.Examples]) -> list[str]:
    """Describes how the data of `config` are understood, for the first lines of `check` and `train`.

    Args:
        config: Config.
        whole: data.Listing from `listing`.
        parts: mapping from the name of each part to its Examples, as from `parts`.

    Returns:
        list of str, lines without line ends.

    Raises:
        InputError: the data do not fit the model of the run to start from, or the training texts have no words.
    """
    texts = _texts_description(config, whole, parts) if config.data.kind == "text" else []
    start = starting_run.description(config, whole.examples.labels)
    return data.describe(whole, parts) + texts + _weights_description(config) + start


def _weights_description(config: Config) -> list[str]:
    """Describes the weights that a network of Keras starts with, or a pretrained network."""
    backbone, weights = config.model.backbone, config.model.weights
    if config.data.kind == "images" and config.model.from_run is None and presets.is_preset(backbone):
        preset = presets.read(backbone, kind="images")
        settings = config.data.image_size, config.model.value_range
        lines = image_networks.description(preset, *settings, resize=config.data.resize)
        return [f"backbone: {line}" for line in lines]
    if weights is None or config.model.from_run is not None:
        return []
    if weights == "random":
        return [f"backbone: {backbone} with random weights; it trains as a whole, from the start"]
    return [f"backbone: {backbone}, " + ("trained on ImageNet" if weights == "imagenet" else f"weights of {weights}")]


def _texts_description(config: Config, whole: data.Listing, parts: Mapping[str, data.Examples]) -> list[str]:
    """Describes the texts that are left out because they are equal, and what the network of `config` sees of the others."""
    repeated = data.without_repeats(whole)[1]
    lines = []
    if repeated:
        first = "; ".join(f"'{text.path}': {text.reason}" for text in repeated[:_MOST_NAMED])
        more = f"; and {len(repeated) - _MOST_NAMED:,} more" if len(repeated) > _MOST_NAMED else ""
        lines.append(f"equal texts: skipped {data.quarantine.summary(repeated)} ({first}{more})")
    drops_words = "word_dropout" in config.data.augment.named
    if config.model.from_run is None and presets.is_preset(config.model.backbone):
        encoder = read_text(config.model.backbone)
        lines += encoder.lines(parts["train"].inputs.ravel(), config.model.sequence_length)
    return lines + data.text_statistics.lines(parts, _text_network(config), drops_words=drops_words)


def _text_network(config: Config) -> data.text_statistics.TextNetwork | tokenization.SavedTokens | None:
    """Returns the tokenizer of the model of `config`, or how it will be learned; None if a module has its own."""
    prefix, _, name = config.model.backbone.partition(":")
    if config.model.from_run is not None:
        path = Path(config.model.from_run) / "model.keras"
        return tokenization.read(path) if path.is_file() else None  # A run is resumed with its own copy of the model.
    if config.model.backbone.endswith(".keras"):
        return tokenization.read(config.model.backbone)
    if prefix != "keras":
        return None
    if name not in tokenization.NETWORKS:
        raise InputError(unknown("text network", name, tokenization.NETWORKS))
    return data.text_statistics.TextNetwork(
        name,
        config.model.tokenizer or "words",
        config.model.sequence_length,
        config.model.vocabulary_size,
    )


def listing(config: Config, *, path: str | None = None, image_size: tuple[int, int] | None = None) -> data.Listing:
    """Lists the examples of `config` without decoding any image.

    Args:
        config: Config.
        path: str, a path to list in place of `data.path`, with the other settings of `config`; None for `data.path`.
        image_size: (height, width) in pixels that images are resized to; None if they are only counted.

    Returns:
        data.Listing.

    Raises:
        InputError: the data cannot be listed; see `data.listing`.
        FileNotFoundError: the path does not exist.
    """
    options = {"kind": config.data.kind, "image_size": image_size, "task": config.data.task}
    options["decoding"] = decoding(config)
    columns = data.Columns(**config.data.columns.model_dump())
    excluded = config.data.exclude_classes
    if path is None:
        own = data.listing(config.data.path, columns=columns, exclude_classes=excluded, **options)
        if config.data.exclude is None:
            return own
        table = repr(config.data.exclude)
        return exclusions.apply(own, exclusions.read(config.data.exclude), source=table, without=excluded)
    if config.data.columns.pair is not None and not data.has_columns(path, config.data.kind):
        raise InputError(
            f"the run reads pairs of texts. Received: '{path}', which has no columns. Give a table with the columns of both "
            "texts."
        )
    if config.data.columns.numbers and not data.has_columns(path, config.data.kind):
        raise InputError(number_columns.requirement(columns, config.data.kind, path))
    # Another path may be a folder, to which the column names of the run's own table do not apply.
    other = data.listing(path, columns=columns if data.has_columns(path, config.data.kind) else None, **options)
    # Nor need it have all the classes that the run left out.
    return data.without_classes(other, [label for label in excluded if label in other.examples.labels])


def decoding(config: Config) -> Decoding:
    """Returns how `config` decodes images.

    Args:
        config: Config; that of a finished run has the pixel range that was found from its data.

    Returns:
        Decoding.
    """
    return Decoding(config.data.resize, config.data.largest_megapixels, config.data.pixel_range)


def check_labels(config: Config, labels: Sequence[str]) -> None:
    """Checks that the class names fit the config.

    Args:
        config: Config.
        labels: sequence of str, the names of the classes, labels or numbers of the data.

    Raises:
        InputError: `data.class_weights` or `fit.monitor` names an unknown class, `evaluation.threshold` does not fit the number
            of classes, or exported files cannot list a name.
    """
    monitors.check_labels(config, labels)
    operating_points.require(config, labels)
    if isinstance(config.data.class_weights, Mapping):
        for label in config.data.class_weights:
            if label not in labels:
                raise InputError(f"`data.class_weights`: {unknown('class', label, labels)}")
        if not any(config.data.class_weights.get(label, 1) for label in labels):
            raise InputError(
                "`data.class_weights` must give one class a weight above 0, or nothing is learned. Received: 0 for all "
                f"{len(labels)} classes."
            )
    broken = [label for label in labels if "\n" in label or "\r" in label]
    if broken and config.export.formats:
        raise InputError(
            f"the names of classes must be one line each, because exported files list them in lines. Received: "
            f"{broken[0]!r}. Rename the class, or set export.formats=[]."
        )


def split_seed(config: Config) -> int:
    """Returns the seed of the split of `config`, which stays the same where only the seed of training changes.

    Args:
        config: Config.

    Returns:
        int >= 0.
    """
    return config.runtime.seed if config.data.split_seed is None else config.data.split_seed


def split_options(config: Config) -> dict[str, float | int | bool | None]:
    """Returns the arguments of `data.divide` that `config` sets.

    Args:
        config: Config.

    Returns:
        dict with "validation_fraction", "test_fraction", "seed", "train_on_validation", "folds" and "fold".

    Raises:
        InputError: `data.fold` is "all".
    """
    folds.refuse_all(config)
    return {
        "validation_fraction": config.data.validation_fraction,
        "test_fraction": config.data.test_fraction,
        "seed": split_seed(config),
        "train_on_validation": config.data.train_on_validation,
        "folds": config.data.folds,
        "fold": config.data.fold,
    }


def phases(config: Config, example_count: int) -> list[Phase]:
    """Returns the phases of `config` in order; a phase with 0 epochs is skipped.

    Args:
        config: Config.
        example_count: int > 0, number of training examples.

    Returns:
        list of one or two `Phase`.

    Raises:
        InputError: `fit.epochs` is 0 for a backbone with random weights, `fit.steps_per_execution` does not divide the
            steps of an epoch, or the warm-up or the schedule does not fit into a phase.
    """
    fit, rate = config.fit, config.optimizer.learning_rate
    if config.is_language:
        return [_phase(config, "fine_tune", fit.epochs, rate, example_count)]
    if config.from_scratch:
        if not fit.trains_whole:
            raise InputError(
                f"`fit.epochs` must be above 0 for a backbone with random weights ({config.model.backbone}), whose features "
                "are useless before training. Received: 0."
            )
        return [_phase(config, "fit", EPOCHS if fit.epochs is None else fit.epochs, rate, example_count)]
    fraction = config.optimizer.fine_tune_fraction
    if fraction is None:
        fraction = 0.05 if config.model.backbone.startswith("kerastrain:fractal") else 0.01
    epochs = fit.epochs
    if epochs is None:
        usual = _ENCODER_EPOCHS if _has_encoder(config) else EPOCHS
        epochs = max(usual, math.ceil(_LEAST_STEPS / _steps_per_epoch(config, example_count)))
    candidates = [("head", fit.head_epochs, rate), ("fine_tune", epochs, rate * fraction)]
    return [_phase(config, name, epochs, peak, example_count) for name, epochs, peak in candidates if epochs]


def _has_encoder(config: Config) -> bool:
    """Whether the backbone is a pretrained text encoder; of a run to start from, whose folder may be gone, by its model."""
    if config.data.kind != "text":
        return False
    if config.model.from_run is not None:
        return "EncoderTokenizer" in starting_run.read_start(Path(config.model.from_run)).layers
    return presets.is_preset(config.model.backbone)


def _steps_per_epoch(config: Config, example_count: int) -> int:
    return math.ceil(example_count / config.fit.global_batch_size)


def _phase(config: Config, name: str, epochs: int, peak: float, example_count: int) -> Phase:
    steps_per_epoch = _steps_per_epoch(config, example_count)
    if config.fit.steps_per_execution != "auto" and steps_per_epoch % config.fit.steps_per_execution:
        raise InputError(
            f"`fit.steps_per_execution` must divide the steps of an epoch. Received: {config.fit.steps_per_execution}, and "
            f"an epoch has {steps_per_epoch} steps of {config.fit.global_batch_size}. Choose a divisor, or another "
            "`fit.global_batch_size`."
        )
    total = epochs * steps_per_epoch
    curve = config.schedule.name
    arguments = curves.resolved(curve, config.schedule.curve_arguments, steps=total, steps_per_epoch=steps_per_epoch)
    warmup = arguments.pop("warmup_steps")
    if warmup >= total:
        raise InputError(
            f"`schedule.warmup` must be shorter than each phase. Received: {config.schedule.warmup!r} ({warmup} steps), "
            f"phase {name!r} has {total} steps. Lower `schedule.warmup` or increase the epochs in `fit`."
        )
    try:
        curves.check(curve, peak=peak, steps=total, warmup_steps=warmup, arguments=arguments)
    except InputError as error:
        raise InputError(
            f"`schedule` does not fit phase {name!r} of {total} steps: {error} Give lengths in percent, which fit every phase."
        ) from None
    return Phase(name, epochs, steps_per_epoch, warmup, peak, curve, arguments, _stop_epoch(config, name, epochs))


def _stop_epoch(config: Config, name: str, epochs: int) -> int | None:
    key = "head_stop_epoch" if name == "head" else "stop_epoch"
    stop = getattr(config.fit, key)
    if stop is not None and stop > epochs:
        raise InputError(
            f"`fit.{key}` must be at most the epochs of its phase. Received: {stop}, and phase {name!r} has {epochs}. Lower "
            "it, or set the epochs."
        )
    return stop
