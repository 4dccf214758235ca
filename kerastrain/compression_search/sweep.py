"""Trains, exports and measures all candidates, and times all files together at the end.

Takes a run, its data and candidates; writes files to a folder and returns results. With a budget, candidates that the
model does not support are skipped, with the reason.
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
    run: Run, split: data.Split, candidates: Sequence[Candidate], settings: CompressConfig, folder: Path
) -> tuple[list[CandidateResult], dict[str, str]]:
    """Trains, exports and measures candidates.

    Args:
        run: Run, whose model is not changed.
        split: data.Split of the run.
        candidates: sequence of Candidate; the first is the float file that the others are compared with.
        settings: CompressConfig. With a budget, candidates that cannot be made are skipped; without, they raise.
        folder: Path of a folder, for a file NAME.tflite of each candidate, and a file STEM.keras of each trained model.

    Returns:
        (list of CandidateResult, dict from the name of a skipped candidate to the reason).

    Raises:
        InputError: a candidate cannot be made, and there is no budget.
    """
    trainer, results, skipped = Trainer(run, split, settings), [], {}

    def attempt(candidate: Candidate, action: Callable) -> CandidateResult | None:
        try:
            return action(trainer, candidate)
        except InputError as error:
            if settings.budget is None or candidate is candidates[0]:
                raise
            skipped[candidate.name] = str(error)
            logger.info("skipped %s: %s", candidate.name, error)

    for candidate in candidates:  # Check all candidates before the first one trains.
        attempt(candidate, Trainer.require)
    for candidate in candidates:
        if candidate.name not in skipped and (result := attempt(candidate, partial(_result, folder=folder))):
            results.append(result)
    if settings.budget is not None:
        results += _with_float_layers(trainer, results, settings.budget, folder, skipped)
    return _timed(results, folder, settings.threads), skipped


def _result(trainer: Trainer, candidate: Candidate, *, folder: Path) -> CandidateResult:
    model, config, split = trainer.model(candidate.steps), trainer.run.config, trainer.split
    path = folder / f"{candidate.name}.tflite"
    export.tflite(
        model,
        path,
        samples=split.validation,
        sample_count=config.export.samples,
        quantize=None if candidate.quantize == "float32" else candidate.quantize,
        float_layers=candidate.float_layers,
        representative=split.train,
        representative_count=config.export.representative_samples,
        tolerance=_tolerance(candidate.quantize, has_budget=trainer.settings.budget is not None),
    )
    result = candidate_result(candidate, path, model, split)
    logger.info(
        "%s: validation %s %.4f, %.1f kB, gzip %.1f kB",
        *(candidate.name, result.measure, result.validation.value, result.size_bytes / 1000, result.gzip_bytes / 1000),
    )
    model_path = folder / f"{candidate.stem}.keras"
    if candidate.steps and not model_path.exists():
        model.save(model_path)
    return result


def _tolerance(quantize: str, *, has_budget: bool) -> export.Tolerance:
    """The tolerance of the export; with a budget, the whole validation part decides later on the loss of accuracy."""
    tolerance = export.TOLERANCES[quantize]
    return dataclasses.replace(tolerance, agreement=0.0, score_loss_fraction=1.0) if has_budget else tolerance


def _with_float_layers(
    trainer: Trainer, results: Sequence[CandidateResult], budget: BudgetConfig, folder: Path, skipped: dict[str, str]
) -> list[CandidateResult]:
    """If int8 exceeds the budget: files with more and more sensitive layers in float, until one is within the budget."""
    int8 = next((result for result in results if result.name == Candidate((), "int8").name), None)
    if budget.accuracy_points is None or int8 is None or is_within(int8, budget, results[0]):
        return []
    added = []
    for count in _FLOAT_LAYERS:
        candidate = Candidate((), "int8", count)
        try:
            added.append(_result(trainer, candidate, folder=folder))
        except InputError as error:
            skipped[candidate.name] = str(error)
            break
        if is_within(added[-1], budget, results[0]):
            break
    return added


def _timed(results: Sequence[CandidateResult], folder: Path, threads: int) -> list[CandidateResult]:
    costs = export.costs([folder / result.file for result in results], threads=threads)
    return [
        dataclasses.replace(result, time_ratio=cost.time_ratio, memory_ratio=cost.memory_ratio)
        for result, cost in zip(results, costs, strict=True)
    ]
