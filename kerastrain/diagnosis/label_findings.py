"""Which labels are doubted, in words, from predictions of a model that was not fitted to them.

Takes targets and predictions, returns findings. Must not fit a model.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerastrain.diagnosis.data_findings import Finding
from kerastrain.diagnosis.label_errors import LabelErrors, label_errors, multi_label_errors, number_errors

LIKELY, POSSIBLE = 0.9, 0.8
"""Scores from which a suspected label is proposed to be left out, and from which a person is asked to look."""

_GOOD_ENOUGH = 0.85  # Accuracy from which possible errors are worth a look; a weaker model doubts whatever is hard.
_ERRORS_BEYOND_CHANCE = 2.0  # standard errors
_NUMBER_STANDS_OUT, _LEAST_EXPLAINED = 6.0, 0.1  # robust standard deviations; fraction of the variance
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class LabelFindings:
    """Doubted labels.

    Args:
        findings: list of Finding, the most doubted first.
        scores: float64 (n,), the doubt of each label; larger is worse. NaN where there is no prediction.
        proposed: int64 (n,), the more likely class where another one is; else the given one. None if there is none.
        sentence: str, how good the model is that doubts them, and what follows.
        error_fraction: float, the estimated fraction of wrong labels; None if it is not estimated.
        is_trusted: bool, whether the model is good enough that labels which it surely doubts may be left out.
    """

    findings: list[Finding]
    scores: np.ndarray
    proposed: np.ndarray | None
    sentence: str
    error_fraction: float | None = None
    is_trusted: bool = False


def label_findings(
    predicted: np.ndarray, targets: np.ndarray, labels: Sequence[str], task: str, parts: Sequence[str]
) -> LabelFindings:
    """Judges the labels of all examples with a prediction.

    A label is likely wrong if confident learning suspects it and its score is at least 0.9; with 0.8 it is possibly wrong,
    which is only said by a model whose accuracy is at least 0.85. Likely ones in the training part are proposed to be left
    out by such a model. In other parts they are only to be looked at: a model must not choose what it is measured by.

    Args:
        predicted: float (n, len(labels)), probabilities, or numbers for "regression"; rows of NaN without a prediction.
        targets: int64 (n,), or float (n, len(labels)).
        labels: sequence of str.
        task: "single_label", "multi_label" or "regression".
        parts: n of "train", "validation" and "test".

    Returns:
        LabelFindings.
    """
    rows = np.flatnonzero(np.isfinite(predicted).all(axis=1))
    judge = {"single_label": _classes, "multi_label": _labels, "regression": _numbers}[task]
    found = judge(predicted[rows], targets[rows], labels)
    scores = np.full(len(targets), np.nan)
    scores[rows] = found.scores
    proposed = None if found.proposed is None else targets.copy()
    if proposed is not None:
        proposed[rows] = found.proposed
    findings = []
    for finding in found.findings:
        index = int(rows[finding.index])
        is_sure = found.is_trusted and finding.score >= LIKELY and parts[index] == "train"
        action = "exclude" if is_sure else "look"
        findings.append(
            Finding(index, finding.kind, finding.score, finding.reason, proposed=finding.proposed, action=action)
        )
    findings.sort(key=lambda finding: -finding.score)
    return dataclasses.replace(found, findings=findings, scores=scores, proposed=proposed)


def _classes(predicted: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> LabelFindings:
    found = label_errors(targets, predicted)
    accuracy = (predicted.argmax(axis=1) == targets).mean()
    guess = np.bincount(targets).max() / len(targets)
    needed = guess + _ERRORS_BEYOND_CHANCE * np.sqrt(guess * (1 - guess) / len(targets))
    sentence, least = _threshold(
        accuracy, accuracy > needed, f"its accuracy is {accuracy:.3f}, that of a guess {guess:.3f}"
    )
    if least is None:
        return LabelFindings([], found.scores, None, sentence)
    findings = []
    for row in np.flatnonzero(found.suspected & (found.scores >= least)).tolist():
        given, other = int(targets[row]), int(found.proposed[row])
        reason = (
            f"labelled {labels[given]!r}, which similar examples make {predicted[row, given]:.1%} likely, and {labels[other]!r} "
            f"{predicted[row, other]:.1%}"
        )
        findings.append(Finding(row, "label_error", float(found.scores[row]), reason, proposed=other))
    return LabelFindings(findings, found.scores, found.proposed, sentence, found.error_fraction, least == POSSIBLE)


def _labels(predicted: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> LabelFindings:
    found: LabelErrors = multi_label_errors(targets, predicted)
    right = ((predicted >= 0.5) == (targets > 0)).mean()
    guess = np.maximum(targets.mean(axis=0), 1 - targets.mean(axis=0)).mean()
    needed = guess + _ERRORS_BEYOND_CHANCE * np.sqrt(guess * (1 - guess) / targets.size)
    known = f"it is right about {right:.3f} of all labels, a guess about {guess:.3f}"
    sentence, least = _threshold(right, right > needed, known)
    if least is None:
        return LabelFindings([], found.scores, None, sentence)
    findings = []
    for row in np.flatnonzero(found.suspected & (found.scores >= least)).tolist():
        number = int(found.proposed[row])
        has = "has" if targets[row, number] else "lacks"
        reason = f"{has} the label {labels[number]!r}, which similar examples make {predicted[row, number]:.1%} likely"
        findings.append(Finding(row, "label_error", float(found.scores[row]), reason))
    return LabelFindings(findings, found.scores, None, sentence, found.error_fraction, least == POSSIBLE)


def _numbers(predicted: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> LabelFindings:
    targets = np.asarray(targets, np.float64)
    explained = _explained(predicted, targets)
    known = ", ".join(
        f"{label!r} {value:.2f}" for label, value in list(zip(labels, explained, strict=True))[:_MOST_NAMED]
    )
    known = f"it explains of the usual variance (by medians) {known}"
    judged = np.flatnonzero(explained >= _LEAST_EXPLAINED)
    if not len(judged):
        return LabelFindings([], np.zeros(len(targets)), None, f"{known}, too little to doubt a number")
    scores = number_errors(targets[:, judged], predicted[:, judged])
    findings = []
    for row in np.flatnonzero(scores >= _NUMBER_STANDS_OUT).tolist():
        values = ", ".join(
            f"{labels[column]!r} is {targets[row, column]:.4g} where similar examples suggest {predicted[row, column]:.4g}"
            for column in judged[:_MOST_NAMED].tolist()
        )
        findings.append(Finding(row, "unlikely_number", float(scores[row]), values))
    return LabelFindings(findings, scores, None, known)


def _explained(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The share of the variance of each number that is explained, by medians, which a few wrong numbers do not change."""
    residuals = predicted - targets
    spread = np.median(np.abs(targets - np.median(targets, axis=0)), axis=0)
    left = np.median(np.abs(residuals - np.median(residuals, axis=0)), axis=0)
    return 1 - (left / np.where(spread > 0, spread, np.inf)) ** 2 * (spread > 0) - (spread <= 0)


def _threshold(accuracy: float, is_better: bool, known: str) -> tuple[str, float | None]:
    if not is_better:
        return f"{known}, too little to doubt a label", None
    if accuracy < _GOOD_ENOUGH:
        return f"{known}, so that only its surest doubts count, and only for a look", LIKELY
    return known, POSSIBLE
