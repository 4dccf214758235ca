"""Tells which candidates can still win within a budget, from the sizes that their files will have.

Takes results and numbers of parameters; returns sizes and reasons. Must not train, and must not read or write files.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.compression_search.selection import is_within, lost_points, size_of, why_hopeless
from kerastrain.config import BudgetConfig

_BYTES = {"float32": 4, "float16": 2, "int4": 0.5, "dynamic_int4": 0.5}  # for each parameter; 1 otherwise
_SAME_SIZE = 0.99
_GZIP_MARGIN = 0.7
# With a channel go its scales and its bias in 32 bits, up to a tenth of an int8 file of MobileNet after gzip.
_CHANNEL_MARGIN = 0.9


@dataclass(frozen=True)
class Prospects:
    """What decides whether a candidate can still win.

    Args:
        budget: BudgetConfig.
        parameters: callable from steps to int, the number of parameters of the model after them.
        zeros_fraction: float in [0, 1), the fraction of zeros that pruning makes.
        clusters: int >= 2, the number of values in a clustered kernel.
        guess: float, the score of a constant answer.
    """

    budget: BudgetConfig
    parameters: Callable[[tuple[str, ...]], int]
    zeros_fraction: float
    clusters: int
    guess: float

    def size(self, candidate: Candidate, results: Sequence[CandidateResult]) -> float | None:
        """Predicts the size of a candidate's file that counts for the budget, rather too small than too large.

            size = size without steps - bytes of the removed parameters, a tenth less if channels are removed; for gzip
                times its ratio and the shrinkage

        Args:
            candidate: Candidate.
            results: sequence of CandidateResult, with the file of the same number format without steps.

        Returns:
            float > 0, bytes; None if there is no such file.
        """
        # The weights of int16x8 are those of int8, whose file is made first.
        name = Candidate((), {"int16x8": "int8"}.get(candidate.quantize, candidate.quantize)).name
        plain = next((result for result in results if result.name == name), None)
        if plain is None:
            return None
        each, before = _BYTES.get(candidate.quantize, 1), self.parameters(())
        after = before
        for step in {"distill", "prune_channels"} & set(candidate.steps):
            after = min(after, self.parameters((step,)))
        # A student is another network, whose graph may be smaller too.
        size = each * after if "distill" in candidate.steps else plain.size_bytes - each * (before - after)
        if "prune_channels" in candidate.steps:
            size *= _CHANNEL_MARGIN
        if self.budget.size == "file":
            return max(size, 1.0)
        ratio = plain.gzip_bytes / plain.size_bytes
        return max(size * ratio * self._shrinkage(candidate.steps, 8 * each * ratio), 1.0)

    def _shrinkage(self, steps: Sequence[str], bits: float) -> float:
        """The factor by which zeros and shared values shrink weights of `bits` bits each after gzip, rather too small.

        From the entropy: h(zeros) + (1 - zeros) * bits of the others, which are log2(clusters) with shared values.
        """
        zeros = self.zeros_fraction if "prune" in steps else 0.0
        others = math.log2(self.clusters) if "cluster" in steps else bits
        entropy = -sum(share * math.log2(share) for share in (zeros, 1 - zeros) if share)
        shrinkage = (entropy + (1 - zeros) * others) / bits
        return min(1.0, _GZIP_MARGIN * shrinkage) if {"prune", "cluster"} & set(steps) else 1.0

    def why_not(self, candidate: Candidate, results: Sequence[CandidateResult]) -> str:
        """Says why a candidate cannot win any more, or within `kilobytes` why no better file is needed.

        Args:
            candidate: Candidate that is not made yet.
            results: sequence of CandidateResult so far; the first is the float file.

        Returns:
            str, a sentence without a full stop; empty if the candidate may win.
        """
        size, budget, reference = self.size(candidate, results), self.budget, results[0]
        if size is None:
            return ""
        fitting = [
            result
            for result in results
            if is_within(result, budget, reference) and not why_hopeless(result, reference, self.guess)
        ]
        unit = "kB after gzip" if budget.size == "gzip" else "kB"
        if budget.kilobytes is not None:
            if size > 1000 * budget.kilobytes:
                return f"cannot win: its file would have about {size / 1000:,.0f} {unit}"
            best = next((result for result in fitting if lost_points(result, reference) <= 0), None)
            if best is None:
                return ""
            return f"not needed: {best.name} is within the budget and as accurate as the float file"
        best = min(fitting, key=lambda result: size_of(result, budget), default=None)
        if best is None or size < _SAME_SIZE * size_of(best, budget):
            return ""
        return (
            f"cannot win: its file would have at least about {size / 1000:,.0f} {unit}, and {best.name} with "
            f"{size_of(best, budget) / 1000:,.0f} is within the budget"
        )
