"""Training through the phases of a config: each compiled with its own optimizer and schedule."""

import contextlib
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

import keras

from kerastrain import (
    callbacks,
    checkpoints,
    data,
    distribute,
    evaluation,
    memory,
    models,
    optimizers,
    run_directory,
    runtime,
    schedules,
)
from kerastrain.callbacks.nonfinite_search import NonFiniteError
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.recipe import nonfinite_steps, plan
from kerastrain.recipe.stages import Stage, staged, training_batches

logger = logging.getLogger("kerastrain")


@data.surface_read_errors()
def fit(model: keras.Model, config: Config, split: data.Split, directory: Path) -> dict[str, float]:
    """Trains through the phases of `config`: the head on the frozen backbone's features, then the whole model.

    Goes on from the last checkpoint in `directory`, if there is one, to the weights of a run that never stopped.

    Args:
        model: keras.Model from `build`, trained in place; it ends with the weights of the last phase's best epoch.
        config: Config.
        split: data.Split.
        directory: Path, for `history.csv`, `tensorboard/` and `checkpoints/`.

    Returns:
        dict, the logs of the best epoch of the last phase, such as {"val_loss": 0.1, "val_accuracy": 0.97}.
    """
    best, phases = {}, plan.phases(config, len(split.train))
    stored = checkpoints.latest(run_directory.resume_folder(directory))
    names = [phase.name for phase in phases]
    for phase in phases if stored is None else phases[names.index(stored.outline["position"]["phase"]) :]:
        logger.info("phase %s: %d epochs of %d steps", phase.name, phase.epochs, phase.steps_per_epoch)
        # So that what a phase draws does not depend on what was drawn before it, in this process or another.
        runtime.seed(config.runtime.seed)
        # Training itself stays outside of the scope, in which saving a model makes variables that other workers wait for.
        with model.distribute_strategy.scope():
            stage = staged(model, config, split, phase)
            models.synchronize_batch_norm(stage.model)
            compiled(stage.model, config, phase)
        history = fit_phase(stage, config, phase, directory).history
        losses = [math.inf if math.isnan(value) else value for value in history["val_loss"]]
        best = {name: float(values[losses.index(min(losses))]) for name, values in history.items()}
    models.merge_lora(model)
    return best


def fit_phase(stage: Stage, config: Config, phase: plan.Phase, directory: Path) -> keras.callbacks.History:
    """Trains one compiled phase, from its last checkpoint in `directory` on, and again from there after bad numbers.

    Raises:
        NonFiniteError: a step met NaN or infinity, and the config says to stop, or several devices share the step.
    """
    strategy = stage.model.distribute_strategy
    watch = callbacks.TerminateOnNonFinite()
    standard = callbacks.standard(
        directory,
        phase=phase.name,
        early_stopping_epochs=config.fit.early_stopping_epochs,
        plateau_epochs=config.schedule.plateau_epochs,
        plateau_factor=config.schedule.plateau_factor,
    )
    while True:
        saving = callbacks.Checkpoints(
            run_directory.resume_folder(directory),
            every=config.fit.checkpoint_every,
            keep=config.fit.checkpoints_kept,
            phase=phase.name,
        )
        if saving.start.step:
            logger.info("goes on at %s", saving.start)
        try:
            return stage.model.fit(
                distribute.shard(training_batches(stage, config, phase, start_step=saving.start.step), strategy),
                epochs=phase.epochs,
                initial_epoch=saving.start.epoch,
                steps_per_epoch=phase.steps_per_epoch,
                **_validation(stage, config, phase),
                shuffle=False,  # `batches` has shuffled; Keras would warn that it cannot
                verbose="auto" if distribute.is_chief() else 0,
                callbacks=saving.before([watch, *stage.callbacks, *standard]),
            )
        except NonFiniteError as error:
            if strategy.num_replicas_in_sync > 1:
                raise NonFiniteError(
                    error.step,
                    f"{error} On several devices it is not looked for. Go on with one, where the layer and the files are "
                    f"told: kerastrain train runtime.strategy=none --resume {directory}",
                ) from error
            watch = nonfinite_steps.handle_nonfinite_step(error, watch, stage, config, phase, directory)


def _validation(stage: Stage, config: Config, phase: plan.Phase) -> dict:
    """The arguments of `fit` that say what to validate on."""
    batches, strategy = data.batches(stage.validation, config.evaluation.batch_size), stage.model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return {"validation_data": batches}
    # With a number of steps, `fit` goes on in the data where the epoch before ended.
    divided = distribute.shard(batches.repeat(phase.epochs), strategy)
    return {"validation_data": divided, "validation_steps": int(batches.cardinality())}


def compiled(model: keras.Model, config: Config, phase: plan.Phase) -> keras.Model:
    """`model`, compiled with the optimizer and schedule of one phase, its steps as lean as the config wants them."""
    options = config.optimizer
    model.compile(
        optimizer=optimizers.make(
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
        ),
        loss=models.loss(model, label_smoothing=config.fit.label_smoothing),
        metrics=evaluation.metrics(model.output_shape[-1], task=models.task(model)),
        jit_compile="auto" if config.runtime.jit_compile == "measure" else config.runtime.jit_compile,
        steps_per_execution=config.fit.steps_per_execution,
    )
    # A model that is saved before it ever took a step would lose its optimizer when it is loaded.
    model.optimizer.build(model.trainable_variables)
    if phase.name != "head":  # whose steps are small
        spare_memory(model, config)
    return model


def spare_memory(model: keras.Model, config: Config) -> None:
    """Lets `model` step with as little memory as the config wants.

    Raises:
        InputError: `config.memory`, with the reason why the model cannot.
    """
    wanted = config.memory
    if wanted.remat_blocks is not None:
        blocks = None if wanted.remat_blocks == "auto" else wanted.remat_blocks
        with _told_of("memory.remat_blocks"):
            memory.remat(model, blocks=blocks)
    if wanted.micro_batches == "auto":
        with _told_of("memory.micro_batches"):
            memory.split_when_full(model)
    elif wanted.micro_batches > 1:
        with _told_of("memory.micro_batches"):
            memory.accumulate(model, micro_batches=wanted.micro_batches)


@contextlib.contextmanager
def _told_of(key: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"`{key}`: {error}") from None


def _layer_rates(model: keras.Model, config: Config, phase: plan.Phase) -> dict[str, float]:
    """The factors that the config gives, and after them those of the layers of the backbone."""
    rates, decay = config.optimizer.layer_rates, config.fine_tune.layer_rate_decay
    if phase.name == "head":  # which has no part in what the others are meant for
        paths = [weight.path for weight in model.trainable_weights]
        rates = {pattern: rate for pattern, rate in rates.items() if any(re.search(pattern, path) for path in paths)}
    by_layer = models.layer_rates(model, decay) if decay and phase.name == "fine_tune" else {}
    return {**rates, **{pattern: rate for pattern, rate in by_layer.items() if pattern not in rates}}
