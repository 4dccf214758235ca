"""Collects what the diagnosis of a run reads: its history, its predictions, and samples that run through its model.

Takes a model, a config, data and a folder; returns `diagnosis.Record`s, and writes the samples of a run. Must not judge.
"""

import csv
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from kerastrain import data, diagnosis, evaluation, models, tracing
from kerastrain.config import Config
from kerastrain.data.views import Views
from kerastrain.errors import InputError
from kerastrain.evaluation import predictions
from kerastrain.recipe import head_features, plan
from kerastrain.recipe.stages import Stage
from kerastrain.run_directory import EXAMPLES_FILE, Run
from kerastrain.system import files

SAMPLES_FILE = "verdict_samples.npz"
"""The file of a run with the samples of its parts, with which data that are evaluated later are compared."""

_MOST_TRAINING, _MOST_OTHERS = 500, 250  # examples of a part that are sampled
_MOST_FEATURES = 256


class SampledFeatures:
    """The features of the examples that the diagnosis of a run samples, kept from the training of its head.

    They are those of the trained model only where the backbone stays as it is.

    Args:
        config: Config of the run.

    Attributes:
        extract: keras.Model that computes the features of other examples, on one device; None if it was not kept.
    """

    def __init__(self, config: Config):
        self._config, self._kept, self.extract = config, {}, None

    def keep(self, stage: Stage) -> None:
        """Keeps the features of a sample of each part, and the model that has computed them.

        Args:
            stage: Stage of the head; of several views of an image the first counts, the image as it is.
        """
        if stage.extract.distribute_strategy.num_replicas_in_sync == 1:
            self.extract = stage.extract
        for name, part in (("train", stage.train), ("validation", stage.validation)):
            if part is not None:
                inputs = part.inputs.of_epoch(0) if isinstance(part.inputs, Views) else part.inputs
                self._kept[name] = np.array(inputs[_sampled_rows(self._config, len(part), _most(name))])

    def of(self, name: str) -> np.ndarray | None:
        """The features of the sample of a part.

        Args:
            name: str.

        Returns:
            float32 (n, ...), or None if they were not kept.
        """
        return self._kept.get(name)


@data.surface_read_errors()
def record(
    model: keras.Model,
    config: Config,
    split: data.Split,
    directory: Path,
    *,
    features: SampledFeatures | None = None,
) -> diagnosis.Record:
    """Collects what the diagnosis of a trained run reads.

    A sample of 500 training examples and of 250 of each other part runs through the model: for the score on training examples
    without augmentation, and for features.

    Args:
        model: keras.Model, trained.
        config: Config.
        split: data.Split.
        directory: Path of the run.
        features: SampledFeatures of a training that left the backbone as it was, so that these examples do not run through it
            again; None for none.

    Returns:
        diagnosis.Record.
    """
    phases = plan.phases(config, len(split.train))
    run_sample = sampler(model, config, extract=None if features is None else features.extract)
    digests = _digests(directory)
    parts = {}
    for name, part in split.parts.items():
        sample = run_sample(part, _most(name), None if features is None else features.of(name))
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
    run: Run, config: Config, name: str, examples: data.Examples, predicted: evaluation.Predictions, shared: int
) -> diagnosis.Record:
    """Collects what the diagnosis of other data reads.

    Args:
        run: as for `diagnose_other`.
        config: as for `diagnose_other`.
        name: as for `diagnose_other`.
        examples: as for `diagnose_other`.
        predicted: as for `diagnose_other`.
        shared: as for `diagnose_other`.

    Returns:
        diagnosis.Record with the samples of the run's own parts beside the other data.
    """
    own = read_samples(run.directory / SAMPLES_FILE)
    other = sampler(run.model, config)(examples, _MOST_OTHERS)
    other = dataclasses.replace(other, targets=predicted.targets, outputs=predicted.outputs, shared=shared)
    for part in own:
        path = run.directory / predictions.FOLDER / f"{part}.npz"
        if path.is_file():
            whole = predictions.read(path)
            own[part] = dataclasses.replace(own[part], targets=whole.targets, outputs=whole.outputs)
    return diagnosis.Record(
        task=examples.task, labels=examples.labels, parts={**own, name: other}, settings=settings(run.config)
    )


def sampler(model: keras.Model, config: Config, *, extract: keras.Model | None = None) -> Callable[..., diagnosis.Part]:
    """Makes a function that runs a sample of a part through a model.

    Args:
        model: keras.Model.
        config: Config, of which the seed and `evaluation.batch_size` are used.
        extract: keras.Model that computes the features of the model's backbone; None to make it here.

    Returns:
        callable from data.Examples, the largest number of examples and perhaps the features of the sample, see
        `SampledFeatures`, to a diagnosis.Part with outputs, features and properties of the sample.
    """
    batch_size = config.evaluation.batch_size
    try:
        backbone, head = models.split_at_backbone(model)
    except InputError:  # a model made elsewhere
        backbone, head = None, model
    if backbone is not None:
        extract = extract or head_features.inference_model(backbone)  # traced once for all parts

    def sampled(part: data.Examples, count: int, known: np.ndarray | None = None) -> diagnosis.Part:
        chosen = part.subset(_sampled_rows(config, len(part), count))
        examples, features = chosen, None
        if backbone is not None:
            if known is None:
                lengths = models.text_lengths(backbone, chosen.inputs)
                examples = data.features.precompute(extract, chosen, batch_size, lengths=lengths)
            else:
                examples = dataclasses.replace(chosen, inputs=known)
            features = _projected(examples.inputs.reshape(len(chosen), -1))
            features = (
                features if np.isfinite(features).all() else None
            )  # as of a network that overflows in half precision
        return diagnosis.Part(
            targets=chosen.targets,
            outputs=np.asarray(tracing.predict(head, data.batches(examples, batch_size)), np.float32),
            size=len(part),
            features=features,
            properties=diagnosis.descriptors.of_inputs(chosen.read(np.arange(len(chosen)))),
            sample_targets=chosen.targets,
        )

    return sampled


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


def _most(name: str) -> int:
    return _MOST_TRAINING if name == "train" else _MOST_OTHERS


def _sampled_rows(config: Config, size: int, count: int) -> np.ndarray:
    """Which examples of a part are sampled, the same at every call."""
    generator = np.random.default_rng(config.runtime.seed)
    return np.sort(generator.choice(size, min(count, size), replace=False))


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
