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
)
from kerastrain.config import Config

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
    backbone = load_backbone(config) if config.data.kind == "images" else None
    split = load_data(config, backbone and backbone.image_size)
    model = build(config, backbone, split)
    runs.remember_modules(model)
    with runs.create(directory, config):
        _log_start(config, split, model)
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
    """The image backbone that `config` names, frozen; raises as `backbones.load` does."""
    with runtime.precision(config.runtime.precision):
        return backbones.load(
            config.model.backbone,
            weights=config.model.weights,
            image_size=config.data.image_size,
            value_range=config.model.value_range,
            alpha=config.model.alpha,
        )


def load_data(config: Config, image_size: tuple[int, int] | None) -> data.Split:
    """The examples that `config` names, images decoded to `image_size`; raises as `data.image_folder` does."""
    options = {
        "validation_fraction": config.data.validation_fraction,
        "test_fraction": config.data.test_fraction,
        "seed": config.runtime.seed,
    }
    if config.data.kind == "text":
        return data.text_files(config.data.path, **options)
    options["image_size"] = image_size
    return data.digits(**options) if config.data.path == "digits" else data.image_folder(config.data.path, **options)


def build(config: Config, backbone: backbones.Backbone | None, split: data.Split) -> keras.Model:
    """The model that `config` describes: raw pixels or strings to float32 logits, compiled for its first phase.

    Args:
        config: Config.
        backbone: Backbone from `load_backbone`, whose layer becomes part of the model; None for texts.
        split: data.Split, for the labels, the vocabulary and the number of steps.

    Returns:
        keras.Model, its backbone frozen unless it has random weights.
    """
    head = {name: getattr(config.model, name) for name in ("hidden_units", "dropout", "l1", "l2", "batch_norm")}
    with runtime.precision(config.runtime.precision):
        if backbone is not None:
            model = models.image_classifier(backbone, labels=split.labels, **head)
        else:
            model = models.text_classifier(
                config.model.backbone,
                labels=split.labels,
                texts=split.train.inputs,
                width=config.model.width,
                depth=config.model.depth,
                **head,
            )
    if config.from_scratch:
        models.unfreeze(model, batch_norm=True)
    elif config.fit.epochs:
        _unfreeze(model, config)  # once now, so that what the backbone refuses is told before anything is written
        models.merge_lora(model)
        models.freeze(model)
    return compiled(model, config, plan.phases(config, len(split.train))[0])


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
        augment = data.augment(*config.data.augment) if config.data.augment and config.data.kind == "images" else None
        if phase.name == "head":
            features, trained = models.head(model)
            train = data.features.precompute(features, split.train, config.evaluation.batch_size)
            validation = data.features.precompute(features, split.validation, config.evaluation.batch_size)
            augment = None
        elif phase.name == "fine_tune":
            extra = _unfreeze(model, config)
        compiled(trained, config, phase)
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
            callbacks=[
                *extra,
                *callbacks.standard(
                    directory, phase=phase.name, early_stopping_epochs=config.fit.early_stopping_epochs
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
            layer_rates=models.layer_rates(model, decay) if decay and phase.name == "fine_tune" else None,
        ),
        loss=models.loss(model, label_smoothing=config.fit.label_smoothing),
        metrics=evaluation.metrics(model.output_shape[-1]),
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


def _unfreeze(model: keras.Model, config: Config) -> list[keras.callbacks.Callback]:
    """Lets train what `config.fine_tune` says, and gives the callback of its timetable, if there is one."""
    wanted = config.fine_tune
    if wanted.lora_rank is not None:
        models.add_lora(model, wanted.lora_rank)
        return []
    models.unfreeze(model, last=wanted.last, from_layer=wanted.from_layer, batch_norm=wanted.batch_norm)
    return [models.GradualUnfreezing(wanted.timetable, batch_norm=wanted.batch_norm)] if wanted.timetable else []


def _log_start(config: Config, split: data.Split, model: keras.Model) -> None:
    counts = ", ".join(f"{len(part)} {name}" for name, part in split.parts.items())
    size = split.train.image_size
    what = "texts" if size is None else f"images of {size[0]} x {size[1]}"
    logger.info("data: %s: %s %s, %d classes", config.data.path, counts, what, len(split.labels))
    logger.info("model: backbone %s, %s parameters", config.model.backbone, f"{model.count_params():,}")
