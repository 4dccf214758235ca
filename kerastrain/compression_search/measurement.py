"""What a compressed file is worth: its own answers on held-out data, its size, its time.

Takes files and examples; gives records. Must not train.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerastrain import compress, data, export
from kerastrain.compression_search.candidates import Candidate
from kerastrain.evaluation import intervals, scores


@dataclass(frozen=True)
class Score:
    """How right the answers of a file are on one part of the data.

    Args:
        value: float, the measure.
        low: float, the lower end of its 95 % interval: Wilson's for one label, by bootstrap otherwise.
        high: float, the upper end.
        count: int, examples.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class CandidateResult:
    """One file, measured.

    Args:
        name: str, the way, such as "pruned_int8".
        file: str, the TFLite file.
        steps: what was trained, as in `ways.WORDS`.
        measure: str, what the scores are: "accuracy", of many labels the share of right answers yes or no; or "R²".
        validation: Score on the validation part, by which is chosen.
        test: Score on the test part, by which nothing is chosen; None where the run has none.
        zeros_fraction: float in [0, 1], share of exact zeros in the kernels of the file's model.
        size_bytes: int.
        gzip_bytes: int, after gzip, as app stores and browsers transfer it.
        time_ratio: float, median time of one answer over that of the first file, both measured in one run; None before.
        memory_ratio: float, peak memory over that of the first file; None where the system does not say.
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


def candidate_result(way: Candidate, path: Path, model: keras.Model, split: data.Split) -> CandidateResult:
    """Measures the file at `path`, which `model` was written to."""
    content = path.read_bytes()
    return CandidateResult(
        name=way.name,
        file=path.name,
        steps=way.steps,
        measure=scores.MEASURES[split.task],
        validation=score(path, split.validation),
        test=score(path, split.test) if split.test is not None and len(split.test) else None,
        zeros_fraction=compress.sparsity(model).fraction,
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
    )


def score(path: Path, held: data.Examples) -> Score:
    """How right a TFLite file is on examples, by its own answers."""
    inputs = held.read(np.arange(len(held)))
    if inputs.dtype == object:
        inputs = export.tokenize(path, inputs)
    answers, count = export.litert.run(path, inputs), len(held)
    value = scores.score(answers, held.targets, held.task)
    if held.task == "single_label":
        return Score(value, *intervals.wilson(round(value * count), count), count)

    def measure(chosen: np.ndarray) -> float:
        return scores.score(answers[chosen], held.targets[chosen], held.task)

    return Score(value, *intervals.bootstrap(measure, count), count)
