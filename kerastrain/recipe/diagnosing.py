"""Diagnoses a run: collects what its training left behind, and writes `verdict.json`.

Takes a model, a config, data and a folder with history and predictions; returns the verdict as a dict. The rules are in
`kerastrain.diagnosis`. Must not train, and must not change the model.
"""

import csv
import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kerastrain import config as configs
from kerastrain import data, diagnosis, evaluation, models
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.evaluation import predictions
from kerastrain.recipe import plan, requirements
from kerastrain.run_directory import EXAMPLES_FILE, Run
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

FILE = "verdict.json"
"""The file of a run with its verdict."""

SAMPLES_FILE = "verdict_samples.npz"
"""The file of a run with the samples of its parts, with which data that are evaluated later are compared."""

_MOST_TRAINING, _MOST_OTHERS = 500, 250  # examples of a part that are sampled
_MOST_FEATURES = 256


@data.surface_read_errors()
def record(model: keras.Model, config: Config, split: data.Split, directory: Path) -> diagnosis.Record:
    """Collects what the diagnosis of a trained run reads.

    A sample of 500 training examples and of 250 of each other part runs through the model: for the score on training examples
    without augmentation, and for features.

    Args:
        model: keras.Model, trained.
        config: Config.
        split: data.Split.
        directory: Path of the run.

    Returns:
        diagnosis.Record.
    """
    phases = plan.phases(config, len(split.train))
    run_sample = sampler(model, config)
    digests = _digests(directory)
    parts = {}
    for name, part in split.parts.items():
        sample = run_sample(part, _MOST_TRAINING if name == "train" else _MOST_OTHERS)
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


def sampler(model: keras.Model, config: Config) -> Callable[[data.Examples, int], diagnosis.Part]:
    """Makes a function that runs a sample of a part through a model.

    Args:
        model: keras.Model.
        config: Config, of which the seed and `evaluation.batch_size` are used.

    Returns:
        callable from data.Examples and the largest number of examples to a diagnosis.Part with outputs, features and
        properties of the sample.
    """
    batch_size = config.evaluation.batch_size
    try:
        backbone, head = models.split_at_backbone(model)
    except InputError:  # a model made elsewhere
        backbone, head = None, model

    def sampled(part: data.Examples, count: int) -> diagnosis.Part:
        generator = np.random.default_rng(config.runtime.seed)
        chosen = part.subset(np.sort(generator.choice(len(part), min(count, len(part)), replace=False)))
        examples, features = chosen, None
        if backbone is not None:
            lengths = models.text_lengths(backbone, chosen.inputs)
            examples = data.features.precompute(backbone, chosen, batch_size, lengths=lengths)
            features = _projected(examples.inputs.reshape(len(chosen), -1))
            features = (
                features if np.isfinite(features).all() else None
            )  # as of a network that overflows in half precision
        return diagnosis.Part(
            targets=chosen.targets,
            outputs=np.asarray(head.predict(data.batches(examples, batch_size), verbose=0), np.float32),
            size=len(part),
            features=features,
            properties=diagnosis.descriptors.of_inputs(chosen.read(np.arange(len(chosen)))),
            sample_targets=chosen.targets,
        )

    return sampled


def diagnose(model: keras.Model, config: Config, split: data.Split, directory: Path) -> dict[str, object]:
    """Diagnoses a trained run, and writes `verdict.json` and the samples that data which are evaluated later are compared with.

    Args:
        model: keras.Model, trained.
        config: Config.
        split: data.Split.
        directory: Path of the run, with `history.csv` and `predictions/`.

    Returns:
        dict, the content of `verdict.json`: "sentence"; "findings", most important first, each with "kind", "part", "sentence",
        "evidence", "confidence" and "try", a list of "key", "value" and "why"; "sound", the kinds that were checked without a
        finding; and "data_sha256".

    Raises:
        WriteError: the folder cannot be written to.
    """
    logger.info("diagnosing the run")
    collected = record(model, config, split, directory)
    found = diagnosis.verdict.findings(collected)
    verdict = {
        "sentence": diagnosis.verdict.summary(found, collected),
        "findings": [as_dict(finding, config, len(split.train)) for finding in found],
        "sound": diagnosis.verdict.sound(found, collected),
        "data_sha256": data.fingerprint(split),
    }
    _write_samples(collected, directory / SAMPLES_FILE)
    files.write_json(directory / FILE, verdict)
    return verdict


def diagnose_language(config: Config, directory: Path) -> dict[str, object]:
    """Diagnoses a trained language model by its curve, and writes `verdict.json`.

    Args:
        config: Config of a language model.
        directory: Path of the run.

    Returns:
        dict, as from `diagnose`; nothing is checked for fit.objective=dpo, whose loss is no perplexity.

    Raises:
        WriteError: the folder cannot be written to.
    """
    is_checked = config.fit.objective != "dpo"
    rows = history(directory)
    found = diagnosis.curves.of_language(rows) if is_checked else []
    kinds = ("still_improving", "overfitting") if is_checked and len(rows) > 1 else ()
    sound = [kind for kind in kinds if kind not in {finding.kind for finding in found}]
    environment = json.loads((directory / "environment.json").read_text(encoding="utf-8"))
    verdict = {
        "sentence": found[0].sentence if found else "The validation perplexity shows no fault." if kinds else None,
        "findings": [as_dict(finding, config, 1) for finding in found],
        "sound": sound,
        "data_sha256": environment.get("data_sha256"),
    }
    files.write_json(directory / FILE, verdict)
    return verdict


def as_dict(finding: diagnosis.Finding, config: Config, count: int) -> dict[str, object]:
    """A finding as it is written to `verdict.json`.

    Args:
        finding: Finding.
        config: Config of the run, by which the settings to try are checked; those that it does not accept are left out.
        count: int, training examples.

    Returns:
        dict that can be written as JSON.
    """
    return {
        "kind": finding.kind,
        "part": finding.part,
        "sentence": finding.sentence,
        "evidence": dict(finding.evidence),
        "confidence": round(min(finding.confidence, 1.0), 4),
        "try": _proposals(finding, config, count),
    }


def read(directory: Path) -> dict[str, object] | None:
    """Reads the verdict on a run.

    Args:
        directory: Path of the run.

    Returns:
        dict as from `diagnose`, or None if the run has none, as runs of earlier versions, or an unreadable one.
    """
    try:
        verdict = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return verdict if isinstance(verdict, dict) and isinstance(verdict.get("findings"), list) else None


def diagnose_other(
    run: Run, config: Config, name: str, examples: data.Examples, predicted: evaluation.Predictions, shared: int
) -> list[dict[str, object]]:
    """Diagnoses other data by what a run predicted for them: leakage, a shift from its own data, and too few examples.

    Args:
        run: Run.
        config: Config that says how the data were read.
        name: str, the name of the data.
        examples: data.Examples.
        predicted: Predictions for these examples.
        shared: int >= 0, how many of the examples the run was trained on.

    Returns:
        list of dict, findings as in `diagnose`. A run of an earlier version has no samples of its own data, so that no shift is
        found.
    """
    collected = record_other(run, config, name, examples, predicted, shared)
    found = diagnosis.verdict.findings_of_other(collected, name)
    count = collected.parts["train"].count if "train" in collected.parts else 1
    return [as_dict(finding, run.config, count) for finding in found]


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
    own = _read_samples(run.directory / SAMPLES_FILE)
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


def add(directory: Path, name: str, findings: Sequence[Mapping[str, object]]) -> None:
    """Puts the findings about other data in `verdict.json`, in the place of earlier ones under the same name.

    Args:
        directory: Path of the run.
        name: str, the name of the data in the findings.
        findings: sequence of dict as from `diagnose_other`.

    Raises:
        WriteError: the folder cannot be written to.
    """
    verdict = read(directory) or {"findings": [], "sound": []}
    kept = [finding for finding in verdict["findings"] if finding.get("part") != name]
    order = list(diagnosis.verdict.KINDS)
    found = sorted(
        [*kept, *findings], key=lambda finding: order.index(finding["kind"]) if finding["kind"] in order else 99
    )
    if found != verdict["findings"]:
        files.write_json(directory / FILE, {**verdict, "findings": found})


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


def _proposals(finding: diagnosis.Finding, config: Config, count: int) -> list[dict[str, object]]:
    """The settings to try that the config accepts, as `kerastrain check` would."""
    own = config.model_dump(mode="json")
    proposals = []
    for change in finding.changes:
        try:
            changed = configs.validate(configs.override(own, [diagnosis.setting(change.key, change.value)]))
        except InputError:
            continue
        # What the config itself lacks by now, such as a backbone that was moved, is not the fault of the change.
        if config.is_language or not _refused(changed, count) or _refused(config, count):
            proposals.append({"key": change.key, "value": change.value, "why": change.why})
    return proposals


def _refused(config: Config, count: int) -> bool:
    try:
        requirements.require(config)
        plan.phases(config, count)
    except (InputError, OSError):
        return True
    return False


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


def _write_samples(collected: diagnosis.Record, path: Path) -> None:
    arrays = {}
    for name, part in collected.parts.items():
        arrays[f"{name}/size"] = np.array(part.count)
        arrays[f"{name}/targets"] = part.sample_targets
        arrays |= {f"{name}/property/{key}": values for key, values in part.properties.items()}
        if part.features is not None:
            arrays[f"{name}/features"] = part.features
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def _read_samples(path: Path) -> dict[str, diagnosis.Part]:
    """The samples of each part, without outputs; empty for a run of an earlier version."""
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
