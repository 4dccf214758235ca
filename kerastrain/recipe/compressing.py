"""Compresses the model of a finished run, as a job that can be interrupted and resumed.

Takes a `Run` and the settings; returns a record and writes files into the run's folder. Must not change the run's model.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from kerastrain import compression_search, data, models, recipe, report
from kerastrain.compression_search import calibration as calibrations
from kerastrain.compression_search import unfinished
from kerastrain.config import CompressConfig, no_validation
from kerastrain.errors import InputError
from kerastrain.recipe import tracked_runs
from kerastrain.run_directory import Run, refuse_existing
from kerastrain.system import files

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Compression:
    """The result of compressing a run.

    Args:
        results: tuple of compression_search.CandidateResult, one for each file, the run's float model first.
        skipped: dict from the name of a skipped candidate to the reason.
        choice: compression_search.Choice within the budget, or None if there is no budget.
        calibration: list of dict, int8 files by number of calibration examples; see
            `compression_search.calibration_table`.
    """

    results: tuple[compression_search.CandidateResult, ...]
    skipped: dict[str, str]
    choice: compression_search.Choice | None
    calibration: list[dict]


@data.surface_read_errors()
def compress(run: Run, settings: CompressConfig) -> Compression:
    """Compresses a run's model to TFLite files in `compressed/`, with the requested steps or within a budget.

    The run's own model is not changed. `compressed/` is written completely or not at all: the TFLite files, each compared
    with its model like every export; the `.keras` file of every trained model; and `compression.json`. With a budget the
    candidates of `compression_search.CANDIDATES` that can win are tried, or all of them if it is exhaustive; the files that no
    other file beats are kept, and `pareto.png` shows all that were made. The validation part selects the winner; the test part
    is only measured.

    Until then the work is in `compressed.unfinished/`. After a signal, a kill or a full disk, another call with the same
    settings continues there: finished candidates are not made again, the interrupted training resumes from its newest
    checkpoint, and the files end as without the interruption.

    Args:
        run: Run.
        settings: CompressConfig.

    Returns:
        Compression.

    Raises:
        FileExistsError: the run has been compressed before.
        InputError: the run reads numbers beside its images or texts, or trained on its validation part; without a budget, the
            model does not support a requested step or a file differs too much from it; or the unfinished compression of this run
            has other settings.
        Stopped: a signal arrived inside `signals.graceful`.
    """
    if names := run.config.data.columns.numbers:
        raise InputError(
            f"compress needs a model of images or texts alone. Received: {str(run.directory)!r}, whose model reads numbers "
            f"beside them ({', '.join(names)}). Export it with `kerastrain export` to tflite_float16 or tflite_dynamic."
        )
    no_validation.require_validation(run.config, "compress, which chooses among files,")
    target, budget = run.directory / "compressed", settings.budget
    if target.is_dir():  # of a process that was killed right before its end
        shutil.rmtree(run.directory / unfinished.NAME, ignore_errors=True)
    refuse_existing(target)
    candidates = compression_search.CANDIDATES if budget else compression_search.requested_candidates(settings)
    logger.info("reading the data of the run")
    split = recipe.load_data(run.config, run.image_size, labels=models.labels(run.model))
    if budget is None:
        compression_search.require(run, split, candidates, settings, run.directory / unfinished.NAME)
    inputs = {"model": files.sha256(run.directory / "model.keras"), "data": data.fingerprint(split)}
    options = {"keeps_on_error": budget is not None}
    with unfinished.opened(run.directory, settings.model_dump(mode="json"), inputs, **options) as work:
        results, skipped = compression_search.sweep(run, split, candidates, settings, work.folder)
        choice = None
        if budget is not None:
            guess = compression_search.guess_score(split.validation)
            choice = compression_search.choose(results, budget, guess=guess)
        calibration = work.record("calibration")
        if calibration is None:
            calibration = _calibration(run, split, settings, candidates, known=work.record(calibrations.NAME))
            work.save("calibration", calibration)
        compression = Compression(tuple(results), skipped, choice, calibration)
        extra = {"compression.json": work.folder / "compression.json"}
        record = {"settings": settings.model_dump(mode="json"), **asdict(compression)}
        files.write_json(extra["compression.json"], record)
        if choice is not None:
            extra["pareto.png"] = compression_search.draw(results, choice, budget, work.folder / "pareto.png")
        kept = [result for result in results if choice is None or result.name in choice.pareto]
        work.publish(target, _names(kept), extra)
    report.write(run.directory)
    numbers = {
        f"compressed/{result.name}/{name}": float(value)
        for result in results
        for name, value in _numbers(result).items()
    }
    pages = [run.directory / "report.html", *(target / name for name in extra)]
    tracked_runs.add(run.config, run.directory, numbers, {"": pages[:1], "compressed": pages[1:]})
    return compression


def _calibration(
    run: Run, split: data.Split, settings: CompressConfig, candidates: Sequence, *, known: dict | None
) -> list[dict]:
    if not any(item.quantize == "int8" and "quantize_aware" not in item.steps for item in candidates):
        return []
    counts = settings.calibration_counts
    if counts:
        logger.info("int8 with %s calibration examples, for comparison", ", ".join(map(str, counts)))
    samples = run.config.export.samples
    return compression_search.calibration_table(run.model, split, counts, samples=samples, known=known)


def _numbers(result: compression_search.CandidateResult) -> dict[str, float]:
    """What a tracker gets of a file."""
    scores = {"validation": result.validation, "test": result.test}
    return {"bytes": result.size_bytes} | {part: score.value for part, score in scores.items() if score is not None}


def _names(results: Sequence[compression_search.CandidateResult]) -> set[str]:
    """The names of the files of results, and of the models that they were exported from."""
    models = {compression_search.Candidate(result.steps, "").stem for result in results if result.steps}
    return models | {result.name for result in results}
