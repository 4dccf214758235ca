"""Chooses the model, the examples and the transforms of each training phase."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain import data, distribute, models
from kerastrain.config import Config
from kerastrain.language import batches, preferences
from kerastrain.recipe import head_features, plan
from kerastrain.system import stopwatch

logger = logging.getLogger("kerastrain")

_IN_MEMORY = head_features.Places()


@dataclass(frozen=True)
class Stage:
    """The model and the examples of a training phase.

    Args:
        model: keras.Model to fit: only the head, or the whole model.
        train: data.Examples to train on; features in the head phase, and token ids where the texts do not change. Sequences for
            a language model, or Preferences.
        validation: data.Examples, Sequences or Preferences to validate on; None for none.
        augment: callable from `data.augment` that transforms a batch, or None.
        callbacks: sequence of keras.callbacks.Callback that must run before all others.
        lengths: int array, the tokens of each text to train on, for batches of similar lengths; None for batches of any.
        extract: keras.Model that computed the features in the head phase; None in other phases.
    """

    model: keras.Model
    train: data.Examples | batches.Sequences | preferences.Preferences
    validation: data.Examples | batches.Sequences | preferences.Preferences | None = None
    augment: Callable | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    lengths: np.ndarray | None = None
    extract: keras.Model | None = None


def staged(
    model: keras.Model,
    config: Config,
    split: data.Split,
    phase: plan.Phase,
    *,
    tokens_once: bool = True,
    places: head_features.Places = _IN_MEMORY,
) -> Stage:
    """Returns what `phase` trains: the head, on features that are computed here, or the whole unfrozen model.

    Args:
        model: keras.Model from `build`.
        config: Config.
        split: data.Split.
        phase: plan.Phase.
        tokens_once: bool, whether the token ids of texts are computed here where the texts do not change.
        places: head_features.Places, where the features may be kept that are computed here.

    Returns:
        Stage, whose model shares its layers with `model`.
    """
    if phase.name == "head":
        features, head = models.split_at_backbone(model)
        parts, extract = head_features.computed(features, config, split, phase, places)
        return Stage(head, *parts, extract=extract)
    extra = unfreeze(model, config) if phase.name == "fine_tune" else []
    validation, lengths = split.validation, models.text_lengths(model, split.train.inputs)
    if lengths is not None and validation is not None:
        # The order changes no measure, and a batch of texts of one length needs no padding.
        longest_first = np.argsort(-models.text_lengths(model, validation.inputs), kind="stable")
        validation = validation.subset(longest_first)
    augment = data.augment(**config.data.augment.named)
    if tokens_once and not config.data.augment.named and not extra and (reused := _after_tokens(model, split)):
        return reused
    return Stage(model, split.train, validation, augment, extra, lengths)


def _fitted(split: data.Split) -> list[data.Examples]:
    """The parts that `fit` reads: train, and validation if there is one."""
    return [split.train] if split.validation is None else [split.train, split.validation]


@stopwatch.timed("tokens")
def _after_tokens(model: keras.Model, split: data.Split) -> Stage | None:
    """Returns a stage with the token ids of all texts, computed here; None if the model has no such part, or they are many."""
    halves = models.split_at_tokens(model)
    if halves is None:
        return None
    tokens, after = halves
    tokenize, length = tf.function(tokens, reduce_retracing=True), tokens.output.shape[1]
    if distribute.is_chief():
        logger.info("computing the tokens of %s texts", f"{sum(map(len, _fitted(split))):,}")
    parts = []
    for part in _fitted(split):
        ids = data.token_ids.token_ids(part.inputs, lambda texts: tokenize(tf.constant(texts)), fixed_length=length)
        if ids is None:
            return None
        parts.append(dataclasses.replace(part, inputs=ids))
    return Stage(after, *parts)


def training_batches(
    stage: Stage, config: Config, phase: plan.Phase, devices: distribute.Devices | None = None, *, start_step: int
) -> tf.data.Dataset:
    """Returns the training batches of `phase` from a step on.

    Args:
        stage: Stage of the phase.
        config: Config.
        phase: plan.Phase.
        devices: distribute.Devices whose rows of each batch are returned, as `distribute.rows_of_devices` does; None for all.
        start_step: int >= 0, the first step to return, counted from the start of the phase.

    Returns:
        tf.data.Dataset of the remaining batches of all epochs.
    """
    options = {"epochs": phase.epochs, "start_step": start_step}
    if (module := _of_language(stage)) is not None:
        whole = module.training_batches(stage.train, config.fit.global_batch_size, seed=config.runtime.seed, **options)
        return whole if devices is None else distribute.rows_of_devices(whole, devices)
    options |= {"augment": stage.augment, "devices": devices, **drawing(stage, config)}
    if config.data.service:
        needs_decoding = stage.train.dtype == np.uint8
        options["service"] = config.data.service if needs_decoding else ()
        if devices is None or devices.first == 0:
            logger.info(
                "the images of this phase are decoded by data.service=[%s]"
                if needs_decoding
                else "data.service=[%s] is not used in this phase: its head learns from features that are computed here",
                ", ".join(config.data.service),
            )
    return data.batches(stage.train, config.fit.global_batch_size, **options)


def validation_batches(stage: Stage, config: Config, *, devices: distribute.Devices | None = None) -> tf.data.Dataset:
    """Returns the validation batches of a stage.

    Args:
        stage: Stage with examples to validate on.
        config: Config.
        devices: as for `training_batches`.

    Returns:
        tf.data.Dataset.
    """
    module = _of_language(stage)
    if module is None:
        return data.batches(stage.validation, config.evaluation.batch_size, devices=devices)
    whole = module.evaluation_batches(stage.validation, config.evaluation.batch_size)
    return whole if devices is None else distribute.rows_of_devices(whole, devices)


def _of_language(stage: Stage):
    """The module that makes batches for a language model, of sequences or of pairs of them; None for other models."""
    modules = {batches.Sequences: batches, preferences.Preferences: preferences}
    return modules.get(type(stage.train))


def step_names(stage: Stage, config: Config, step: int) -> list[str]:
    """Names the examples of a step.

    Args:
        stage: Stage.
        config: Config.
        step: int >= 0, counted from the start of the phase.

    Returns:
        list of str, the files of the examples, or their numbers.
    """
    if _of_language(stage) is not None:
        rows = batches.indices(stage.train, config.fit.global_batch_size, step, seed=config.runtime.seed)
        return [f"sequence {row}" for row in rows]
    rows = data.indices(stage.train, config.fit.global_batch_size, step, **drawing(stage, config))
    return [f"example {row}" if stage.train.paths is None else stage.train.paths[row] for row in rows]


def drawing(stage: Stage, config: Config) -> dict:
    """Returns the arguments of `data.batches` and `data.indices` that decide the order of the examples.

    Args:
        stage: Stage.
        config: Config.

    Returns:
        dict with "shuffle", "sampling", "seed" and "lengths".
    """
    options = {"shuffle": True, "sampling": config.data.sampling, "seed": config.runtime.seed}
    return {**options, "lengths": stage.lengths}


def unfreeze(model: keras.Model, config: Config) -> list[keras.callbacks.Callback]:
    """Unfreezes the layers of `config.fine_tune`, or adds its LoRA matrices.

    Args:
        model: keras.Model, changed in place.
        config: Config.

    Returns:
        list of keras.callbacks.Callback that the fine-tuning needs: a GradualUnfreezing if there is a timetable.

    Raises:
        InputError: the backbone lacks a layer, has too few layers, has no kernel that LoRA can adapt, or cannot train.
    """
    options = config.fine_tune
    if options.lora_rank is not None:
        models.add_lora(model, options.lora_rank, alpha=options.lora_alpha, layers=options.lora_layers)
        return []
    # Every entry of the timetable is tried, so that a fault shows before training.
    for last in (*options.timetable.values(), options.last):
        models.unfreeze(model, last=last, from_layer=options.from_layer, batch_norm=options.batch_norm)
    return [models.GradualUnfreezing(options.timetable, batch_norm=options.batch_norm)] if options.timetable else []
