"""Turns the outputs of a classifier into decisions: a temperature, and thresholds for probabilities.

Takes outputs of held-out examples beside their targets; returns an `OperatingPoint`, which is applied to the outputs of any
other examples. It is chosen on validation examples: chosen on test examples, their measures would no longer be those of unseen
data. Must not import TensorFlow.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy

from kerastrain import objectives
from kerastrain.errors import InputError, unknown
from kerastrain.evaluation import calibration
from kerastrain.evaluation.predictions import Predictions
from kerastrain.evaluation.thresholds import (
    USUAL,
    Threshold,
    choose_rejection,
    choose_threshold,
    fit_temperature,
    log_loss,
)
from kerastrain.objectives import Objective
from kerastrain.tasks import Task

FILE = "operating_point.json"
"""The file of a run with its operating point."""

_MANY = 100  # examples above a threshold, whose precision is then known well


@dataclass(frozen=True)
class OperatingPoint:
    """How the outputs of a classifier become probabilities and decisions.

        probability = softmax(outputs / temperature), or sigmoid(outputs / temperature) for many labels

    Args:
        temperature: float > 0; 1 changes nothing, and higher values make the probabilities less certain.
        thresholds: mapping from a label to the probability from which it is predicted. Of two classes it holds the positive one,
            and the other is predicted below. Of many labels, those that are missing have 0.5. Empty for more than two classes.
        reject_below: float in [0, 1], the probability of the most probable class below which no class is predicted; None to
            predict a class always.
    """

    temperature: float = 1.0
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reject_below: float | None = None

    @property
    def decides(self) -> bool:
        """Whether it changes which labels are predicted."""
        return bool(self.thresholds) or self.reject_below is not None

    def probabilities(self, outputs: np.ndarray, task: Task) -> np.ndarray:
        """The probabilities of outputs.

        Args:
            outputs: float (n, labels), logits.
            task: "single_label" or "multi_label".

        Returns:
            float64 (n, labels) in [0, 1].
        """
        scaled = np.asarray(outputs, np.float64) / self.temperature
        return scipy.special.expit(scaled) if task == "multi_label" else scipy.special.softmax(scaled, axis=-1)

    def decide(self, probabilities: np.ndarray, labels: Sequence[str], task: Task) -> np.ndarray:
        """Which labels are predicted.

        Args:
            probabilities: float (n, labels) from `probabilities`.
            labels: sequence of str, the name of each column.
            task: "single_label" or "multi_label".

        Returns:
            bool (n, labels). A row of single_label has one True, or none where the prediction is rejected.

        Example:
            >>> OperatingPoint(thresholds={"spam": 0.8}).decide(np.array([[0.3, 0.7]]), ["ham", "spam"], "single_label")
            array([[ True, False]])
        """
        labels = list(labels)
        if task == "multi_label":
            return probabilities >= np.array([self.thresholds.get(label, USUAL) for label in labels])
        chosen = probabilities.argmax(axis=1)
        for label, threshold in self.thresholds.items():
            positive = labels.index(label)
            chosen = np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)
        decided = np.arange(len(labels)) == chosen[:, None]
        if self.reject_below is not None:
            decided &= probabilities.max(axis=1, keepdims=True) >= self.reject_below
        return decided

    def __str__(self) -> str:
        parts = [] if self.temperature == 1 else [f"temperature {self.temperature:.3g}"]
        parts += [f"threshold {threshold:.3g} for {label!r}" for label, threshold in list(self.thresholds.items())[:5]]
        if len(self.thresholds) > 5:
            parts.append(f"thresholds for {len(self.thresholds) - 5:,} more labels")
        if self.reject_below is not None:
            parts.append(f"no class below a probability of {self.reject_below:.3g}")
        return ", ".join(parts) or "temperature 1"


def choose(
    predictions: Predictions,
    objective: Objective | str | None = None,
    *,
    temperature: bool = False,
    positive: str | None = None,
) -> tuple[OperatingPoint, list[str]]:
    """Chooses an operating point on predictions for held-out examples: first the temperature, then the thresholds.

    Args:
        predictions: Predictions for the validation examples.
        objective: str as for `objectives.parse`, or Objective; None for no thresholds.
        temperature: bool, whether to fit a temperature.
        positive: str, of two classes the one that the objective is about; None for the second.

    Returns:
        OperatingPoint, and a list of str, a sentence about each part of it that could not be chosen, which has its usual value.

    Raises:
        InputError: the objective does not fit the task or the number of classes, or `positive` is no label; see `require`.
    """
    objective = objectives.parse(objective) if isinstance(objective, str) else objective
    require(predictions.labels, predictions.task, objective, temperature=temperature, positive=positive)
    notes, point, task = [], OperatingPoint(), predictions.task
    if temperature:
        try:
            point = OperatingPoint(fit_temperature(predictions.outputs, predictions.targets, task))
        except InputError as error:
            notes.append(str(error))
    if objective is None:
        return point, notes
    probabilities = point.probabilities(predictions.outputs, task)
    if objective.name == "accuracy":
        rejection = choose_rejection(predictions.targets, probabilities, objective.at_least)
        if rejection.is_reached:
            notes += _weakness(objective, rejection, "accepted predictions")
            return dataclasses.replace(point, reject_below=rejection.value), notes
        best = f"accuracy {rejection.precision:.4g} of the {rejection.recall:.1%} most certain predictions"
        return point, [*notes, f"{objective} is not reached by any threshold. The best is {best}."]
    if task == "single_label":
        labels, columns = list(predictions.labels), [positive or predictions.labels[1]]
        targets = predictions.targets[:, None] == [labels.index(columns[0])]
        probabilities = probabilities[:, [labels.index(columns[0])]]
    else:
        columns, targets = predictions.labels, predictions.targets > 0
    thresholds = {}
    for place, label in enumerate(columns):
        if targets[:, place].all() or not targets[:, place].any():
            which = "all" if targets[:, place].any() else "none"
            notes.append(
                f"{label!r} keeps the threshold 0.5, because {which} of the {len(predictions):,} examples have it."
            )
            continue
        found = choose_threshold(targets[:, place], probabilities[:, place], objective)
        if found.is_reached:
            thresholds[label] = found.value
            notes += _weakness(objective, found, f"predictions of {label!r}")
        else:
            best = f"precision {found.precision:.4g} at recall {found.recall:.4g} (threshold {found.value:.4g})"
            notes.append(f"{objective} is not reached for {label!r} by any threshold. The best is {best}.")
    return dataclasses.replace(point, thresholds=thresholds), notes


def _weakness(objective: Objective, found: Threshold, noun: str) -> list[str]:
    """A sentence if so few examples are above a threshold that not one mistake among them would be allowed."""
    if objective.name not in ("precision", "accuracy") or found.count >= min(
        _MANY, 1 / (1 - objective.at_least + 1e-9)
    ):
        return []
    return [f"{objective} rests on only {found.count:,} {noun}, so that it may not hold for others."]


def read(path: str | os.PathLike, labels: Sequence[str]) -> OperatingPoint | None:
    """Reads an operating point.

    Args:
        path: path of the file, a JSON object with "temperature", "thresholds" and "reject_below".
        labels: sequence of str, the labels of the model.

    Returns:
        OperatingPoint, or None if there is no such file.

    Raises:
        InputError: the file is damaged, or has a threshold for a label that the model does not have.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        thresholds = {str(label): float(value) for label, value in record["thresholds"].items()}
        reject_below = record.get("reject_below")
        point = OperatingPoint(
            float(record["temperature"]), thresholds, None if reject_below is None else float(reject_below)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"'{path}' is not an operating point ({error!r}). Remove it, or choose one again.") from error
    numbers = [*thresholds.values(), *([] if point.reject_below is None else [point.reject_below])]
    unknown_labels = [label for label in thresholds if label not in labels]
    if unknown_labels or not all(0 <= value <= 1 for value in numbers) or not 0 < point.temperature < math.inf:
        reason = (
            unknown("label", unknown_labels[0], labels)
            if unknown_labels
            else ("thresholds must be in [0, 1], and the temperature above 0.")
        )
        raise InputError(f"'{path}' is not an operating point of this model: {reason}")
    return point


def require(
    labels: Sequence[str], task: Task, objective: Objective | None, *, temperature: bool, positive: str | None
) -> None:
    """Checks that an operating point can be chosen for a task and its labels.

    Args:
        labels: sequence of str.
        task: Task.
        objective: Objective, or None for no thresholds.
        temperature: bool, whether a temperature is to be fitted.
        positive: as for `choose`.

    Raises:
        InputError: it cannot.
    """
    if task == "regression" and (temperature or objective):
        raise InputError("a threshold or temperature is for classes. Received: a regression model. Remove it.")
    if positive is not None:
        if positive not in labels:
            raise InputError(unknown("label", positive, labels))
        if task != "single_label" or len(labels) != 2 or objective is None or objective.name == "accuracy":
            raise InputError(
                "a positive label is for a threshold between two classes. Received: "
                f"{positive!r}, {len(labels):,} labels and the objective {str(objective) if objective else 'null'}. Remove it."
            )
    if objective is None:
        return
    if objective.name == "accuracy" and task == "multi_label":
        raise InputError(
            f"{objective} rejects uncertain predictions of one of several classes. Received: multi_label, where every label has "
            f"a threshold of its own. Use f1, precision>={objective.at_least:g}, recall>=0.9 or equal_error."
        )
    if objective.name != "accuracy" and task == "single_label" and len(labels) != 2:
        raise InputError(
            f"{objective} chooses a threshold between two classes, or for each of many labels. Received: one of {len(labels):,} "
            "classes. Use accuracy>=0.98 to reject uncertain predictions, or leave it out."
        )


def measure(predictions: Predictions, point: OperatingPoint, *, labels: Sequence[str] = ()) -> dict:
    """Measures predictions at an operating point.

    Args:
        predictions: Predictions of a classifier.
        point: OperatingPoint.
        labels: sequence of str, labels of single_label to measure, too, although they have no threshold.

    Returns:
        dict of "count", "loss" (log loss), "calibration_error" (see `calibration.measure`), "accuracy" (of the predictions that
        are not rejected; of many labels, the share of examples all of whose labels are right), "accepted" (the share that is not
        rejected), and "labels" with "precision", "recall", "f1", "false_positive_rate" and "threshold" of each label that has a
        threshold; None where undefined.
    """
    task, wanted, labels = predictions.task, labels, list(predictions.labels)
    probabilities = point.probabilities(predictions.outputs, task)
    decided = point.decide(probabilities, labels, task)
    truth = predictions.targets > 0 if task == "multi_label" else np.arange(len(labels)) == predictions.targets[:, None]
    accepted = np.ones(len(predictions), bool) if task == "multi_label" else decided.any(axis=1)
    right = (decided == truth).all(axis=1)
    if task == "multi_label":
        calibrated = calibration.measure(probabilities.ravel(), truth.ravel())
    else:
        calibrated = calibration.measure(probabilities.max(axis=1), probabilities.argmax(axis=1) == predictions.targets)
    measures = {
        "count": len(predictions),
        "loss": log_loss(predictions.outputs, predictions.targets, task, temperature=point.temperature),
        "calibration_error": calibrated["error"],
        "accuracy": _ratio(right[accepted].sum(), accepted.sum()),
        "accepted": float(accepted.mean()),
        "labels": {},
    }
    shown = labels if task == "multi_label" else [*point.thresholds, *wanted]
    for label in shown:
        place = labels.index(label)
        hits, said, true = (decided & truth)[:, place].sum(), decided[:, place].sum(), truth[:, place].sum()
        measures["labels"][label] = {
            "threshold": point.thresholds.get(label, USUAL),
            "precision": _ratio(hits, said),
            "recall": _ratio(hits, true),
            "f1": _ratio(2 * hits, said + true),
            "false_positive_rate": _ratio(said - hits, len(predictions) - true),
        }
    return measures


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
