"""Training through the phases of a config: each compiled with its own optimizer and schedule."""

import logging
import math
from pathlib import Path

import keras

from kerastrain import callbacks, data, evaluation, models, optimizers, plan, schedules
from kerastrain.config import Config

logger = logging.getLogger("kerastrain")


@data.plain_errors()
def fit(model: keras.Model, config: Config, split: data.Split, directory: Path) -> dict[str, float]:
    """Trains through the phases of `config`: the head on the frozen backbone's features, then the whole model.

    Args:
        model: keras.Model from `build`, trained in place; it ends with the weights of the last phase's best epoch.
        config: Config.
        split: data.Split.
        directory: Path, for `history.csv`, `tensorboard/` and `checkpoints/`.

    Returns:
        dict, the logs of the best epoch of the last phase, such as {"val_loss": 0.1, "val_accuracy": 0.97}.
    """
    best = {}
    for phase in plan.phases(config, len(split.train)):
        logger.info("phase %s: %d epochs of %d steps", phase.name, phase.epochs, phase.steps_per_epoch)
        trained, train, validation, extra = model, split.train, split.validation, []
        augment = data.augment(**config.data.augment.named)
        if phase.name == "head":
            features, trained = models.head(model)
            train = data.features.precompute(features, split.train, config.evaluation.batch_size)
            validation = data.features.precompute(features, split.validation, config.evaluation.batch_size)
            augment = None
        elif phase.name == "fine_tune":
            extra = unfreeze(model, config)
        compiled(trained, config, phase)
        history = trained.fit(
            data.batches(
                train,
                config.fit.global_batch_size,
                shuffle=True,
                sampling=config.data.sampling,
                seed=config.runtime.seed,
                epochs=phase.epochs,
                augment=augment,
            ),
            epochs=phase.epochs,
            steps_per_epoch=phase.steps_per_epoch,
            validation_data=data.batches(validation, config.evaluation.batch_size),
            shuffle=False,  # `batches` has shuffled; Keras would warn that it cannot
            callbacks=[
                *extra,
                *callbacks.standard(
                    directory,
                    phase=phase.name,
                    early_stopping_epochs=config.fit.early_stopping_epochs,
                    plateau_epochs=config.schedule.plateau_epochs,
                    plateau_factor=config.schedule.plateau_factor,
                ),
            ],
        ).history
        losses = [math.inf if math.isnan(value) else value for value in history["val_loss"]]
        best = {name: float(values[losses.index(min(losses))]) for name, values in history.items()}
    models.merge_lora(model)
    return best


def compiled(model: keras.Model, config: Config, phase: plan.Phase) -> keras.Model:
    """`model`, compiled with the optimizer and schedule of one phase."""
    options, decay = config.optimizer, config.fine_tune.layer_rate_decay
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
            clip_norm=options.clip_norm,
            global_clip_norm=options.global_clip_norm,
            clip_value=options.clip_value,
            momentum=options.momentum,
            layer_rates=models.layer_rates(model, decay) if decay and phase.name == "fine_tune" else None,
        ),
        loss=models.loss(model, label_smoothing=config.fit.label_smoothing),
        metrics=evaluation.metrics(model.output_shape[-1]),
    )
    # A model that is saved before it ever took a step would lose its optimizer when it is loaded.
    model.optimizer.build(model.trainable_variables)
    return model


def unfreeze(model: keras.Model, config: Config) -> list[keras.callbacks.Callback]:
    """Lets train what `config.fine_tune` says, and gives the callback of its timetable, if there is one."""
    wanted = config.fine_tune
    if wanted.lora_rank is not None:
        models.add_lora(model, wanted.lora_rank)
        return []
    models.unfreeze(model, last=wanted.last, from_layer=wanted.from_layer, batch_norm=wanted.batch_norm)
    return [models.GradualUnfreezing(wanted.timetable, batch_norm=wanted.batch_norm)] if wanted.timetable else []
