"""Compiles a model for a phase of a config: its optimizer and schedule, its loss and metrics, and the memory that it may take.

Takes the model, the config and the phase; changes the model. Must not train, and must not read data.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence

import keras

from kerastrain import evaluation, memory, models, optimizers, schedules
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.recipe import executions, plan
from kerastrain.system import stopwatch
from kerastrain.train_step import folded_norms


@stopwatch.timed("building the model")
def compiled(
    model: keras.Model, config: Config, phase: plan.Phase, *, positive_weights: Sequence[float] | None = None
) -> keras.Model:
    """Compiles a model with the optimizer and schedule of a phase, and applies the memory settings.

    Args:
        model: keras.Model, compiled in place.
        config: Config.
        phase: plan.Phase.
        positive_weights: as for `models.loss`.

    Returns:
        keras.Model, `model` itself, with a built optimizer.

    Raises:
        InputError: an optimizer or memory setting does not fit the model.
    """
    loss = models.loss(model, label_smoothing=config.fit.label_smoothing, positive_weights=positive_weights)
    replicas = model.distribute_strategy.num_replicas_in_sync
    model.compile(
        optimizer=optimizer(model, config, phase),
        loss=loss,
        metrics=evaluation.metrics(model.output_shape[-1], task=models.task(model)),
        weighted_metrics=[evaluation.DataLoss(loss)],
        jit_compile=config.runtime.jit_compile if isinstance(config.runtime.jit_compile, bool) else "auto",
        steps_per_execution=executions.steps_per_execution(config, phase, replicas=replicas),
    )
    # A model that is saved before its first step would otherwise lose its optimizer when it is loaded.
    model.optimizer.build(model.trainable_variables)
    if phase.name != "head":  # the head's steps are small already
        spare_memory(model, config)
        folded_norms.install(model)
    return model


def optimizer(model: keras.Model, config: Config, phase: plan.Phase) -> keras.Optimizer:
    """Makes the optimizer of a phase, with its schedule.

    Args:
        model: keras.Model that it will train.
        config: Config.
        phase: plan.Phase.

    Returns:
        keras.Optimizer, not built.

    Raises:
        InputError: a setting does not fit the model.
    """
    options = config.optimizer
    return optimizers.make(
        options.name,
        schedules.make(
            phase.schedule,
            phase.learning_rate,
            steps=phase.steps,
            warmup_steps=phase.warmup_steps,
            **phase.arguments,
        ),
        weight_decay=options.weight_decay,
        decay_norms_and_biases=options.decay_norms_and_biases,
        clip_norm=options.clip_norm,
        global_clip_norm=options.global_clip_norm,
        clip_value=options.clip_value,
        momentum=options.momentum,
        ema_momentum=options.ema_momentum,
        layer_rates=_layer_rates(model, config, phase),
        **options.arguments,
    )


def spare_memory(model: keras.Model, config: Config, *, blocks: Sequence[str] | None = None) -> None:
    """Applies the rematerialization and the micro-batches of `config.memory` to a model.

    Args:
        model: keras.Model, compiled or not; changed in place.
        config: Config.
        blocks: sequence of str, the names of the layers that end a block where `memory.remat_blocks` is auto; None for the
            square root of the number of layers.

    Raises:
        InputError: the model does not support a setting. The message begins with the key.
    """
    options = config.memory
    if options.remat_blocks is not None:
        with _naming_key("memory.remat_blocks"):
            memory.remat(model, blocks=blocks if options.remat_blocks == "auto" else options.remat_blocks)
    if options.micro_batches == "auto":
        with _naming_key("memory.micro_batches"):
            memory.split_when_full(model)
    elif options.micro_batches > 1:
        with _naming_key("memory.micro_batches"):
            memory.accumulate(model, micro_batches=options.micro_batches)


@contextlib.contextmanager
def _naming_key(key: str) -> Iterator[None]:
    """Puts the config key in front of the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"`{key}`: {error}") from None


def _layer_rates(model: keras.Model, config: Config, phase: plan.Phase) -> dict[str, float]:
    """Returns the learning rate factors by pattern: those of the config first, then those of `layer_rate_decay`."""
    rates, decay = config.optimizer.layer_rates, config.fine_tune.layer_rate_decay
    if phase.name == "head":  # patterns for the backbone match no weight of the head, which would be an error
        paths = [weight.path for weight in model.trainable_weights]
        rates = {pattern: rate for pattern, rate in rates.items() if any(re.search(pattern, path) for path in paths)}
    by_layer = models.layer_rates(model, decay) if decay and phase.name == "fine_tune" else {}
    return {**rates, **{pattern: rate for pattern, rate in by_layer.items() if pattern not in rates}}
