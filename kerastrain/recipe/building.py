"""What a run starts from: the backbone, the examples, and the compiled model that a config describes."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from kerastrain import backbones, data, distribute, models, runtime
from kerastrain.config import Config
from kerastrain.errors import InputError, unknown
from kerastrain.recipe import plan
from kerastrain.recipe.fitting import compiled, spare_memory
from kerastrain.recipe.stages import unfreeze

_OF_TEXTS = (
    "vocabulary_size",
    "sequence_length",
    "embedding_dim",
    "num_layers",
    "word_dropout",
    "signature",
    "output_key",
)


def make_strategy(config: Config) -> tf.distribute.Strategy:
    """The strategy that `config` names; several workers must make it before anything else of TensorFlow.

    Raises:
        InputError: this machine has no such devices, or the cluster is described wrongly or does not come together.
    """
    wanted = config.runtime
    return distribute.make(
        wanted.strategy,
        devices=wanted.devices,
        all_reduce=wanted.all_reduce,
        timeout_seconds=wanted.start_timeout_seconds,
    )


def load_backbone(config: Config) -> backbones.Backbone:
    """The image backbone that `config` names, frozen; raises as `backbones.load` does."""
    with runtime.precision(_policy(config)):
        return backbones.load(
            config.model.backbone,
            weights=config.model.weights,
            image_size=config.data.image_size,
            value_range=config.model.value_range,
            alpha=config.model.alpha,
            stochastic_depth=config.model.stochastic_depth,
            signature=config.model.signature,
            output_key=config.model.output_key,
        )


def load_data(config: Config, image_size: tuple[int, int] | None) -> data.Split:
    """The examples that `config` names, images stretched to `image_size`; raises as `data.split` does."""
    split = data.split(
        plan.listing(config, image_size=image_size),
        cache=config.data.cache,
        unreadable_fraction=config.data.unreadable_fraction,
        **plan.split_options(config),
    )
    if config.data.class_weights is None:
        return split
    weights = data.class_weights(split.train)
    if config.data.class_weights != "balanced":
        weights = _by_number(config.data.class_weights, split.labels)
    return dataclasses.replace(split, train=data.weighted(split.train, weights))


def build(config: Config, backbone: backbones.Backbone | None, split: data.Split) -> keras.Model:
    """The model that `config` describes: raw pixels or strings to float32 outputs, compiled for its first phase.

    Args:
        config: Config.
        backbone: Backbone from `load_backbone`, whose layer becomes part of the model; None for texts.
        split: data.Split, for the labels, the vocabulary and the number of steps.

    Returns:
        keras.Model, its backbone frozen unless it has random weights.
    """
    several = split.task == "multi_label"
    head = {name: getattr(config.model, name) for name in ("hidden_units", "dropout", "l1", "l2", "batch_norm")}
    with runtime.precision(_policy(config)):
        if split.task == "regression":
            numbers = split.train.targets
            scale = {"mean": numbers.mean(axis=0), "stddev": numbers.std(axis=0)}
            model = models.image_regressor(backbone, labels=split.labels, **scale, **head)
        elif backbone is not None:
            model = models.image_classifier(backbone, labels=split.labels, multi_label=several, **head)
        else:
            model = models.text_classifier(
                config.model.backbone,
                labels=split.labels,
                multi_label=several,
                texts=split.train.inputs,
                **{name: value for name in _OF_TEXTS if (value := getattr(config.model, name)) is not None},
                **head,
            )
    if config.from_scratch:
        models.unfreeze(model, batch_norm=True)
    elif config.fit.epochs:
        # Once now, so that what the backbone refuses is told before anything is written.
        unfreeze(model, config)
        models.synchronize_batch_norm(model)
        spare_memory(model, config)
        models.merge_lora(model)
        models.freeze(model)
    return compiled(model, config, plan.phases(config, len(split.train))[0])


def _policy(config: Config) -> str:
    """The dtype policy; float32 where the choice is left to a measurement that was not made, as by the finders."""
    return "float32" if config.runtime.precision == "measure" else config.runtime.precision


def _by_number(weights: Mapping[str, float], labels: Sequence[str]) -> dict[int, float]:
    """Weights of classes by their numbers in place of their names."""
    for label in weights:
        if label not in labels:
            raise InputError(f"`data.class_weights`: {unknown('class', label, labels)}")
    return {labels.index(label): weight for label, weight in weights.items()}
