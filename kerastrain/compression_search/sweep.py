"""The climb: every way in turn, from training to a measured file, and the times of all files in one run at the end.

Takes a run, its data and ways; writes files into a folder, gives rungs. What a model does not allow is left out, with the
reason.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kerastrain import data, export
from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.measurement import CandidateResult, candidate_result
from kerastrain.compression_search.selection import is_within
from kerastrain.compression_search.training import Trainer
from kerastrain.config import BudgetConfig, CompressConfig
from kerastrain.errors import InputError
from kerastrain.run_directory import Run

logger = logging.getLogger("kerastrain")

_FLOAT_LAYERS = (1, 2, 4, 8, 16)


def sweep(
    run: Run, split: data.Split, ways: Sequence[Candidate], settings: CompressConfig, folder: Path
) -> tuple[list[CandidateResult], dict[str, str]]:
    """Does all `ways`, and measures their files.

    Args:
        run: Run, whose model is not changed.
        split: data.Split of the run.
        ways: the first of them the float file that all are held against.
        settings: CompressConfig. With a budget, what cannot be done is left out; without one it is an error.
        folder: Path of a folder, for a file NAME.tflite of each way, and a NAME.keras of what each trained.

    Returns:
        the rungs, and the reason for each way left out, by its name.

    Raises:
        InputError: a way cannot be done, and there is no budget.
    """
    trainer, rungs, left_out = Trainer(run, split, settings), [], {}

    def attempt(way: Candidate, does: Callable) -> CandidateResult | None:
        try:
            return does(trainer, way)
        except InputError as error:
            if settings.budget is None or way is ways[0]:
                raise
            left_out[way.name] = str(error)
            logger.info("%s left out: %s", way.name, error)

    for way in ways:  # before any of them trains
        attempt(way, Trainer.require)
    for way in ways:
        if way.name not in left_out and (made := attempt(way, partial(_rung, folder=folder))):
            rungs.append(made)
    if settings.budget is not None:
        rungs += _with_float_layers(trainer, rungs, settings.budget, folder, left_out)
    return _timed(rungs, folder, settings.threads), left_out


def _rung(trainer: Trainer, way: Candidate, *, folder: Path) -> CandidateResult:
    model, config, split = trainer.model(way.steps), trainer.run.config, trainer.split
    path = folder / f"{way.name}.tflite"
    export.tflite(
        model,
        path,
        samples=split.validation,
        sample_count=config.export.samples,
        quantize=None if way.quantize == "float32" else way.quantize,
        float_layers=way.float_layers,
        representative=split.train,
        representative_count=config.export.representative_samples,
        tolerance=_tolerance(way.quantize, judged_later=trainer.settings.budget is not None),
    )
    found = candidate_result(way, path, model, split)
    logger.info(
        "%s: validation %s %.4f, %.1f kB, gzip %.1f kB",
        *(way.name, found.measure, found.validation.value, found.size_bytes / 1000, found.gzip_bytes / 1000),
    )
    kept = folder / f"{way.stem}.keras"
    if way.steps and not kept.exists():
        model.save(kept)
    return found


def _tolerance(kind: str, *, judged_later: bool) -> export.Tolerance:
    """How far a file may stray; what a budget judges afterwards, on the whole validation part, is not judged here."""
    tolerance = export.TOLERANCES[kind]
    return dataclasses.replace(tolerance, agreement=0.0, score_loss_fraction=1.0) if judged_later else tolerance


def _with_float_layers(
    trainer: Trainer, rungs: Sequence[CandidateResult], budget: BudgetConfig, folder: Path, left_out: dict[str, str]
) -> list[CandidateResult]:
    """Where int8 loses more than the budget: files with ever more of the sensitive layers in float, until one does not."""
    found, before = [], rungs[0]
    whole = next((one for one in rungs if one.name == Candidate((), "int8").name), None)
    if budget.accuracy_points is None or whole is None or is_within(whole, budget, before):
        return found
    for count in _FLOAT_LAYERS:
        way = Candidate((), "int8", count)
        try:
            found.append(_rung(trainer, way, folder=folder))
        except InputError as error:
            left_out[way.name] = str(error)
            break
        if is_within(found[-1], budget, before):
            break
    return found


def _timed(rungs: Sequence[CandidateResult], folder: Path, threads: int) -> list[CandidateResult]:
    measured = export.costs([folder / one.file for one in rungs], threads=threads)
    return [
        dataclasses.replace(one, time_ratio=cost.time_ratio, memory_ratio=cost.memory_ratio)
        for one, cost in zip(rungs, measured, strict=True)
    ]
