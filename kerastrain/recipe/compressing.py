"""Compresses the model of a finished run.

Takes a `Run` and the settings; returns a record and writes files into the run's folder. Must not change the run's model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kerastrain import compression_search, data, recipe, report
from kerastrain.config import CompressConfig
from kerastrain.run_directory import Run, refuse_existing
from kerastrain.system import files


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
    with its model like every export; the `.keras` file of every trained model; and `compression.json`. With a budget every
    candidate of `compression_search.CANDIDATES` is tried, the files that no other file beats are kept, and `pareto.png`
    shows all of them. The validation part selects the winner; the test part is only measured.

    Args:
        run: Run.
        settings: CompressConfig.

    Returns:
        Compression.

    Raises:
        FileExistsError: the run has been compressed before.
        InputError: without a budget, the model does not support a requested step.
    """
    target, budget = refuse_existing(run.directory / "compressed"), settings.budget
    split = recipe.load_data(run.config, tuple(run.model.input_shape[1:3]) or None)
    candidates = compression_search.CANDIDATES if budget else compression_search.requested_candidates(settings)
    with files.atomic(target) as folder:
        folder.mkdir()
        results, skipped = compression_search.sweep(run, split, candidates, settings, folder)
        choice = compression_search.choose(results, budget) if budget else None
        calibration = []
        if any(item.quantize == "int8" and "quantize_aware" not in item.steps for item in candidates):
            options = {"samples": run.config.export.samples}
            calibration = compression_search.calibration_table(run.model, split, settings.calibration_counts, **options)
        if choice is not None:
            compression_search.draw(results, choice, budget, folder / "pareto.png")
            _remove_beaten(folder, results, choice)
        compression = Compression(tuple(results), skipped, choice, calibration)
        record = {"settings": settings.model_dump(mode="json"), **asdict(compression)}
        files.write_json(folder / "compression.json", record)
    report.write(run.directory)
    return compression


def _remove_beaten(
    folder: Path, results: Sequence[compression_search.CandidateResult], choice: compression_search.Choice
) -> None:
    """Deletes the files that are not on the Pareto front, and the models that no file on it was exported from."""
    best = {result.name for result in results if result.name in choice.pareto}
    best_models = {compression_search.Candidate(result.steps, "").stem for result in results if result.name in best}
    for path in folder.iterdir():
        names = best_models if path.suffix == ".keras" else best
        if path.suffix != ".png" and path.name.split(".")[0] not in names:
            path.unlink()
