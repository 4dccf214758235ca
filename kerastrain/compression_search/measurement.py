"""Measures compressed files: their score on held-out data, their size and their time.

Takes files and examples; returns records. Must not train.
"""

import dataclasses
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerastrain import compress, data, export
from kerastrain.compression_search.candidates import Candidate
from kerastrain.evaluation import intervals, scores
from kerastrain.export import benchmark

_BATCH_SIZE = 32
_ROUGH_SECONDS = 0.1


@dataclass(frozen=True)
class Score:
    """The score of a file on one part of the data, with its 95 % confidence interval.

    Args:
        value: float, the measure.
        low: float, the lower end of the interval: Wilson's for one label, by bootstrap otherwise.
        high: float, the upper end of the interval.
        count: int >= 1, examples.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class CandidateResult:
    """The measurements of one file.

    Args:
        name: str, the name of the candidate, such as "pruned_int8".
        file: str, the name of the TFLite file.
        steps: tuple of str, the training steps, keys of `candidates.STEP_NAMES`.
        measure: str, what the scores are: "accuracy"; for several labels, the fraction of correct yes/no answers; "R²".
        validation: Score on the validation part, which selects the winner.
        test: Score on the test part, which is only reported; None if the run has no test part.
        zeros_fraction: float in [0, 1], fraction of exact zeros in the kernels of the file's model.
        size_bytes: int >= 1, the size of the file.
        gzip_bytes: int >= 1, the size after gzip, as app stores and browsers transfer it.
        time_ratio: float > 0, median time of one inference divided by that of the first file, measured in the same run;
            None before the measurement.
        memory_ratio: float > 0, peak memory divided by that of the first file; None if the system does not report it.
    """

    name: str
    file: str
    steps: tuple[str, ...]
    measure: str
    validation: Score
    test: Score | None
    zeros_fraction: float
    size_bytes: int
    gzip_bytes: int
    time_ratio: float | None = None
    memory_ratio: float | None = None

    @classmethod
    def from_record(cls, record: dict) -> "CandidateResult":
        """Returns the result that `dataclasses.asdict` made a record of.

        Args:
            record: dict as from JSON.

        Returns:
            CandidateResult.
        """
        scores_of = {part: record[part] and Score(**record[part]) for part in ("validation", "test")}
        return cls(**{**record, **scores_of, "steps": tuple(record["steps"])})


def candidate_result(
    candidate: Candidate, path: Path, model: keras.Model, split: data.Split, parity: export.Parity
) -> CandidateResult:
    """Measures the score and the size of a file.

    Args:
        candidate: Candidate of the file.
        path: Path of the TFLite file.
        model: keras.Model that the file was written from.
        split: data.Split, whose validation and test parts are scored.
        parity: export.Parity, the check of the file on examples of the validation part.

    Returns:
        CandidateResult, without ratios of time and memory.
    """
    content = path.read_bytes()
    return CandidateResult(
        name=candidate.name,
        file=path.name,
        steps=candidate.steps,
        measure=scores.MEASURES[split.task],
        validation=validation_score(path, split.validation, parity),
        test=score(path, split.test) if split.test is not None and len(split.test) else None,
        zeros_fraction=compress.sparsity(model).fraction,
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
    )


def validation_score(path: Path, examples: data.Examples, parity: export.Parity) -> Score:
    """Scores the outputs of a TFLite file, without running it again if its check ran it on all examples.

    Args:
        path: Path of the TFLite file.
        examples: data.Examples, at least one.
        parity: export.Parity, the check of the file on some of the examples.

    Returns:
        Score, the same as of `score`.
    """
    count = len(examples)
    if examples.task == "single_label" and parity.sample_count == count and parity.score is not None:
        return Score(parity.score, *intervals.wilson(round(parity.score * count), count), count)
    return score(path, examples)


def score(path: Path, examples: data.Examples) -> Score:
    """Scores the outputs of a TFLite file.

    Args:
        path: Path of the TFLite file.
        examples: data.Examples, at least one.

    Returns:
        Score.
    """
    inputs = examples.read(np.arange(len(examples)))
    if inputs.dtype == object:
        inputs = export.tokenize(path, inputs)
    outputs, count = export.litert.run(path, inputs), len(examples)
    value = scores.score(outputs, examples.targets, examples.task)
    if examples.task == "single_label":
        return Score(value, *intervals.wilson(round(value * count), count), count)

    def measure(indices: np.ndarray) -> float:
        return scores.score(outputs[indices], examples.targets[indices], examples.task)

    return Score(value, *intervals.bootstrap(measure, count), count)


def roughly_timed(
    results: Sequence[CandidateResult], known: Mapping[str, float], folder: Path, *, threads: int
) -> list[CandidateResult]:
    """Adds a rough ratio of time to the results that have none, in a fraction of a second for each.

    Args:
        results: sequence of CandidateResult, at least one; the first is the reference.
        known: mapping from the name of a result to its ratio, for the results that are not timed again.
        folder: Path of the folder of the files.
        threads: int > 0, threads of the interpreter.

    Returns:
        list of CandidateResult.
    """
    timed = [results[0], *(result for result in results[1:] if result.name not in known)]
    paths = [folder / result.file for result in timed]
    seconds = benchmark.seconds(paths, threads=threads, budget_seconds=_ROUGH_SECONDS)
    ratios = {result.name: each / seconds[0] for result, each in zip(timed, seconds, strict=True)} | dict(known)
    return [dataclasses.replace(result, time_ratio=ratios[result.name]) for result in results]


def model_score(model: keras.Model, examples: data.Examples) -> float:
    """Scores the outputs of a model.

    Args:
        model: keras.Model.
        examples: data.Examples, at least one.

    Returns:
        float, the measure of the file that a `Score` of the same examples holds.
    """
    outputs = model.predict(data.batches(examples, _BATCH_SIZE), verbose=0)
    return float(scores.score(outputs, examples.targets, examples.task))


def guess_score(examples: data.Examples) -> float:
    """The score of the best constant answer, which a useful file must exceed by far.

    Args:
        examples: data.Examples, at least one.

    Returns:
        float: the fraction of the most frequent class; for several labels, of the more frequent answer; 0 for R².

    Example:
        >>> guess_score(data.Examples(np.array([0, 1, 1, 2]), ("a", "b", "c"), np.zeros((4, 1))))
        0.5
    """
    targets = np.asarray(examples.targets)
    if examples.task == "regression":
        return 0.0
    if examples.task == "multi_label":
        present = np.mean(targets > 0.5, axis=0)
        return float(np.mean(np.maximum(present, 1 - present)))
    classes = targets.argmax(-1) if targets.ndim == 2 and targets.shape[-1] > 1 else targets.reshape(-1)
    return float(np.unique(classes, return_counts=True)[1].max() / len(classes))
