"""The gate of every export: what a file answers against what the model answers, on the same real inputs.

Takes two arrays of outputs, and what is right where that is known; gives a `Parity` record or raises `ParityError`. Must
not write files or know how a file was run.
"""

import dataclasses
import os

import numpy as np

from kerastrain import evaluation
from kerastrain.errors import InputError
from kerastrain.system import files
from kerastrain.tasks import Task


class ParityError(InputError):
    """A written file does not answer as its model does; the file was removed.

    Args:
        message: str, which file, the rule, what was measured, what to do.
        parity: Parity, the measurement that broke the tolerance.
    """

    def __init__(self, message: str, parity: "Parity"):
        self.parity = parity
        super().__init__(message)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a file may stray from its model.

    Args:
        relative_difference: float > 0, the largest allowed `Parity.relative_difference`.
        agreement: float in [0, 1], the smallest allowed `Parity.agreement`. One disagreement is always allowed where
            `agreement` is below 1, or few samples could never pass.
        score_loss_fraction: float in [0, 1], the most that `Parity.score` may lie below `Parity.model_score`; 0.01 is a
            point of accuracy. The loss of one sample is always allowed.
    """

    relative_difference: float
    agreement: float
    score_loss_fraction: float = 1.0

    def __post_init__(self):
        if not self.relative_difference > 0:
            raise InputError(
                f"`relative_difference` must be positive. Received: {self.relative_difference}. "
                "Give a share of the largest output, such as 1e-4."
            )
        for name, example in (("agreement", "0.95"), ("score_loss_fraction", "0.01")):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"`{name}` must lie in [0, 1]. Received: {getattr(self, name)}. Give a share of the samples, such as "
                    f"{example}."
                )


@dataclasses.dataclass(frozen=True)
class Parity:
    """How a file's answers compare with its model's.

    Args:
        file: str, the file's name.
        kind: str, a key of `TOLERANCES`.
        sample_count: int, inputs compared.
        agreement: float in [0, 1], share of inputs where both give the same top-1 answer; for "multi_label" share of the
            answers, yes or no to each label, that are the same; for "regression" share of the numbers that lie within a
            tenth of the deviation that the model's own have.
        largest_difference: float, the largest |file - model| over all outputs, in the outputs' unit.
        relative_difference: float, `largest_difference` as a share of the model's largest |output|.
        size_bytes: int, size of the file, or of all files of the folder.
        gzip_bytes: int, that size after gzip.
        tolerance: Tolerance that was kept.
        measure: str, what the scores are: "accuracy", of many labels the share of right answers yes or no; or "R²" of
            numbers. None where it is not known what is right.
        score: float, that measure of the file's answers, or None.
        model_score: float, that measure of the model's own, or None.
    """

    file: str
    kind: str
    sample_count: int
    agreement: float
    largest_difference: float
    relative_difference: float
    size_bytes: int
    gzip_bytes: int
    tolerance: Tolerance
    measure: str | None = None
    score: float | None = None
    model_score: float | None = None

    def __str__(self) -> str:
        scores = f", {self.measure} {self.score:.4f} (the model {self.model_score:.4f})" if self.measure else ""
        return (
            f"{self.file}: {self.size_bytes / 1000:,.1f} kB, agreement {self.agreement:.1%} "
            f"on {self.sample_count} samples, largest difference {self.largest_difference:.2g} "
            f"({self.relative_difference:.2g} of the largest output){scores}"
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the record to `path` as JSON, whole or not at all."""
        files.write_json(path, dataclasses.asdict(self))


_SAME_NUMBER = 0.1  # Of the deviation that a model's numbers have over the samples.

# Measured on a MobileNetV1 0.25 at 224 with a head of ten classes (accuracy 0.88: many samples lie near a boundary) and
# on a small network for digits. Relative difference and agreement, the worse of the two: float32 1e-5 and 1.0, float16
# 0.026 and 1.0, dynamic 0.33 and 0.905, int8 0.41 and 0.91, int16x8 0.31 and 0.925. Where weights are integers, one
# flipped answer is a difference near 1 in probabilities: these are judged by agreement, and their difference only
# tells a broken file. What is lost is judged by the score, where samples come with what is right.
TOLERANCES = {
    "float32": Tolerance(relative_difference=1e-4, agreement=0.99, score_loss_fraction=0.005),
    "float16": Tolerance(relative_difference=0.05, agreement=0.98, score_loss_fraction=0.01),
    "dynamic": Tolerance(relative_difference=1.0, agreement=0.85, score_loss_fraction=0.05),
    "int16x8": Tolerance(relative_difference=1.0, agreement=0.9, score_loss_fraction=0.05),
    "int8": Tolerance(relative_difference=1.0, agreement=0.85, score_loss_fraction=0.05),
    "int4": Tolerance(relative_difference=1.0, agreement=0.75, score_loss_fraction=0.1),
    "dynamic_int4": Tolerance(relative_difference=1.0, agreement=0.75, score_loss_fraction=0.1),
}


def check(
    reference: np.ndarray,
    outputs: np.ndarray,
    *,
    file: str,
    kind: str,
    size_bytes: int,
    gzip_bytes: int,
    targets: np.ndarray | None = None,
    tolerance: Tolerance | None = None,
    threshold: float = 0.0,
    task: Task = "single_label",
) -> Parity:
    """Compares a file's outputs with its model's, and raises where they are too far apart.

        largest_difference  = max |outputs - reference|
        relative_difference = largest_difference / max |reference|
        agreement           = mean(top1(outputs) == top1(reference)), or as `Parity` says for other tasks

    Args:
        reference: float32 (n, ..., classes), the model's outputs; with one class, top-1 is `output > threshold`.
        outputs: float32 of the same shape, the file's outputs.
        file: str, the file's name for the record and the error.
        kind: str, a key of `TOLERANCES`.
        size_bytes: int, size of the file.
        gzip_bytes: int, size of the file after gzip.
        targets: what is right, as `evaluation.score` takes it, or None where that is not known.
        tolerance: Tolerance, or None for `TOLERANCES[kind]`.
        threshold: float, the decision boundary of a single output: 0 for a logit, 0.5 for a probability.
        task: "single_label", "multi_label" or "regression", what the outputs are.

    Returns:
        Parity, the measurement.

    Raises:
        InputError: `reference` is not finite.
        ParityError: `outputs` are past the tolerance, have another shape, or are not finite.

    Example:
        >>> import numpy as np
        >>> print(check(np.eye(4), np.eye(4), file="a.tflite", kind="float32", size_bytes=2000, gzip_bytes=900))
        a.tflite: 2.0 kB, agreement 100.0% on 4 samples, largest difference 0 (0 of the largest output)
    """
    if not np.all(np.isfinite(reference)):
        raise InputError("the model's own outputs on `samples` hold NaN or infinity. Train it again before exporting.")
    tolerance = tolerance or TOLERANCES[kind]
    same_shape = np.shape(outputs) == np.shape(reference)
    difference = np.abs(np.asarray(outputs, np.float64) - reference).max() if same_shape else np.inf
    agreement = _agreement(np.asarray(outputs), np.asarray(reference), threshold, task) if same_shape else 0.0
    scores = {}
    if targets is not None and same_shape and (task != "regression" or len(reference) > 1):  # One number has no R².
        scored = {"score": outputs, "model_score": reference}
        scores = {name: evaluation.score(one, targets, task, threshold=threshold) for name, one in scored.items()}
        scores["measure"] = evaluation.MEASURES[task]
    parity = Parity(
        file=file,
        kind=kind,
        sample_count=len(reference),
        agreement=float(agreement),
        largest_difference=float(difference),
        relative_difference=float(difference / (np.abs(reference).max() or 1.0)),
        size_bytes=size_bytes,
        gzip_bytes=gzip_bytes,
        tolerance=tolerance,
        **scores,
    )
    _judge(parity, np.shape(outputs), np.shape(reference))
    return parity


def _judge(parity: Parity, shape: tuple, expected: tuple) -> None:
    tolerance, slips = parity.tolerance, round((1 - parity.agreement) * parity.sample_count)
    allowed = max((1 - tolerance.agreement) * parity.sample_count, tolerance.agreement < 1)
    faults = []
    if shape != expected:
        faults.append(f"its outputs have shape {shape}, the model's {expected}")
    elif not parity.relative_difference <= tolerance.relative_difference:
        faults.append(
            f"largest difference {parity.largest_difference:.3g}, {parity.relative_difference:.3g} of the largest output "
            f"(at most {tolerance.relative_difference:g})"
        )
    if slips > allowed:
        faults.append(f"agreement {parity.agreement:.1%} (at least {tolerance.agreement:.1%})")
    lost = 0.0 if parity.measure is None else parity.model_score - parity.score
    if not lost <= max(tolerance.score_loss_fraction, 1 / parity.sample_count) + 1e-9:
        faults.append(
            f"{parity.measure} {parity.score:.4f}, the model's {parity.model_score:.4f} (at most "
            f"{tolerance.score_loss_fraction:g} less)"
        )
    if faults:
        raise ParityError(
            f"`{parity.file}` ({parity.kind}) does not answer as its model on {parity.sample_count} samples: "
            f"{'; '.join(faults)}. It was removed. Choose a gentler quantization, or a wider tolerance if this loss is "
            "acceptable.",
            parity,
        )


def _agreement(outputs: np.ndarray, reference: np.ndarray, threshold: float, task: Task) -> float:
    if task == "regression":
        return np.mean(np.abs(outputs - reference) <= _SAME_NUMBER * reference.std(axis=0))
    if task == "multi_label":
        return np.mean((outputs > threshold) == (reference > threshold))
    return np.mean(_top1(outputs, threshold) == _top1(reference, threshold))


def _top1(outputs: np.ndarray, threshold: float) -> np.ndarray:
    return outputs[..., 0] > threshold if outputs.shape[-1] == 1 else outputs.argmax(-1)
