"""What each phase of a run trains, and on what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerastrain import data, models
from kerastrain.config import Config
from kerastrain.recipe import plan


@dataclass(frozen=True)
class Stage:
    """What one phase trains, and on what.

    Args:
        model: keras.Model whose `fit` is called: the head alone, or the whole model.
        train: data.Examples.
        validation: data.Examples.
        augment: the random changes to a batch, or None.
        callbacks: sequence of keras.callbacks.Callback that the phase needs before all others.
    """

    model: keras.Model
    train: data.Examples
    validation: data.Examples
    augment: Callable | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()


def staged(model: keras.Model, config: Config, split: data.Split, phase: plan.Phase) -> Stage:
    """What `phase` trains: the head on the features of all images, computed here; or all of `model`, unfrozen."""
    if phase.name == "head":
        features, head = models.split_at_backbone(model)
        parts = [
            data.features.precompute(features, part, config.evaluation.batch_size)
            for part in (split.train, split.validation)
        ]
        return Stage(head, *parts)
    extra = unfreeze(model, config) if phase.name == "fine_tune" else []
    return Stage(model, split.train, split.validation, data.augment(**config.data.augment.named), extra)


def training_batches(stage: Stage, config: Config, phase: plan.Phase, *, start_step: int) -> tf.data.Dataset:
    """The batches that `phase` trains on, from one of its steps on."""
    return data.batches(
        stage.train,
        config.fit.global_batch_size,
        epochs=phase.epochs,
        start_step=start_step,
        augment=stage.augment,
        **drawing(config),
    )


def drawing(config: Config) -> dict:
    """How the examples of a batch are drawn: arguments of `data.batches` and `data.indices`."""
    return {"shuffle": True, "sampling": config.data.sampling, "seed": config.runtime.seed}


def unfreeze(model: keras.Model, config: Config) -> list[keras.callbacks.Callback]:
    """Lets train what `config.fine_tune` says, and gives the callback of its timetable, if there is one.

    Raises:
        InputError: the backbone has no such layer, not so many, nothing that can be adapted, or cannot train at all.
    """
    wanted = config.fine_tune
    if wanted.lora_rank is not None:
        models.add_lora(model, wanted.lora_rank, alpha=wanted.lora_alpha, layers=wanted.lora_layers)
        return []
    for last in (*wanted.timetable.values(), wanted.last):
        models.unfreeze(model, last=last, from_layer=wanted.from_layer, batch_norm=wanted.batch_norm)
    return [models.GradualUnfreezing(wanted.timetable, batch_norm=wanted.batch_norm)] if wanted.timetable else []
