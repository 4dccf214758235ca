"""The one composition: from a config to a trained, measured and exported model, in the order of the README.

Takes a `Config` and a folder name, gives a `keras.Model` and files. Made only of calls to public functions, so its
body, copied into a script, runs. Must not hold logic that a part or a tool could hold.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from kerastrain import (
    backbones,
    callbacks,
    data,
    evaluation,
    export,
    files,
    models,
    optimizers,
    plan,
    report,
    runs,
    runtime,
    schedules,
    trust,
)
from kerastrain.config import Config
from kerastrain.hub_layer import HubLayer

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Finished:
    """What a run came to.

    Args:
        directory: Path of the run.
        model: keras.Model, trained.
        measures: dict from "validation", "test" to their measures.
        exports: dict from Path to Parity, the files that ship.
        seconds: float, wall-clock time of it all.
    """

    directory: Path
    model: keras.Model
    measures: Mapping[str, dict]
    exports: Mapping[Path, export.Parity]
    seconds: float


def run(config: Config, directory: str | Path) -> Finished:
    """Trains, measures, exports and reports what `config` describes.

    Args:
        config: Config.
        directory: folder to make; see `runs` for what it holds afterwards.

    Returns:
        Finished.

    Raises:
        FileExistsError: something stands at `directory`.
        InputError: data or backbone cannot be used; nothing has been written then.
        ParityError: an exported file does not answer as the model does; the model itself is saved.
    """
    start = time.monotonic()
    directory = runs.refuse_existing(directory)
    runtime.seed(config.runtime.seed, deterministic=config.runtime.deterministic)
    backbone = load_backbone(config)
    split = load_data(config, backbone.image_size)
    model = build(config, backbone, split)
    if isinstance(backbone.layer, HubLayer):
        trust.remember(backbone.layer.fingerprint)  # so that the run opens again without asking
    with runs.create(directory, config):
        _log_start(config, backbone, split, model)
        fit(model, config, split, directory)
        with files.atomic(directory / "model.keras") as temporary:
            model.save(temporary)
        files.write_text(directory / "labels.txt", "\n".join(split.labels) + "\n")
        measures = measure(model, config, split)
        files.write_json(directory / "metrics.json", measures)
        exports = export_all(model, config, split, config.export.formats, directory / "exports")
        report.write(directory)
    return Finished(directory, model, measures, exports, time.monotonic() - start)


def load_backbone(config: Config) -> backbones.Backbone:
    """The backbone that `config` names, frozen; raises as `backbones.load` does."""
    with runtime.precision(config.runtime.precision):
        return backbones.load(
            config.model.backbone,
            weights=config.model.weights,
            image_size=config.data.image_size,
            value_range=config.model.value_range,
        )


def load_data(config: Config, image_size: tuple[int, int]) -> data.Split:
    """The examples that `config` names, decoded to `image_size`; raises as `data.image_folder` does."""
    options = {
        "image_size": image_size,
        "validation_fraction": config.data.validation_fraction,
        "test_fraction": config.data.test_fraction,
        "seed": config.runtime.seed,
    }
    return data.digits(**options) if config.data.path == "digits" else data.image_folder(config.data.path, **options)


def build(config: Config, backbone: backbones.Backbone, split: data.Split) -> keras.Model:
    """The model that `config` describes: raw pixels to float32 logits, compiled for its first phase.

    Args:
        config: Config.
        backbone: Backbone from `load_backbone`; its layer becomes part of the model.
        split: data.Split, for the labels and the number of steps.

    Returns:
        keras.Model, its backbone frozen.
    """
    with runtime.precision(config.runtime.precision):
        model = models.image_classifier(
            backbone,
            labels=split.labels,
            hidden_units=config.model.hidden_units,
            dropout=config.model.dropout,
            l1=config.model.l1,
            l2=config.model.l2,
        )
    return compiled(model, config, plan.phases(config, len(split.train))[0], len(split.labels))


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
        if phase.name == "head":
            features, trained = models.head(model)
            train = data.features.precompute(features, split.train, config.evaluation.batch_size)
            validation = data.features.precompute(features, split.validation, config.evaluation.batch_size)
            augment = None
        else:
            models.unfreeze(model)
            trained, train, validation = model, split.train, split.validation
            augment = data.augment(*config.data.augment) if config.data.augment else None
        compiled(trained, config, phase, len(split.labels))
        history = trained.fit(
            data.batches(
                train,
                config.fit.global_batch_size,
                shuffle=True,
                seed=config.runtime.seed,
                epochs=phase.epochs,
                augment=augment,
            ),
            epochs=phase.epochs,
            steps_per_epoch=phase.steps_per_epoch,
            validation_data=data.batches(validation, config.evaluation.batch_size),
            shuffle=False,  # `batches` has shuffled; Keras would warn that it cannot
            callbacks=callbacks.standard(
                directory, phase=phase.name, early_stopping_epochs=config.fit.early_stopping_epochs
            ),
        ).history
        losses = [math.inf if math.isnan(value) else value for value in history["val_loss"]]
        best = {name: float(values[losses.index(min(losses))]) for name, values in history.items()}
    return best


def compiled(model: keras.Model, config: Config, phase: plan.Phase, label_count: int) -> keras.Model:
    """`model`, compiled with the optimizer and schedule of one phase."""
    options = config.optimizer
    model.compile(
        optimizer=optimizers.make(
            options.name,
            schedules.make(
                config.schedule.name,
                phase.learning_rate,
                steps=phase.steps,
                warmup_steps=phase.warmup_steps,
                end_fraction=config.schedule.end_fraction,
            ),
            weight_decay=options.weight_decay,
            clip_norm=options.clip_norm,
            global_clip_norm=options.global_clip_norm,
            clip_value=options.clip_value,
            momentum=options.momentum,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=evaluation.metrics(label_count),
    )
    # A model that is saved before it ever took a step would lose its optimizer when it is loaded.
    model.optimizer.build(model.trainable_variables)
    return model


def measure(model: keras.Model, config: Config, split: data.Split) -> dict[str, dict]:
    """The measures of `model` on the parts of `split` that `evaluation.sets` names, by name."""
    sets = {name: part for name, part in split.parts.items() if name in config.evaluation.sets}
    return evaluation.report(
        model, {name: data.batches(part, config.evaluation.batch_size) for name, part in sets.items()}
    )


def export_all(
    model: keras.Model,
    config: Config,
    split: data.Split,
    formats: Sequence[str],
    directory: Path,
    *,
    replace: bool = False,
) -> dict[Path, export.Parity]:
    """Writes `model` in each of `formats` into `directory`, every file checked against `predict` on held-out images.

    Args:
        model: keras.Model.
        config: Config, for the numbers of samples and whether files answer probabilities.
        split: data.Split; validation images are compared on, training images calibrate int8.
        formats: names as in `export.formats`: "saved_model", "tflite_float32", "tflite_int8", ….
        directory: folder for the files.
        replace: bool, whether files that exist may be replaced.

    Returns:
        dict from the Path of each file to its Parity.
    """
    options = {
        "samples": split.test or split.validation,
        "sample_count": config.export.samples,
        "activation": "softmax" if config.export.probabilities else None,
        "replace": replace,
    }
    exports = {}
    for name in formats:
        if name == "saved_model":
            path = directory / "saved_model"
            exports[path] = export.saved_model(model, path, **options)
        else:
            path, quantize = directory / f"{name.replace('tflite', 'model')}.tflite", name.removeprefix("tflite_")
            exports[path] = export.tflite(
                model,
                path,
                quantize=None if quantize == "float32" else quantize,
                representative=split.train,
                representative_count=config.export.representative_samples,
                **options,
            )
        logger.info("exported %s", exports[path])
    return exports


def _log_start(config: Config, backbone: backbones.Backbone, split: data.Split, model: keras.Model) -> None:
    counts = ", ".join(f"{len(part)} {name}" for name, part in split.parts.items())
    height, width = split.train.image_size
    logger.info(
        "data: %s: %s images of %d x %d, %d classes", config.data.path, counts, height, width, len(split.labels)
    )
    logger.info("model: backbone %s, %s parameters", backbone.handle, f"{model.count_params():,}")
