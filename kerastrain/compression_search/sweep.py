"""Trains, exports and measures candidates, and times all files together at the end.

Takes a run, its data and candidates; writes files to a folder and returns results. With a budget, the files that need no
training come first; then those are trained that can still win, the one with the best prospects first. A candidate that cannot
win, that the model does not support, that fails, or that does not fit into the budget of time is skipped, with the reason.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kerastrain import data, export
from kerastrain.compression_search import calibration
from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.halving import Contest, FellBehind
from kerastrain.compression_search.measurement import CandidateResult, candidate_result, guess_score, roughly_timed
from kerastrain.compression_search.progress import OutOfTime, Pace
from kerastrain.compression_search.prospects import Prospects
from kerastrain.compression_search.selection import is_within
from kerastrain.compression_search.training import Trainer
from kerastrain.compression_search.unfinished import Unfinished
from kerastrain.compression_search.writing import Writer
from kerastrain.config import BudgetConfig, CompressConfig
from kerastrain.config.compression import PruneConfig
from kerastrain.durations import spoken
from kerastrain.errors import InputError
from kerastrain.run_directory import Run
from kerastrain.system import signals

logger = logging.getLogger("kerastrain")

_FLOAT_LAYERS = (1, 2, 4, 8, 16)
_TIME_RECORD, _ROUGH_TIMES = "spent", "rough_times"
_UNTRAINED = ("float32", "int8", "float16", "dynamic", "int4", "dynamic_int4", "int16x8")
"""The order of the files without training: the reference, then those that decide whether others can win."""


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
        settings: CompressConfig. With a budget, candidates that cannot be made are skipped, and unless it is exhaustive also
            those that cannot win; without, they raise.
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
        self.writer = Writer(run, split, has_budget=settings.budget is not None)
        self.results: list[CandidateResult] = []
        self.skipped: dict[str, str] = {}
        budget = settings.budget
        self.prospects = None if budget is None or budget.exhaustive else _prospects(self.trainer, budget)

    def run(self) -> tuple[list[CandidateResult], dict[str, str]]:
        for candidate in self.candidates:  # Check all candidates before the first one trains.
            self._attempt(candidate, self.trainer.require, log=False)
        for names, reason in grouped(self.skipped):
            logger.info("skipped %s: %s", ", ".join(names), reason)
        waiting = [candidate for candidate in self.candidates if candidate.name not in self.skipped]
        with self.writer:
            self._measure_all(waiting)
        order = [candidate.name for candidate in self.candidates]
        self.results.sort(key=lambda result: order.index(result.name) if result.name in order else len(order))
        logger.info("timing %d files in turns", len(self.results))
        paths = [self.unfinished.folder / result.file for result in self.results]
        costs = export.costs(paths, threads=self.settings.threads)
        timed = [
            dataclasses.replace(result, time_ratio=cost.time_ratio, memory_ratio=cost.memory_ratio)
            for result, cost in zip(self.results, costs, strict=True)
        ]
        return timed, self.skipped

    def _measure_all(self, waiting: Sequence[Candidate]) -> None:
        """Measures the candidates, or those that can win."""
        if self.prospects is not None:
            self._race(waiting)
            return
        for number, candidate in enumerate(waiting):
            self._attempt(candidate, self._measure, f"candidate {number + 1} of {len(waiting)}", waiting[number:])
        if self.settings.budget is not None:
            self._add_float_layers()

    def _race(self, waiting: Sequence[Candidate]) -> None:
        """Measures the candidates that can win, those without training first."""
        files = [candidate for candidate in waiting if not candidate.steps]
        files.sort(key=lambda candidate: _UNTRAINED.index(candidate.quantize))
        trained, total = [candidate for candidate in waiting if candidate.steps], len(waiting)
        for number, candidate in enumerate(files):
            if candidate.quantize == "int16x8":
                self._time_roughly()
                if self._leave_out([candidate]):
                    total -= 1
                    continue
            rest = [*files[number:], *trained]
            self._attempt(candidate, self._measure, f"candidate {number + 1} of at most {total}", rest)
        self._time_roughly()
        self._add_float_layers()
        self.trainer.contest = self._contest()
        while trained:
            left_out = self._leave_out(trained)
            trained = sorted((each for each in trained if each not in left_out), key=self._rank)
            total -= len(left_out)
            if trained:
                title = f"candidate {total - len(trained) + 1} of at most {total}"
                self._attempt(trained[0], self._measure, title, trained)
                trained = trained[1:]

    def _time_roughly(self) -> None:
        """Times the files so far, because one that is hopelessly slow does not win."""
        known = self.unfinished.record(_ROUGH_TIMES) or {}
        self.results = roughly_timed(self.results, known, self.unfinished.folder, threads=self.settings.threads)
        # The records of files that come later stay, so that a resumed compression decides by the same times.
        self.unfinished.save(_ROUGH_TIMES, known | {result.name: result.time_ratio for result in self.results})

    def _rank(self, candidate: Candidate) -> tuple:
        """The order of the trainings, the same after an interruption: the smallest file first if it wins, then by steps."""
        size = self.prospects.size(candidate, self.results) or 0.0
        steps = sum(self.trainer.section(step).epochs for step in candidate.steps)
        is_small_first = self.settings.budget.kilobytes is None
        return (round(size, -3) if is_small_first else 0, steps, self.candidates.index(candidate))

    def _leave_out(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Skips the candidates that cannot win any more, and returns them."""
        undone = [each for each in candidates if self.unfinished.record(each.name) is None]
        reasons = {each.name: self.prospects.why_not(each, self.results) for each in undone}
        reasons = {name: reason for name, reason in reasons.items() if reason}
        for names, reason in grouped(reasons):
            logger.info("left out %s: %s", ", ".join(names), reason)
        self.skipped |= reasons
        return [each for each in candidates if each.name in reasons]

    def _contest(self) -> Contest:
        """What the trainings are compared by at their rungs."""
        reference = self.results[0].validation.value
        points = self.settings.budget.accuracy_points or 0.0

        def sizes(steps: tuple[str, ...]) -> tuple[float, float]:
            onward = [each for each in self.candidates if each.steps[: len(steps)] == steps]
            parts = ([each for each in onward if each.steps == steps], onward)
            return tuple(
                min((self.prospects.size(each, self.results) or 0.0 for each in part), default=0.0) for part in parts
            )

        required = reference - points / 100
        return Contest(self.unfinished, reference=reference, required=required, guess=self.prospects.guess, sizes=sizes)

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
        self.trainer.require_not_ended(candidate.steps)
        if candidate is not self.candidates[0]:
            trainings = self.trainer.steps_left(candidate.steps).values()
            self.pace.require_time(self.pace.predict(trainings, 1))
        logger.info("%s: %s%s", title, candidate.name, self._outlook(candidate, rest))
        start, is_trained = time.monotonic(), not self.trainer.steps_left(candidate.steps)
        model, began = self.trainer.model(candidate.steps), time.monotonic()
        if not is_trained:
            logger.info("%s: exporting and measuring the file", candidate.name)
        result = self._write(candidate, model)
        sizes = (result.size_bytes / 1000, result.gzip_bytes / 1000)
        logger.info(
            "%s: validation %s %.4f, %.1f kB, gzip %.1f kB, after %s",
            *(candidate.name, result.measure, result.validation.value, *sizes, spoken(time.monotonic() - start)),
        )
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
            most = "" if self.prospects is None else "at most "
            words.append(f"{most}about {spoken(seconds)} left for all")
        return f" ({', '.join(words)})" if words else ""

    def _write(self, candidate: Candidate, model) -> CandidateResult:
        path = self.unfinished.folder / f"{candidate.name}.tflite"
        parity = self.writer.write(candidate, model, path)
        result = candidate_result(candidate, path, model, self.trainer.split, parity)
        if candidate == Candidate((), "int8"):
            count = self.trainer.run.config.export.representative_samples
            self.unfinished.save(calibration.NAME, calibration.row(count, result.validation, parity))
        self.unfinished.save(candidate.name, dataclasses.asdict(result))
        self.results.append(result)
        return result

    def _add_float_layers(self) -> None:
        """If int8 exceeds the budget: files with more and more sensitive layers in float, until one is within it."""
        budget, first = self.settings.budget, self.results[0]
        int8 = next((result for result in self.results if result.name == Candidate((), "int8").name), None)
        if budget.accuracy_points is None or int8 is None or is_within(int8, budget, first):
            return
        for count in _FLOAT_LAYERS:
            candidate = Candidate((), "int8", count)
            if self.prospects is not None and self.prospects.why_not(candidate, self.results):
                break  # Such as int4, which is smaller.
            if not self._attempt(candidate, self._measure, "int8 exceeds the budget, one more candidate", [candidate]):
                break
            if is_within(self.results[-1], budget, first):
                break


def _prospects(trainer: Trainer, budget: BudgetConfig) -> Prospects:
    zeros = trainer.section("prune").fraction or PruneConfig().fraction
    clusters, guess = trainer.section("cluster").clusters, guess_score(trainer.split.validation)
    return Prospects(budget, trainer.parameters, zeros_fraction=zeros, clusters=clusters, guess=guess)


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
    if isinstance(error, InputError | OutOfTime | FellBehind):
        return str(error)
    lines = str(error).strip().splitlines() or ["no message"]
    return f"it failed with {type(error).__name__}: {lines[0][:300]}"
