"""Diagnoses a run: collects what its training left behind, and writes `verdict.json`.

Takes the features of a model, a config, data and a folder with history and predictions; returns the verdict as a dict. The
rules are in `kerastrain.diagnosis`. Must not train, and must not change the model.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain import config as configs
from kerastrain import data, diagnosis, evaluation
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.recipe import plan, requirements
from kerastrain.recipe.backbone_features import BackboneFeatures
from kerastrain.recipe.run_records import (
    SAMPLES_FILE,
    history,
    record,
    record_other,
    write_samples,
)
from kerastrain.run_directory import Run
from kerastrain.system import files, stopwatch

logger = logging.getLogger("kerastrain")

FILE = "verdict.json"
"""The file of a run with its verdict."""


@stopwatch.timed("diagnosis")
def diagnose(features: BackboneFeatures, config: Config, split: data.Split, directory: Path) -> dict[str, object]:
    """Diagnoses a trained run, and writes `verdict.json` and the samples that data which are evaluated later are compared with.

    Args:
        features: BackboneFeatures of the trained model.
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
    collected = record(features, config, split, directory)
    found = diagnosis.verdict.findings(collected)
    verdict = {
        "sentence": diagnosis.verdict.summary(found, collected),
        "findings": [as_dict(finding, config, len(split.train)) for finding in found],
        "sound": diagnosis.verdict.sound(found, collected),
        "data_sha256": data.fingerprint(split),
    }
    write_samples(collected, directory / SAMPLES_FILE)
    files.write_json(directory / FILE, verdict)
    return verdict


@stopwatch.timed("diagnosis")
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
    environment = files.read_json(directory / "environment.json")
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
    run: Run,
    features: BackboneFeatures,
    name: str,
    examples: data.Examples,
    predicted: evaluation.Predictions,
    shared: int,
) -> list[dict[str, object]]:
    """Diagnoses other data by what a run predicted for them: leakage, a shift from its own data, and too few examples.

    Args:
        run: Run.
        features: BackboneFeatures of the model of the run.
        name: str, the name of the data.
        examples: data.Examples.
        predicted: Predictions for these examples.
        shared: int >= 0, how many of the examples the run was trained on.

    Returns:
        list of dict, findings as in `diagnose`. A run of an earlier version has no samples of its own data, so that no shift is
        found.
    """
    collected = record_other(run, features, name, examples, predicted, shared)
    found = diagnosis.verdict.findings_of_other(collected, name)
    count = collected.parts["train"].count if "train" in collected.parts else 1
    return [as_dict(finding, run.config, count) for finding in found]


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
