"""Which file wins within a budget, and which are worth keeping: by the validation part alone, never by the test part.

Takes rungs, gives names and a sentence. Must not read or write files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.config import BudgetConfig


@dataclass(frozen=True)
class Choice:
    """What a budget comes to.

    Args:
        winner: str, the name of a rung; None where none keeps the budget.
        reason: str, why, in a sentence or two.
        pareto: names of the rungs that no other one beats in both size and score, from the smallest up.
    """

    winner: str | None
    reason: str
    pareto: tuple[str, ...]


def size_of(rung: CandidateResult, budget: BudgetConfig | None) -> int:
    """The bytes of a rung that count: those of its file, or after gzip."""
    return rung.gzip_bytes if budget is not None and budget.size == "gzip" else rung.size_bytes


def lost_points(rung: CandidateResult, reference: CandidateResult) -> float:
    """What a rung loses against the reference on the validation part, in hundredths; negative where it gains."""
    return 100 * (reference.validation.value - rung.validation.value)


def is_within(rung: CandidateResult, budget: BudgetConfig, reference: CandidateResult) -> bool:
    """Whether a rung keeps the budget."""
    if budget.kilobytes is not None:
        return size_of(rung, budget) <= 1000 * budget.kilobytes
    return lost_points(rung, reference) <= budget.accuracy_points + 1e-9


def choose(rungs: Sequence[CandidateResult], budget: BudgetConfig) -> Choice:
    """The smallest file that loses no more than allowed, or the best that is no larger.

    Args:
        rungs: at least one; the first is the float file.
        budget: BudgetConfig.

    Returns:
        Choice.
    """

    def size(rung: CandidateResult) -> int:
        return size_of(rung, budget)

    def is_beaten(rung: CandidateResult) -> bool:
        return any(
            size(other) <= size(rung)
            and other.validation.value >= rung.validation.value
            and (size(other), other.validation.value) != (size(rung), rung.validation.value)
            for other in rungs
        )

    pareto = tuple(rung.name for rung in sorted(rungs, key=size) if not is_beaten(rung))
    fitting = [rung for rung in rungs if is_within(rung, budget, rungs[0])]
    unit = "kB after gzip" if budget.size == "gzip" else "kB"
    if not fitting:
        least = min(rungs, key=size)
        reason = (
            f"none of {len(rungs)} files has at most {budget.kilobytes:g} {unit}; the smallest, {least.name}, has "
            f"{size(least) / 1000:,.1f}. Allow more, or take a smaller `distill.parameters_fraction`."
        )
        return Choice(None, reason, pareto)
    if budget.kilobytes is not None:
        best = max(fitting, key=lambda rung: (rung.validation.value, -size(rung)))
        rule = f"the most accurate of {len(fitting)} files with at most {budget.kilobytes:g} {unit}"
    else:
        best = min(fitting, key=lambda rung: (size(rung), -rung.validation.value))
        points = "point" if budget.accuracy_points == 1 else "points"
        rule = f"the smallest of {len(fitting)} files that lose at most {budget.accuracy_points:g} {points}"
    lost = lost_points(best, rungs[0])
    reason = (
        f"{best.name} wins: {rule}, of {len(rungs)} tried; validation {best.measure} {best.validation.value:.4f}, "
        f"{abs(lost):.1f} points {'above' if lost < 0 else 'below'} the float file, {size(best) / 1000:,.1f} {unit}."
    )
    return Choice(best.name, f"{reason}{_caution(rungs[0], budget)}", pareto)


def _caution(reference: CandidateResult, budget: BudgetConfig) -> str:
    """Says so where the validation part is too small to tell such a loss from chance."""
    found = reference.validation
    half = 50 * (found.high - found.low)
    if budget.accuracy_points is None or half <= budget.accuracy_points:
        return ""
    return (
        f" Its {found.count} validation examples tell the accuracy to ±{half:.1f} points alone: more of them would make "
        "the choice surer."
    )
