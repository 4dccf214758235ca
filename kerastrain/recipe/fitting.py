"""Trains a model through the phases of a config, each with its own optimizer and learning rate schedule.

Takes the model, the config, the data and a folder; changes the model and writes its history and checkpoints.
"""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from kerastrain import callbacks, checkpoints, data, distribute, models, run_directory, runtime
from kerastrain.callbacks.epoch_report import OnEpoch
from kerastrain.callbacks.nonfinite_search import NonFiniteError
from kerastrain.config import Config
from kerastrain.errors import counted
from kerastrain.recipe import (
    best_phase,
    executions,
    head_features,
    monitors,
    nonfinite_steps,
    plan,
    profiling,
    tracked_runs,
)
from kerastrain.recipe.compiling import compiled
from kerastrain.recipe.stages import Stage, staged, training_batches, validation_batches
from kerastrain.system import stopwatch

logger = logging.getLogger("kerastrain")

_PATIENCE = 1 / 3  # of the length of a phase
_SMALLEST_PENALTY = 1e-4  # less is not seen in a loss of four digits


@data.surface_read_errors()
def fit(
    model: keras.Model,
    config: Config,
    split: data.Split,
    directory: Path,
    *,
    on_epoch: OnEpoch | None = None,
    features_folder: Path | None = None,
    on_features: Callable[[Stage], None] | None = None,
) -> best_phase.BestEpoch:
    """Trains through the phases of `config`: first the head on the features of the frozen backbone, then the whole model.

    Training resumes from the newest checkpoint in `directory`, if there is one, and ends with the weights of an
    uninterrupted run.

    Args:
        model: keras.Model from `build`, trained in place. It ends with the weights of the best epoch of all phases; without a
            validation part with those of the last epoch.
        config: Config.
        split: data.Split.
        directory: Path of the folder for `history.csv`, `tensorboard/` and `checkpoints/`.
        on_epoch: callable that is asked after each epoch whether to continue, pause or stop, as for `callbacks.EpochReport`;
            None for a training to its end. A training that was paused and resumed ends bit-equal to one that was not.
        features_folder: Path of a folder in which several trainings share the features of a frozen backbone, as for `staged`;
            None to compute them for this training.
        on_features: callable that gets the Stage with the features on which the head trains and is validated, if nothing but
            the head trains; None for none.

    Returns:
        BestEpoch with its logs: {"val_data_loss": 0.1, "val_accuracy": 0.97, …}; without a validation part the last epoch.

    Raises:
        NonFiniteError: a step met NaN or infinity, and no roll-back is allowed; see `fit_phase`.
        InputError: the data cannot be read, or the model does not fit the config.
        Paused: `on_epoch` said so.
    """
    places = head_features.Places(features_folder, run_directory.resume_folder(directory) / "features")
    report = None if on_epoch is None else callbacks.EpochReport(on_epoch, directory / "history.csv")
    phases = plan.phases(config, len(split.train))
    stored = checkpoints.latest(run_directory.resume_folder(directory))
    names = [phase.name for phase in phases]
    first = 0 if stored is None else names.index(stored.outline["position"]["phase"])
    for number, phase in enumerate(phases[first:], start=first):
        epochs, steps = counted(phase.trained_epochs, "epochs"), counted(phase.steps_per_epoch, "steps")
        planned = f", of a schedule of {phase.epochs} epochs" if phase.trained_epochs < phase.epochs else ""
        logger.info("phase %s: %s of %s%s", phase.name, epochs, steps, planned)
        if number > first and split.validation is not None:
            best_phase.keep(model, directory)
        # The random numbers of a phase must not depend on the phases before it, which a resumed process skips.
        runtime.seed(config.runtime.seed)
        # Training stays outside the scope. Saving a model inside it creates variables that the other workers wait for.
        with model.distribute_strategy.scope():
            stage = staged(model, config, split, phase, places=places)
            if on_features is not None and names == ["head"]:
                on_features(stage)
            models.synchronize_batch_norm(stage.model)
            compiled(stage.model, config, phase, positive_weights=split.train.positive_weights)
            if phase.name != "head" and stage.model is not model:
                # The file of the model has an optimizer of what trains, or Keras warns when it opens it.
                compiled(model, config, phase, positive_weights=split.train.positive_weights)
        _log_penalties(stage.model, phase)  # outside the scope, in which a module cannot compute its penalties
        fit_phase(stage, config, phase, directory, earlier=names[:number], report=report)
        if phase.name == "head" and distribute.is_chief():
            head_features.remove_spilled(places.spill)
    models.merge_lora(model)
    if split.validation is None:
        return best_phase.last_epoch(directory)
    monitor = monitors.monitor(config)
    examples = monitors.examples(monitor, split.validation)
    return best_phase.take_best(model, directory, names, examples=examples, monitor=monitor)


@stopwatch.timed("around the steps")
def fit_phase(
    stage: Stage,
    config: Config,
    phase: plan.Phase,
    directory: Path,
    *,
    earlier: Sequence[str] = (),
    report: callbacks.EpochReport | None = None,
) -> keras.callbacks.History:
    """Trains one compiled phase from its newest checkpoint, and retries from there after NaN or infinity.

    Args:
        stage: Stage whose model is compiled for `phase`.
        config: Config.
        phase: plan.Phase.
        directory: Path of the folder for `history.csv`, `tensorboard/` and `checkpoints/`.
        earlier: sequence of str, the names of the phases before it; a phase that is worse than all of them ends early.
        report: callbacks.EpochReport that may pause or stop the training, the same object for all phases; None for none.

    Returns:
        keras.callbacks.History of the phase.

    Raises:
        NonFiniteError: a step met NaN or infinity, and the config says to stop, no roll-back is left, or the model trains
            on several devices.
        Paused: `report` says so.
    """
    strategy = stage.model.distribute_strategy
    watch, monitor = callbacks.TerminateOnNonFinite(), monitors.monitor(config)
    standard = callbacks.standard(
        directory,
        phase=phase.name,
        monitor=None if stage.validation is None else monitor.column,
        mode=monitor.mode,
        measures=_measures(stage, config, monitor),
        early_stopping_epochs=config.fit.early_stopping_epochs,
        plateau_epochs=config.schedule.plateau_epochs,
        plateau_factor=config.schedule.plateau_factor,
    )
    best_before = (
        best_phase.best_epoch(directory, earlier, monitor) if earlier and stage.validation is not None else None
    )
    if best_before is not None:
        patience = math.ceil(phase.epochs * _PATIENCE)
        standard.append(
            callbacks.EndWorsePhase(
                best_before.value,
                patience_epochs=patience,
                phase=best_before.phase,
                monitor=monitor.column,
                mode=monitor.mode,
            )
        )
    standard += tracked_runs.callbacks(config, directory)
    while True:
        saving = callbacks.Checkpoints(
            run_directory.resume_folder(directory),
            every=config.fit.checkpoint_every,
            keep=config.fit.checkpoints_kept,
            phase=phase.name,
            report=report,
        )
        executions.resume_at(stage.model, saving.start.epoch_step)
        if saving.start.step:
            logger.info("resuming at %s", saving.start)
        if distribute.is_chief():
            logger.info("tracing the first step of phase %s", phase.name)
        make = functools.partial(training_batches, stage, config, phase, start_step=saving.start.step)
        train = distribute.shard(make, strategy)
        train, timers = profiling.watched(train, strategy, directory, phase.name)
        try:
            return stage.model.fit(
                train,
                epochs=phase.trained_epochs,
                initial_epoch=saving.start.epoch,
                steps_per_epoch=phase.steps_per_epoch,
                **_validation(stage, config, phase),
                shuffle=False,  # the batches are shuffled already, and Keras would warn that it cannot shuffle them
                verbose="auto" if distribute.is_chief() else 0,
                callbacks=[*saving.before([watch, *stage.callbacks, *standard]), *timers],
            )
        except callbacks.Paused:
            _flush(standard)
            raise
        except NonFiniteError as error:
            if report is not None:
                report.pause_epoch = None  # The epoch is trained again, and reported again.
            if strategy.num_replicas_in_sync > 1:
                raise NonFiniteError(
                    error.step,
                    f"{error} With several devices, the layer and the files are not searched for. Resume on one device to "
                    f"find them: kerastrain train runtime.strategy=none --resume {directory}",
                ) from error
            if executions.take_steps_one_by_one(stage.model):
                logger.warning("%s Repeating the steps one by one from the last checkpoint.", error)
                continue
            watch = nonfinite_steps.handle_nonfinite_step(error, watch, stage, config, phase, directory)


def _flush(standard: Sequence[keras.callbacks.Callback]) -> None:
    """Writes what TensorBoard's writers hold back, which the end of a forked process would lose."""
    for callback in standard:
        if isinstance(callback, keras.callbacks.TensorBoard):
            callback.on_train_end()


def _log_penalties(model: keras.Model, phase: plan.Phase) -> None:
    """Says how much of the loss of a phase is no loss of examples, such as the penalties of a Hub module on its weights."""
    penalty = sum(float(loss) for loss in model.losses)
    if abs(penalty) >= _SMALLEST_PENALTY and distribute.is_chief():
        logger.info(
            "phase %s: the loss includes penalties on weights, %.4g at its start; data_loss is the loss of the examples alone",
            *(phase.name, penalty),
        )


def _measures(stage: Stage, config: Config, monitor: monitors.Monitor) -> callbacks.EpochMeasures | None:
    """Returns the callback that computes what Keras does not log, if epochs are compared by it."""
    if not monitor.is_computed or stage.validation is None:
        return None
    measures = {monitor.column: monitor.measure}
    return callbacks.EpochMeasures(stage.validation, measures, batch_size=config.evaluation.batch_size)


def _validation(stage: Stage, config: Config, phase: plan.Phase) -> dict:
    """Returns the validation arguments of `fit`."""
    if stage.validation is None:
        return {}
    batches, strategy = validation_batches(stage, config), stage.model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return {"validation_data": batches}
    # With `validation_steps`, `fit` continues in the data set where the previous epoch ended, so it must repeat.
    sharded = distribute.shard(
        lambda devices: validation_batches(stage, config, devices=devices).repeat(phase.epochs), strategy
    )
    return {"validation_data": sharded, "validation_steps": int(batches.cardinality())}
