"""Trains, exports and measures all candidates, and times all files together at the end.

Takes a run, its data and candidates; writes files to a folder and returns results. With a budget, a candidate that the
model does not support, that fails, or that does not fit into the budget of time is skipped, with the reason.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kerastrain import data, export
from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.measurement import CandidateResult, candidate_result
from kerastrain.compression_search.progress import OutOfTime, Pace
from kerastrain.compression_search.selection import is_within
from kerastrain.compression_search.training import Trainer
from kerastrain.compression_search.unfinished import Unfinished
from kerastrain.config import CompressConfig
from kerastrain.durations import spoken
from kerastrain.errors import InputError
from kerastrain.run_directory import Run
from kerastrain.system import signals

logger = logging.getLogger("kerastrain")

_FLOAT_LAYERS = (1, 2, 4, 8, 16)
_TIME_RECORD = "spent"


def require(
    run: Run, split: data.Split, candidates: Sequence[Candidate], settings: CompressConfig, folder: Path
) -> None:
    """Raises if a candidate cannot be made, before anything is trained or written.

    Args:
        run: Run.
        split: data.Split of the run.
        candidates: sequence of Candidate.
        settings: CompressConfig.
        folder: Path of the folder of the compression; it need not exist.

    Raises:
        InputError: the run's model does not support a step.
    """
    trainer = Trainer(run, split, settings, Unfinished(folder))
    for candidate in candidates:
        trainer.require(candidate)


def sweep(
    run: Run, split: data.Split, candidates: Sequence[Candidate], settings: CompressConfig, folder: Path
) -> tuple[list[CandidateResult], dict[str, str]]:
    """Trains, exports and measures candidates, except for those that an earlier process has finished in the folder.

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
        WriteError: the disk is full.
        Stopped: a signal arrived. Another call continues in the same folder.
    """
    return _Sweep(run, split, candidates, settings, Unfinished(folder)).run()


class _Sweep:
    """The state of a sweep; see `sweep` for the arguments."""

    def __init__(self, run: Run, split: data.Split, candidates, settings: CompressConfig, unfinished: Unfinished):
        self.candidates, self.settings, self.unfinished = list(candidates), settings, unfinished
        spent = (unfinished.record(_TIME_RECORD) or {"seconds": 0.0})["seconds"]
        self.pace = Pace(settings.budget and settings.budget.minutes, spent)
        self.trainer = Trainer(run, split, settings, unfinished, self.pace)
        self.results: list[CandidateResult] = []
        self.skipped: dict[str, str] = {}

    def run(self) -> tuple[list[CandidateResult], dict[str, str]]:
        for candidate in self.candidates:  # Check all candidates before the first one trains.
            self._attempt(candidate, self.trainer.require, log=False)
        for names, reason in grouped(self.skipped):
            logger.info("skipped %s: %s", ", ".join(names), reason)
        waiting = [candidate for candidate in self.candidates if candidate.name not in self.skipped]
        for number, candidate in enumerate(waiting):
            self._attempt(candidate, self._measure, f"candidate {number + 1} of {len(waiting)}", waiting[number:])
        if self.settings.budget is not None:
            self._add_float_layers()
        logger.info("timing %d files in turns", len(self.results))
        costs = export.costs(
            [self.unfinished.folder / result.file for result in self.results], threads=self.settings.threads
        )
        timed = [
            dataclasses.replace(result, time_ratio=cost.time_ratio, memory_ratio=cost.memory_ratio)
            for result, cost in zip(self.results, costs, strict=True)
        ]
        return timed, self.skipped

    def _attempt(self, candidate: Candidate, action: Callable, *arguments: object, log: bool = True) -> bool:
        """Calls an action for a candidate; with a budget, an error costs this candidate only."""
        try:
            action(candidate, *arguments)
            return True
        except OSError:
            raise  # A full disk fails every candidate.
        except Exception as error:  # Hours of other candidates must not be lost to one that fails, for whatever reason.
            signals.raise_if_pending()
            if self.settings.budget is None or candidate is self.candidates[0]:
                raise
            self.skipped[candidate.name] = reason = _reason(error)
            if log:
                logger.info("skipped %s: %s", candidate.name, reason)
            logger.debug("the error of %s", candidate.name, exc_info=True)
            return False

    def _measure(self, candidate: Candidate, title: str, rest: Sequence[Candidate]) -> None:
        if record := self.unfinished.record(candidate.name):
            self.results.append(CandidateResult.from_record(record))
            return
        if candidate is not self.candidates[0]:
            trainings = self.trainer.steps_left(candidate.steps).values()
            self.pace.require_time(self.pace.predict(trainings, 1))
        logger.info("%s: %s%s", title, candidate.name, self._outlook(candidate, rest))
        is_trained = not self.trainer.steps_left(candidate.steps)
        model, began = self.trainer.model(candidate.steps), time.monotonic()
        if not is_trained:
            logger.info("%s: exporting and measuring the file", candidate.name)
        self._write(candidate, model)
        self.pace.add_file(time.monotonic() - began)
        self.unfinished.save(_TIME_RECORD, {"seconds": self.pace.spent_seconds})

    def _outlook(self, candidate: Candidate, rest: Sequence[Candidate]) -> str:
        """What is trained for a candidate, and how long all that are left will take."""
        own = self.trainer.steps_left(candidate.steps)
        words = [f"{steps:,} steps of {kind}" for kind, steps in own.values()]
        trainings = {}
        for each in rest:
            trainings |= self.trainer.steps_left(each.steps)
        undone = [each for each in rest if self.unfinished.record(each.name) is None]
        seconds = self.pace.predict(trainings.values(), len(undone))
        if seconds is not None:
            words.append(f"about {spoken(seconds)} left for all")
        return f" ({', '.join(words)})" if words else ""

    def _write(self, candidate: Candidate, model) -> None:
        config, split = self.trainer.run.config, self.trainer.split
        path = self.unfinished.folder / f"{candidate.name}.tflite"
        export.tflite(
            model,
            path,
            samples=split.validation,
            sample_count=config.export.samples,
            quantize=None if candidate.quantize == "float32" else candidate.quantize,
            float_layers=candidate.float_layers,
            representative=split.train,
            representative_count=config.export.representative_samples,
            tolerance=_tolerance(candidate.quantize, has_budget=self.settings.budget is not None),
            replace=True,  # a file without a record, of a process that was killed
        )
        result = candidate_result(candidate, path, model, split)
        sizes = (result.size_bytes / 1000, result.gzip_bytes / 1000)
        logger.info(
            "%s: validation %s %.4f, %.1f kB, gzip %.1f kB",
            *(candidate.name, result.measure, result.validation.value, *sizes),
        )
        self.unfinished.save(candidate.name, dataclasses.asdict(result))
        self.results.append(result)

    def _add_float_layers(self) -> None:
        """If int8 exceeds the budget: files with more and more sensitive layers in float, until one is within it."""
        budget, first = self.settings.budget, self.results[0]
        int8 = next((result for result in self.results if result.name == Candidate((), "int8").name), None)
        if budget.accuracy_points is None or int8 is None or is_within(int8, budget, first):
            return
        for count in _FLOAT_LAYERS:
            candidate = Candidate((), "int8", count)
            if not self._attempt(candidate, self._measure, "int8 exceeds the budget, one more candidate", [candidate]):
                break
            if is_within(self.results[-1], budget, first):
                break


def grouped(reasons: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Groups names by their reason.

    Args:
        reasons: mapping from a name to a reason.

    Returns:
        list of (names, reason), in the order of the first names.

    Example:
        >>> grouped({"a": "too large", "b": "slow", "c": "too large"})
        [(['a', 'c'], 'too large'), (['b'], 'slow')]
    """
    unique = dict.fromkeys(reasons.values())
    return [([name for name, own in reasons.items() if own == reason], reason) for reason in unique]


def _reason(error: Exception) -> str:
    """The reason why a candidate is skipped, in a sentence."""
    if isinstance(error, InputError | OutOfTime):
        return str(error)
    lines = str(error).strip().splitlines() or ["no message"]
    return f"it failed with {type(error).__name__}: {lines[0][:300]}"


def _tolerance(quantize: str, *, has_budget: bool) -> export.Tolerance:
    """The tolerance of the export; with a budget, the whole validation part decides later on the loss of accuracy."""
    tolerance = export.TOLERANCES[quantize]
    return dataclasses.replace(tolerance, agreement=0.0, score_loss_fraction=1.0) if has_budget else tolerance
