"""Builds what a run needs from its config: the strategy, the backbone, the data and the compiled model.

Takes a `Config`. Must not train, and must not write files.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import backbones, data, distribute, models, runtime
from kerastrain.config import Config, automatic
from kerastrain.models import task_models
from kerastrain.recipe import automatic_backbone, further_training, plan, starting_run
from kerastrain.recipe.compiling import compiled, spare_memory
from kerastrain.recipe.stages import unfreeze
from kerastrain.system import stopwatch

logger = logging.getLogger("kerastrain")

_HEAD_KEYS = ("hidden_units", "dropout", "l1", "l2", "batch_norm")
_TEXT_KEYS = (
    "tokenizer",
    "vocabulary_size",
    "sequence_length",
    "embedding_dim",
    "num_layers",
    "word_dropout",
    "signature",
    "output_key",
)


@dataclass(frozen=True)
class Prepared:
    """What a run needs before it trains.

    Args:
        config: Config, with choices in place of each "auto" and "measure" in `runtime`, and with a backbone in place of "auto".
        strategy: tf.distribute.Strategy whose scope the model is built in.
        backbone: Backbone, loaded in the precision of `config`; None for texts.
        split: data.Split.
        timings: list of dict, a `finders.StepTiming` for each measured choice; empty if nothing was measured.
        start: keras.Model whose backbone and head are trained further, or None.
    """

    config: Config
    strategy: tf.distribute.Strategy
    backbone: backbones.Backbone | None
    split: data.Split
    timings: Sequence[dict] = ()
    start: keras.Model | None = None

    @stopwatch.timed("building the model")
    def build(self) -> keras.Model:
        """Builds the compiled model in the scope of the strategy; call it once, because it consumes the backbone."""
        with self.strategy.scope():
            return build(self.config, self.backbone, self.split, start=self.start)


def make_strategy(config: Config) -> tf.distribute.Strategy:
    """Makes the distribution strategy of `config`. With several workers, call it before any other TensorFlow function.

    Args:
        config: Config, of which `runtime` is used.

    Returns:
        tf.distribute.Strategy.

    Raises:
        InputError: the machine has no such devices, the cluster is described wrongly, or its workers do not start in
            time.
    """
    options = config.runtime
    return distribute.make(
        options.strategy,
        devices=options.devices,
        all_reduce=options.all_reduce,
        timeout_seconds=options.start_timeout_seconds,
    )


def load_backbone(config: Config) -> backbones.Backbone:
    """Loads the image backbone of `config`, frozen, in the precision of `config`; a run logs what is known about it.

    Args:
        config: Config for images. The backbone "auto" is chosen by their size.

    Returns:
        Backbone.

    Raises:
        InputError: as for `backbones.load`.
    """
    config = automatic_backbone.resolved(config)
    if distribute.is_chief():
        logger.info("loading the backbone %s", config.model.backbone)
    with runtime.precision(automatic.used_precision(config)):
        return backbones.load(
            config.model.backbone,
            weights=config.model.weights,
            image_size=config.data.image_size,
            value_range=config.model.value_range,
            alpha=config.model.alpha,
            stochastic_depth=config.model.stochastic_depth,
            signature=config.model.signature,
            output_key=config.model.output_key,
            log=False,
        )


@stopwatch.timed("reading data")
def load_data(
    config: Config, image_size: tuple[int, int] | None, *, labels: Sequence[str] | None = None, log: bool = False
) -> data.Split:
    """Loads and splits the examples of `config`, with class weights if it asks for them.

    Args:
        config: Config.
        image_size: (height, width) in pixels that images are resized to; None for texts.
        labels: sequence of str, the labels of an existing model, whose order the targets follow; None for the order of
            the data.
        log: bool, whether to log how the data are understood, before any image is read.

    Returns:
        data.Split.

    Raises:
        InputError: the data cannot be used (as for `data.split`), a class weight names an unknown class, or a class is
            not among `labels`.
        FileNotFoundError: the path of the data does not exist.
    """
    listing = _listing(config, image_size, labels, log)
    return with_class_weights(config, data.split(listing, **_reading_options(config), **plan.split_options(config)))


def read_data(
    config: Config, image_size: tuple[int, int] | None, *, labels: Sequence[str] | None = None, log: bool = False
) -> data.ReadListing:
    """Reads the examples of `config` once, to split them several times; `with_class_weights` follows each split.

    Args:
        config: Config, whose split is checked.
        image_size: as for `load_data`.
        labels: as for `load_data`.
        log: as for `load_data`.

    Returns:
        data.ReadListing.

    Raises:
        InputError: as for `load_data`.
        FileNotFoundError: as for `load_data`.
    """
    listing = _listing(config, image_size, labels, log)
    return data.read_listing(listing, **_reading_options(config), **plan.split_options(config))


def _listing(
    config: Config, image_size: tuple[int, int] | None, labels: Sequence[str] | None, log: bool
) -> data.Listing:
    listing = plan.listing(config, image_size=image_size)
    plan.check_labels(config, listing.examples.labels)
    if labels is not None and tuple(labels) != listing.examples.labels:
        listing = dataclasses.replace(listing, examples=data.under_labels(listing, labels))
    if log:
        for line in plan.description(config, listing, plan.parts(config, listing)):
            logger.info("%s", line)
    return listing


def _reading_options(config: Config) -> dict:
    return {"cache": config.data.cache, "unreadable_fraction": config.data.unreadable_fraction}


def with_class_weights(config: Config, split: data.Split) -> data.Split:
    """Gives the training examples the weights of `data.class_weights`.

    Args:
        config: Config.
        split: data.Split.

    Returns:
        data.Split.

    Raises:
        InputError: as for `data.class_weights`.
    """
    if config.data.class_weights is None:
        return split
    weights = data.class_weights(split.train)
    if config.data.class_weights != "balanced":
        weights = _weights_by_index(config.data.class_weights, split.labels)
    return dataclasses.replace(split, train=data.weighted(split.train, weights))


def prepare_unmeasured(
    config: Config,
    strategy: tf.distribute.Strategy,
    load: Callable[[Config, tuple[int, int] | None], data.Split] = load_data,
    *,
    start_path: Path | None = None,
) -> Prepared:
    """Sets the seed, then loads the backbone and the data, without measuring precision or XLA.

    Args:
        config: Config. "auto" and "measure" count as float32 and as Keras's rule for XLA.
        strategy: tf.distribute.Strategy.
        load: callable that returns the data.Split for a config and an image size.
        start_path: Path of a copy of the model to start from; None for that of `model.from_run`, if it is set.

    Returns:
        Prepared, whose config names a backbone in place of "auto" and is unchanged otherwise.

    Raises:
        InputError: the data or the backbone cannot be used.
    """
    config = automatic_backbone.resolved(config)
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    with strategy.scope():
        backbone, start = load_network(config, start_path)
        return Prepared(config, strategy, backbone, load(config, backbone and backbone.image_size), start=start)


def load_network(
    config: Config, start_path: Path | None = None
) -> tuple[backbones.Backbone | None, keras.Model | None]:
    """Loads what the model of `config` is built on: a backbone, or the model of another run.

    Args:
        config: Config.
        start_path: as for `prepare_unmeasured`.

    Returns:
        (Backbone or None, keras.Model or None): the backbone, None for texts; and the model to start from, if there is one.

    Raises:
        InputError: as for `load_backbone`, or the model to start from cannot be used.
    """
    if config.model.from_run is not None:
        if start_path is None:
            starting_run.check(config)
        start = further_training.open_start(start_path or Path(config.model.from_run) / "model.keras")
        return further_training.image_backbone(start), start
    return load_backbone(config) if config.data.kind == "images" else None, None


def build(
    config: Config, backbone: backbones.Backbone | None, split: data.Split, *, start: keras.Model | None = None
) -> keras.Model:
    """Builds the model of `config` and compiles it for the first phase.

    Args:
        config: Config.
        backbone: Backbone from `load_backbone`, whose layer becomes part of the model; None for texts.
        split: data.Split, for the labels, the vocabulary and the number of steps.
        start: keras.Model from `load_network`, whose weights the model starts with; None for a new head.

    Returns:
        keras.Model from raw pixels or strings to float32 outputs. Its backbone is frozen, unless it has random weights.

    Raises:
        InputError: the config asks for something that the backbone does not support.
    """
    head = {name: getattr(config.model, name) for name in _HEAD_KEYS}
    text_network = {name: value for name in _TEXT_KEYS if (value := getattr(config.model, name)) is not None}
    with runtime.precision(automatic.used_precision(config)):
        if start is not None:
            model = further_training.build(start, backbone, split, head)
        else:
            model = task_models.for_split(
                split, config.model.backbone if backbone is None else backbone, head=head, text_network=text_network
            )
    if config.from_scratch:
        models.unfreeze(model, batch_norm=True)
    elif config.fit.trains_whole:
        # Try the fine-tuning setup now, so that whatever the backbone does not support fails before files are written.
        unfreeze(model, config)
        models.synchronize_batch_norm(model)
        spare_memory(model, config)
        models.merge_lora(model)
        models.freeze(model)
    phase = plan.phases(config, len(split.train))[0]
    return compiled(model, config, phase, positive_weights=split.train.positive_weights)


def _weights_by_index(weights: Mapping[str, float], labels: Sequence[str]) -> dict[int, float]:
    """Converts weights by class name into weights by class index."""
    return {labels.index(label): weight for label, weight in weights.items()}
