"""Collects what the diagnosis of a run reads: its history, its predictions, and samples that run through its model.

Takes the features of a model, a config, data and a folder; returns `diagnosis.Record`s, and writes the samples of a run.
Must not judge.
"""

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kerastrain import data, diagnosis, evaluation, tracing
from kerastrain.config import Config
from kerastrain.evaluation import predictions
from kerastrain.recipe import plan
from kerastrain.recipe.backbone_features import BackboneFeatures
from kerastrain.run_directory import EXAMPLES_FILE, Run
from kerastrain.system import files

SAMPLES_FILE = "verdict_samples.npz"
"""The file of a run with the samples of its parts, with which data that are evaluated later are compared."""

_MOST_FEATURES = 256


@data.surface_read_errors()
def record(features: BackboneFeatures, config: Config, split: data.Split, directory: Path) -> diagnosis.Record:
    """Collects what the diagnosis of a trained run reads.

    A sample of 500 training examples and of 250 of each other part runs through the model: for the score on training examples
    without augmentation, and for features. Those that passed through its backbone before do not again.

    Args:
        features: BackboneFeatures of the trained model.
        config: Config.
        split: data.Split.
        directory: Path of the run.

    Returns:
        diagnosis.Record.
    """
    phases = plan.phases(config, len(split.train))
    digests = _digests(directory)
    parts = {}
    for name, part in split.parts.items():
        sample = _sampled(features, name, part)
        path = directory / predictions.FOLDER / f"{name}.npz"
        if name != "train" and path.is_file():
            whole = predictions.read(path)
            sample = dataclasses.replace(sample, targets=whole.targets, outputs=whole.outputs)
        shared = 0
        if name != "train" and "train" in digests and name in digests:
            shared = data.overlap.shared_counts(digests[name], {"train": digests["train"]})["train"]
        parts[name] = dataclasses.replace(sample, shared=shared)
    return diagnosis.Record(
        task=split.task,
        labels=split.labels,
        parts=parts,
        history=history(directory),
        class_counts=split.train.class_counts,
        settings=settings(config),
        steps_per_epoch=phases[-1].steps_per_epoch,
        left_out=sum(item.kind == "leakage" for item in split.quarantined),
    )


def record_other(
    run: Run,
    features: BackboneFeatures,
    name: str,
    examples: data.Examples,
    predicted: evaluation.Predictions,
    shared: int,
) -> diagnosis.Record:
    """Collects what the diagnosis of other data reads.

    Args:
        run: as for `diagnose_other`.
        features: as for `diagnose_other`.
        name: as for `diagnose_other`.
        examples: as for `diagnose_other`.
        predicted: as for `diagnose_other`.
        shared: as for `diagnose_other`.

    Returns:
        diagnosis.Record with the samples of the run's own parts beside the other data.
    """
    own = read_samples(run.directory / SAMPLES_FILE)
    other = dataclasses.replace(
        _sampled(features, name, examples), targets=predicted.targets, outputs=predicted.outputs, shared=shared
    )
    for part in own:
        path = run.directory / predictions.FOLDER / f"{part}.npz"
        if path.is_file():
            whole = predictions.read(path)
            own[part] = dataclasses.replace(own[part], targets=whole.targets, outputs=whole.outputs)
    return diagnosis.Record(
        task=examples.task, labels=examples.labels, parts={**own, name: other}, settings=settings(run.config)
    )


def _sampled(features: BackboneFeatures, name: str, part: data.Examples) -> diagnosis.Part:
    """Outputs, features and properties of the sample of a part."""
    chosen, values = part.subset(features.sampled_rows(name, len(part))), None
    examples = chosen
    if features.is_divided:
        examples = features.sample(name, part)
        values = _projected(examples.inputs.reshape(len(chosen), -1))
        values = values if np.isfinite(values).all() else None  # as of a network that overflows in half precision
    outputs = tracing.predict(features.head, data.batches(examples, features.batch_size))
    return diagnosis.Part(
        targets=chosen.targets,
        outputs=np.asarray(outputs, np.float32),
        size=len(part),
        features=values,
        properties=diagnosis.descriptors.of_inputs(chosen.read(np.arange(len(chosen)))),
        sample_targets=chosen.targets,
    )


def write_samples(collected: diagnosis.Record, path: Path) -> None:
    """Writes the samples of each part.

    Args:
        collected: diagnosis.Record, from `record`.
        path: Path of the file, `SAMPLES_FILE` in the folder of the run.

    Raises:
        WriteError: the file cannot be written.
    """
    arrays = {}
    for name, part in collected.parts.items():
        arrays[f"{name}/size"] = np.array(part.count)
        arrays[f"{name}/targets"] = part.sample_targets
        arrays |= {f"{name}/property/{key}": values for key, values in part.properties.items()}
        if part.features is not None:
            arrays[f"{name}/features"] = part.features
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_samples(path: Path) -> dict[str, diagnosis.Part]:
    """Reads the samples of each part, without outputs.

    Args:
        path: Path of the file.

    Returns:
        dict from the name of each part to diagnosis.Part; empty for a run of an earlier version.
    """
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    parts = {}
    for name in dict.fromkeys(key.split("/")[0] for key in values):
        prefix = f"{name}/property/"
        targets = values[f"{name}/targets"]
        parts[name] = diagnosis.Part(
            targets=targets[:0],
            outputs=np.zeros((0, 0)),
            size=int(values[f"{name}/size"]),
            features=values.get(f"{name}/features"),
            properties={key.removeprefix(prefix): array for key, array in values.items() if key.startswith(prefix)},
            sample_targets=targets,
        )
    return parts


def history(directory: Path) -> list[dict[str, object]]:
    """Reads the rows of `history.csv`.

    Args:
        directory: Path of the run.

    Returns:
        list of dict; numbers as float, missing values left out. Empty without the file.
    """
    path = directory / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: value if name == "phase" else float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def settings(config: Config) -> dict[str, object]:
    """The values of a config by their dotted keys, such as {"fit.epochs": 10, "model.dropout": 0.2}.

    Args:
        config: Config.

    Returns:
        dict.
    """
    return {
        f"{section}.{key}": value
        for section, values in config.model_dump(mode="json").items()
        for key, value in values.items()
    }


def _projected(features: np.ndarray) -> np.ndarray:
    """At most 256 features, by a random projection with a fixed seed, which about keeps distances."""
    count = features.shape[1]
    if count <= _MOST_FEATURES:
        return features.astype(np.float32)
    matrix = np.random.default_rng(0).standard_normal((count, _MOST_FEATURES)) / np.sqrt(_MOST_FEATURES)
    return (features @ matrix.astype(np.float32)).astype(np.float32)


def _digests(directory: Path) -> Mapping[str, np.ndarray]:
    path = directory / EXAMPLES_FILE
    if not path.is_file():
        return {}
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
