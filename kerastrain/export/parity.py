"""The check of every export: a file's outputs compared with its model's on the same real inputs.

Takes two arrays of outputs, and targets if they are known; returns a `Parity` record or raises `ParityError`. Must not
write exports or know how a file was run.
"""

import dataclasses
import os

import numpy as np

from kerastrain import evaluation
from kerastrain.errors import InputError
from kerastrain.system import files
from kerastrain.tasks import Task


class ParityError(InputError):
    """The outputs of a written file differ from its model's; the file was removed.

    Args:
        message: str, the file, the rule, the measurement and a remedy.
        parity: Parity, the measurement that exceeds the tolerance.
    """

    def __init__(self, message: str, parity: "Parity"):
        self.parity = parity
        super().__init__(message)


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How much the outputs of a file may differ from its model's.

    Args:
        relative_difference: float > 0, the largest allowed `Parity.relative_difference`.
        agreement: float in [0, 1], the smallest allowed `Parity.agreement`. Below 1, one disagreement is always allowed;
            otherwise a check on few samples could never pass.
        score_loss_fraction: float in [0, 1], the largest allowed `Parity.model_score - Parity.score`; 0.01 is one
            percentage point of accuracy. One more wrong sample is always allowed.
    """

    relative_difference: float
    agreement: float
    score_loss_fraction: float = 1.0

    def __post_init__(self):
        if not self.relative_difference > 0:
            raise InputError(
                f"`relative_difference` must be positive. Received: {self.relative_difference}. "
                "Pass a share of the largest output, such as 1e-4."
            )
        for name, example in (("agreement", "0.95"), ("score_loss_fraction", "0.01")):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"`{name}` must be in [0, 1]. Received: {getattr(self, name)}. Pass a share of the samples, such as "
                    f"{example}."
                )


@dataclasses.dataclass(frozen=True)
class Parity:
    """How a file's outputs compare with its model's.

    Args:
        file: str, the file's name.
        kind: str, a key of `TOLERANCES`.
        sample_count: int >= 1, inputs compared.
        agreement: float in [0, 1], share of inputs with the same top-1 class; for "multi_label" share of the binary
            decisions that are the same; for "regression" share of the outputs within a tenth of the standard deviation of
            the model's outputs.
        largest_difference: float >= 0, the largest |file - model| over all outputs, in the outputs' unit.
        relative_difference: float >= 0, `largest_difference` divided by the model's largest |output|.
        size_bytes: int, size of the file, or of all files in the folder.
        gzip_bytes: int, that size after gzip; None where it is not measured.
        tolerance: Tolerance that the file was checked against.
        measure: str, the name of the scores: "accuracy" (for many labels, of the binary decisions) or "R²"; None if the
            targets are unknown.
        score: float, that measure of the file's outputs, or None.
        model_score: float, that measure of the model's outputs, or None.
        encoded_count: int >= 0, how many of the inputs were encoded image files.
    """

    file: str
    kind: str
    sample_count: int
    agreement: float
    largest_difference: float
    relative_difference: float
    size_bytes: int
    gzip_bytes: int | None
    tolerance: Tolerance
    measure: str | None = None
    score: float | None = None
    model_score: float | None = None
    encoded_count: int = 0

    def __str__(self) -> str:
        encoded = f", {self.encoded_count} of them encoded images" if self.encoded_count else ""
        scores = f", {self.measure} {self.score:.4f} (the model {self.model_score:.4f})" if self.measure else ""
        return (
            f"{self.file}: {self.size_bytes / 1000:,.1f} kB, agreement {self.agreement:.1%} "
            f"on {self.sample_count} samples{encoded}, largest difference {self.largest_difference:.2g} "
            f"({self.relative_difference:.2g} of the largest output){scores}"
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the record to `path` as JSON, atomically.

        Args:
            path: path of the file.
        """
        files.write_json(path, dataclasses.asdict(self))


_SAME_NUMBER = 0.1  # As a share of the standard deviation of the model's outputs over the samples.

# Measured on a MobileNetV1 0.25 at 224 with a head of ten classes (accuracy 0.88: many samples lie near a boundary) and
# on a small network for digits. Relative difference and agreement, the worse of the two networks: float32 1e-5 and 1.0,
# float16 0.026 and 1.0, dynamic 0.33 and 0.905, int8 0.41 and 0.91, int16x8 0.31 and 0.925. With integer weights, a
# prediction that changes can be a difference near 1 in probabilities: agreement is the criterion for these files, and the
# bound on their difference only detects broken ones. If targets are known, the score measures the loss of accuracy.
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
    gzip_bytes: int | None,
    targets: np.ndarray | None = None,
    tolerance: Tolerance | None = None,
    threshold: float = 0.0,
    task: Task = "single_label",
    encoded_count: int = 0,
) -> Parity:
    """Compares a file's outputs with its model's, and raises if they differ by more than the tolerance.

        largest_difference  = max |outputs - reference|
        relative_difference = largest_difference / max |reference|
        agreement           = mean(top1(outputs) == top1(reference)), for other tasks see `Parity`

    Args:
        reference: float32 (n, ..., classes), the model's outputs; with one class, top-1 is `output > threshold`.
        outputs: float32 of the same shape, the file's outputs.
        file: str, the file's name, for the record and the error.
        kind: str, a key of `TOLERANCES`.
        size_bytes: int, size of the file.
        gzip_bytes: int, size of the file after gzip, or None.
        targets: the targets, as `evaluation.score` takes them, or None if they are unknown.
        tolerance: Tolerance, or None for `TOLERANCES[kind]`.
        threshold: float, the decision boundary of a single output: 0 for a logit, 0.5 for a probability.
        task: "single_label", "multi_label" or "regression".
        encoded_count: int >= 0, how many of the inputs were encoded image files.

    Returns:
        Parity.

    Raises:
        InputError: `reference` is not finite.
        ParityError: `outputs` exceed the tolerance, have another shape, or are not finite.

    Example:
        >>> import numpy as np
        >>> print(check(np.eye(4), np.eye(4), file="a.tflite", kind="float32", size_bytes=2000, gzip_bytes=900))
        a.tflite: 2.0 kB, agreement 100.0% on 4 samples, largest difference 0 (0 of the largest output)
    """
    if not np.all(np.isfinite(reference)):
        raise InputError("the model's outputs on `samples` contain NaN or infinity. Train it again before exporting.")
    tolerance = tolerance or TOLERANCES[kind]
    same_shape = np.shape(outputs) == np.shape(reference)
    difference = np.abs(np.asarray(outputs, np.float64) - reference).max() if same_shape else np.inf
    agreement = _agreement(np.asarray(outputs), np.asarray(reference), threshold, task) if same_shape else 0.0
    scores = {}
    if targets is not None and same_shape and (task != "regression" or len(reference) > 1):  # R² needs two samples.
        scored = {"score": outputs, "model_score": reference}
        scores = {name: evaluation.score(values, targets, task, threshold=threshold) for name, values in scored.items()}
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
        encoded_count=encoded_count,
        **scores,
    )
    _require_within_tolerance(parity, np.shape(outputs), np.shape(reference))
    return parity


def _require_within_tolerance(parity: Parity, shape: tuple, expected: tuple) -> None:
    tolerance, disagreements = parity.tolerance, round((1 - parity.agreement) * parity.sample_count)
    allowed = max((1 - tolerance.agreement) * parity.sample_count, tolerance.agreement < 1)
    faults = []
    if shape != expected:
        faults.append(f"its outputs have shape {shape}, the model's {expected}")
    elif not parity.relative_difference <= tolerance.relative_difference:
        faults.append(
            f"largest difference {parity.largest_difference:.3g}, {parity.relative_difference:.3g} of the largest output "
            f"(at most {tolerance.relative_difference:g})"
        )
    if disagreements > allowed:
        faults.append(f"agreement {parity.agreement:.1%} (at least {tolerance.agreement:.1%})")
    lost = 0.0 if parity.measure is None else parity.model_score - parity.score
    if not lost <= max(tolerance.score_loss_fraction, 1 / parity.sample_count) + 1e-9:
        faults.append(
            f"{parity.measure} {parity.score:.4f}, the model's {parity.model_score:.4f} (at most "
            f"{tolerance.score_loss_fraction:g} less)"
        )
    if faults:
        raise ParityError(
            f"`{parity.file}` ({parity.kind}) does not match its model on {parity.sample_count} samples: "
            f"{'; '.join(faults)}. It was removed. Choose a milder quantization, or a wider tolerance if this loss is "
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
