"""Compares finished runs on the same examples, from their files.

Takes the folders of runs; returns a `Comparison`, which can be printed, written as JSON or as a page. The models are not opened.
Must not import TensorFlow.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerastrain import config as configs
from kerastrain import report
from kerastrain.config import Config
from kerastrain.errors import InputError, unknown
from kerastrain.evaluation import matching, paired, predictions
from kerastrain.evaluation.predictions import Predictions
from kerastrain.recipe import compared_files
from kerastrain.report import comparison as page

PREFERRED_PARTS = ("test", configs.folds.SUMMARY_PART, "validation")
"""The parts that are compared by default, the first one that all runs have predictions for."""

_LEVEL = 0.05  # of a p-value, after Holm, below which runs or classes count as different
_TESTED = ("accuracy", "exact")  # the measures that `Other.test` is about


@dataclass(frozen=True)
class Other:
    """A run compared with the first one.

    Args:
        run: str, its name.
        measures: tuple of paired.Difference, of all examples.
        classes: tuple of paired.Difference, F1 of each class or label, or the mean absolute error of each number.
        test: paired.McNemar of the right answers; None for "regression".
        p: float, the p-value of `test`, corrected after Holm for the number of runs; None for "regression".
        class_p: tuple of float, for each of `classes` the p-value of McNemar's test of the decisions between it and all others,
            corrected after Holm for the number of classes and runs; empty for "regression".
    """

    run: str
    measures: tuple[paired.Difference, ...]
    classes: tuple[paired.Difference, ...]
    test: paired.McNemar | None
    p: float | None
    class_p: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs on the same examples; the first is what the others are compared with.

    Args:
        part: str, the part or data set.
        task: str, "single_label", "multi_label" or "regression".
        count: int > 0, the number of examples.
        supports: tuple of int, the examples of each class or label; empty for "regression".
        names: tuple of str, the names of the runs.
        others: tuple of Other, for each run after the first.
        facts: dict from a fact, such as "parameters", to a tuple with its value for each run, or None.
        exports: dict from the name of an exported file to a tuple of its record for each run, or None.
        settings: dict from a config key whose values differ to a tuple of them.
        notes: tuple of str, a sentence for each thing that makes the comparison weaker than it looks.
    """

    part: str
    task: str
    count: int
    supports: tuple[int, ...]
    names: tuple[str, ...]
    others: tuple[Other, ...]
    facts: dict[str, tuple]
    exports: dict[str, tuple]
    settings: dict[str, tuple]
    notes: tuple[str, ...]

    def record(self) -> dict:
        """The comparison in plain values.

        Returns:
            dict that can be written as JSON.
        """
        return {
            "part": self.part,
            "task": self.task,
            "examples": self.count,
            "runs": list(self.names),
            "comparisons": [_other_record(other, self.names[0], self.supports) for other in self.others],
            "facts": {name: list(values) for name, values in self.facts.items()},
            "exports": {name: list(values) for name, values in self.exports.items()},
            "settings": {name: list(values) for name, values in self.settings.items()},
            "notes": list(self.notes),
        }


def compare(runs: Sequence[str | Path], *, part: str | None = None, seed: int = 0, timed: bool = False) -> Comparison:
    """Compares runs with the first one, on the same examples.

    Differences come with 95 % intervals from a paired bootstrap, and accuracies with McNemar's exact test, corrected after
    Holm for the number of comparisons.

    Args:
        runs: sequence of at least two paths of finished runs, or of cross-validations, whose out-of-fold predictions are
            compared.
        part: str, the part or other data set to compare on, such as "test"; None for the first of `PREFERRED_PARTS` that all
            runs have predictions for.
        seed: int, of the bootstrap.
        timed: bool, whether to measure the time of their TFLite files, those of one name side by side.

    Returns:
        Comparison.

    Raises:
        InputError: there are fewer than two runs, one is given twice or has no predictions, or the runs have other tasks,
            labels, examples or true answers.
        FileNotFoundError: a path is not a run.

    Example:
        >>> comparison = kt.recipe.compare(["runs/small", "runs/large"])  # doctest: +SKIP
        >>> comparison.others[0].measures[0].difference  # doctest: +SKIP
        0.013
    """
    folders = [report.run_folder(run) for run in runs]
    _check_runs(runs, folders)
    own = [configs.load(folder / "config.yaml") for folder in folders]
    names = _names(folders)
    _refuse_language(names, own)
    part = _part(names, folders, part)
    read = {name: predictions.read(_path(folder, part)) for name, folder in zip(names, folders, strict=True)}
    aligned = matching.aligned(read)
    return Comparison(
        part=part,
        task=aligned[names[0]].task,
        count=len(aligned[names[0]]),
        supports=_supports(aligned[names[0]]),
        names=tuple(names),
        others=tuple(_others(names, list(aligned.values()), seed)),
        facts=compared_files.facts(folders),
        exports=compared_files.exports(folders, timed=timed),
        settings=compared_files.settings(own),
        notes=tuple(compared_files.notes(part, names, folders, aligned[names[0]].digests)),
    )


def _check_runs(runs: Sequence[str | Path], folders: Sequence[Path]) -> None:
    if len(runs) < 2:
        received = f"only {str(runs[0])!r}" if runs else "none"
        raise InputError(f"give at least two runs to compare. Received: {received}.")
    places = [folder.resolve() for folder in folders]
    twice = next((run for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"give each run once. Received: {str(twice)!r} twice.")


def _names(folders: Sequence[Path]) -> list[str]:
    """The names of the folders where they differ, or else their paths."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _refuse_language(names: Sequence[str], own: Sequence[Config]) -> None:
    for name, config in zip(names, own, strict=True):
        if config.is_language:
            raise InputError(
                f"compare is for predictions of classes and numbers. Received: {name!r}, a language model (data.kind="
                f"{config.data.kind}). Compare the perplexities in the reports, each with its interval."
            )


def _path(folder: Path, part: str) -> Path:
    return folder / predictions.FOLDER / f"{part}.npz"


def _part(names: Sequence[str], folders: Sequence[Path], part: str | None) -> str:
    """The part to compare on, for which every run has predictions."""
    known = [sorted(path.stem for path in folder.glob(f"{predictions.FOLDER}/*.npz")) for folder in folders]
    for name, folder, parts in zip(names, folders, known, strict=True):
        if not parts and (folder / "model.keras").is_file():
            raise InputError(
                f"runs are compared by their predictions. Received: {name!r}, which has none, because an earlier version trained "
                f"it. Write them with `kerastrain evaluate {folder}`."
            )
        if not parts:
            raise InputError(
                f"runs are compared by their predictions. Received: {name!r}, which has none yet, because its training has not "
                f"finished. Resume it with `kerastrain train --resume {folder}`."
            )
    shared = set.intersection(*map(set, known))
    if part is None:
        part = next((name for name in PREFERRED_PARTS if name in shared), min(shared, default=None))
    have = "; ".join(f"{name!r} has {', '.join(parts)}" for name, parts in zip(names, known, strict=True))
    if part is None:
        advice = (
            "Evaluate all on the same data, such as `kerastrain evaluate RUN --data both=PATH`, and add --part both."
        )
        if any(configs.folds.SUMMARY_PART in parts for parts in known):
            advice = (
                "Compare a cross-validation with another one, or give the run of one of its folds, such as RUN/fold_0."
            )
        raise InputError(f"runs are compared on a part that all have predictions for. Received: {have}. {advice}")
    if not any(part in parts for parts in known):
        raise InputError(unknown("part", part, set.union(*map(set, known))))
    if part not in shared:
        raise InputError(f"every run must have predictions for the part. Received: {part}, and {have}.")
    return part


def _supports(run: Predictions) -> tuple[int, ...]:
    if run.task == "regression":
        return ()
    if run.task == "single_label":
        return tuple(np.bincount(run.targets, minlength=len(run.labels)).tolist())
    return tuple((run.targets > 0.5).sum(axis=0).tolist())


def _others(names: Sequence[str], runs: Sequence[Predictions], seed: int) -> list[Other]:
    differences = paired.differences(runs, seed=seed)
    right = [paired.right(run) for run in runs]
    tests = [None if right[0] is None else paired.mcnemar(right[0], each) for each in right[1:]]
    p_values = [None] * len(tests) if right[0] is None else paired.holm([test.p for test in tests])
    by_class = [[] if right[0] is None else _class_tests(runs[0], run) for run in runs[1:]]
    class_p = iter(paired.holm([p for values in by_class for p in values]))
    others = []
    for name, rows, test, p, values in zip(names[1:], differences, tests, p_values, by_class, strict=True):
        of_each = tuple(next(class_p) for _ in values)
        of_all = tuple(_tested(row, p if row.name in _TESTED else None) for row in rows if row.label is None)
        classes = [row for row in rows if row.label is not None]
        classes = tuple(map(_tested, classes, of_each or [None] * len(classes)))
        others.append(Other(name, of_all, classes, test, p, of_each))
    return others


def _tested(row: paired.Difference, p: float | None) -> paired.Difference:
    """A difference that counts only if its test finds it too."""
    return row if p is None or p < _LEVEL else dataclasses.replace(row, is_sure=False)


def _class_tests(first: Predictions, second: Predictions) -> list[float]:
    """McNemar's p-value for each class or label, of the decisions between it and all others."""
    rights = [paired.decisions_right(run) for run in (first, second)]
    return [paired.mcnemar(*(right[:, index] for right in rights)).p for index in range(len(first.labels))]


def _other_record(other: Other, first: str, supports: Sequence[int]) -> dict:
    columns = {"examples": supports, "p_holm": other.class_p}
    return {
        "run": other.run,
        "compared_with": first,
        "conclusion": _conclusion(other, first),
        "measures": [_difference_record(row) for row in other.measures],
        "classes": [
            _difference_record(row) | {name: values[index] for name, values in columns.items() if values}
            for index, row in enumerate(other.classes)
        ],
        "mcnemar": None if other.test is None else {**dataclasses.asdict(other.test), "p_holm": other.p},
    }


def _conclusion(other: Other, first: str) -> str:
    """A sentence about the first measure that is defined, accuracy or R²."""
    row = next((row for row in other.measures if not math.isnan(row.difference)), other.measures[0])
    numbers = (page.signed(None if math.isnan(value) else value) for value in (row.difference, row.low, row.high))
    difference = "the difference is {}, with a 95 % interval from {} to {}".format(*numbers)
    name = page.title(row.name)
    if row.verdict == "not told apart":
        return f"{other.run} cannot be told from {first} by {name}: {difference}"
    return f"{other.run} is {row.verdict} than {first} by {name}: {difference}"


def _difference_record(row: paired.Difference) -> dict:
    number = lambda value: None if math.isnan(value) else value
    record = {} if row.label is None else {"label": row.label}
    return record | {
        "measure": row.name,
        "first": number(row.first),
        "second": number(row.second),
        "difference": number(row.difference),
        "interval": [number(row.low), number(row.high)],
        "verdict": row.verdict,
    }
