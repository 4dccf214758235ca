"""Measures trainings on the way, and stops those that fall behind: successive halving, one training after the other.

Takes the model in training and the validation part; keeps its measurements in records, so that a resumed compression decides
as one that was never interrupted. Must not change the model, and must not write anything but the records.
"""

import logging
import math
from collections.abc import Callable

import keras

from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.unfinished import Unfinished

logger = logging.getLogger("kerastrain")

RUNGS = {0.25: 0.1, 0.5: 0.5}
"""The fractions of a training after which it is measured, and the way from guessing to the float file to be covered there."""

# Before it, the statistics of batch norm do not fit, and a measurement says nothing: of momentum 0.9, an eighth of the old ones
# is left after 20 steps, with which a pruned MobileNet was at chance level that won in the end; after 50 steps 0.5 %.
_FIRST_STEP = 50
# A student has no old statistics to lose, and its steps take longest, since they run the teacher too.
_FIRST_STEP_OF_STUDENT = 20
_RECORD = "halving"


class FellBehind(RuntimeError):
    """A training was stopped because its candidates will not win."""


class Contest:
    """The measurements of all trainings of a compression at their rungs.

    A training is stopped at a rung if its score has not covered the fraction of the way from guessing to the float file that
    `RUNGS` says; and, after half of its steps, if its score is below what the budget requires and in the worse half of those
    that reached this rung and lead to a file no larger than the smallest to which this training leads, by further steps too.

    Args:
        unfinished: Unfinished, which keeps the records.
        reference: float, the score of the float file.
        required: float, the score from which on a file is within the budget.
        guess: float, the score of a constant answer.
        sizes: callable from steps to (float, float), at least 0: the predicted sizes of the smallest file of these steps, and of
            the smallest that begins with them.

    Reference: Li et al. 2020, https://arxiv.org/abs/1810.05934, the asynchronous form, which never waits for other trainings.
    """

    def __init__(
        self,
        unfinished: Unfinished,
        *,
        reference: float,
        required: float,
        guess: float,
        sizes: Callable[[tuple[str, ...]], tuple[float, float]],
    ):
        self.unfinished, self.reference, self.required, self.guess = unfinished, reference, required, guess
        self.sizes = sizes

    def require_not_stopped(self, stem: str) -> None:
        """Raises if a training was stopped, here or in an earlier process.

        Args:
            stem: str, as `Candidate.stem`.

        Raises:
            FellBehind: it was stopped.
        """
        if reason := self._records().get(stem, {}).get("stopped"):
            raise FellBehind(reason)

    def rungs(self, stem: str, steps: int) -> dict[int, float]:
        """The steps after which a training has to be measured.

        Args:
            stem: str.
            steps: int >= 1, all steps of the training.

        Returns:
            dict from a step to a key of `RUNGS`.
        """
        known = self._records().get(stem, {}).get("scores", {})
        rungs = {math.ceil(rung * steps): rung for rung in RUNGS if f"{rung:g}" not in known}
        first = _FIRST_STEP_OF_STUDENT if stem == Candidate(("distill",), "").stem else _FIRST_STEP
        return {step: rung for step, rung in rungs.items() if first <= step < steps}

    def add(self, steps: tuple[str, ...], rung: float, score: float, *, done: str) -> None:
        """Records a measurement, and decides whether the training goes on.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`, of which the last one is trained.
            rung: float, a key of `RUNGS`.
            score: float, on the validation part.
            done: str, such as "25 of 100 steps".

        Raises:
            FellBehind: the training is stopped.
        """
        records, stem, (size, smallest) = self._records(), Candidate(steps, "").stem, self.sizes(steps)
        rivals = [
            record["scores"][f"{rung:g}"]
            for name, record in records.items()
            if name != stem and f"{rung:g}" in record["scores"] and record["size"] <= smallest
        ]
        own = records.setdefault(stem, {"scores": {}, "size": size})
        own["scores"][f"{rung:g}"] = score
        if reason := self._why_stopped(rung, score, rivals):
            own["stopped"] = f"stopped after {done}: {reason}"
        self.unfinished.save(_RECORD, records)
        self.require_not_stopped(stem)

    def _why_stopped(self, rung: float, score: float, rivals: list[float]) -> str:
        line = "the budget" if self.required < self.reference else "the float file"
        below = f"its score of {score:.3f} is {100 * (self.required - score):.1f} points below {line}"
        if score < self.guess + RUNGS[rung] * (self.reference - self.guess):
            return f"{below} and far from it"
        better = sum(rival > score for rival in rivals)
        if rung >= 0.5 and score < self.required and better and better >= math.ceil((len(rivals) + 1) / 2):
            return f"{below}, and {better} of {len(rivals)} other trainings were better there"
        return ""

    def _records(self) -> dict:
        return self.unfinished.record(_RECORD) or {}


class Rungs(keras.callbacks.Callback):
    """Measures a training at its rungs, and stops it if it falls behind.

    Args:
        contest: Contest.
        steps: tuple of str, keys of `candidates.STEP_NAMES`, of which the last one is trained.
        score: callable from keras.Model to float, the score on the validation part.
        first_step: int >= 0, the step that a resumed training starts from.

    Raises:
        FellBehind: after the step of a rung.
    """

    def __init__(
        self, contest: Contest, steps: tuple[str, ...], score: Callable[[keras.Model], float], *, first_step: int
    ):
        super().__init__()
        self.contest, self.steps, self.score, self.first_step = contest, steps, score, first_step

    def on_train_begin(self, logs=None):
        """Finds the rungs that are still to be measured."""
        self._rungs = self.contest.rungs(Candidate(self.steps, "").stem, self.params["steps"])

    def on_train_batch_end(self, batch, logs=None):
        """Measures after the steps of the rungs."""
        step, total = self.first_step + batch + 1, self.params["steps"]
        if (rung := self._rungs.pop(step, None)) is None:
            return
        score = self.score(getattr(self.model, "student", self.model))
        stem = Candidate(self.steps, "").stem
        logger.info("%s: validation score %.4f after step %d of %d", stem, score, step, total)
        self.contest.add(self.steps, rung, score, done=f"{step} of {total} steps")
