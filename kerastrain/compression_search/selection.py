"""Selects the file that wins within a budget, and the files worth keeping, by their validation scores only.

Takes results; returns names and a sentence. Must not use the test scores, and must not read or write files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.config import BudgetConfig


@dataclass(frozen=True)
class Choice:
    """The files that a budget selects.

    Args:
        winner: str, the name of a result; None if no file is within the budget.
        reason: str, one or two sentences.
        pareto: tuple of str, the names of the results that no other result beats in both size and score, the smallest
            first.
    """

    winner: str | None
    reason: str
    pareto: tuple[str, ...]


def size_of(result: CandidateResult, budget: BudgetConfig | None) -> int:
    """The size of a file that counts for the budget.

    Args:
        result: CandidateResult.
        budget: BudgetConfig, whose `size` selects the file's own size or the size after gzip; None for the file's own.

    Returns:
        int >= 1, bytes.
    """
    return result.gzip_bytes if budget is not None and budget.size == "gzip" else result.size_bytes


def lost_points(result: CandidateResult, reference: CandidateResult) -> float:
    """The difference of the validation scores of a reference and a result.

    Args:
        result: CandidateResult.
        reference: CandidateResult, usually of the float file.

    Returns:
        float, in hundredths; negative if the result is better.
    """
    return 100 * (reference.validation.value - result.validation.value)


def is_within(result: CandidateResult, budget: BudgetConfig, reference: CandidateResult) -> bool:
    """Whether a result is within the budget.

    Args:
        result: CandidateResult.
        budget: BudgetConfig.
        reference: CandidateResult of the float file.
    """
    if budget.kilobytes is not None:
        return size_of(result, budget) <= 1000 * budget.kilobytes
    return lost_points(result, reference) <= budget.accuracy_points + 1e-9


def choose(results: Sequence[CandidateResult], budget: BudgetConfig) -> Choice:
    """Selects the smallest file within a budget of accuracy, or the best file within a budget of size.

    Args:
        results: sequence of CandidateResult, at least one; the first is the float file.
        budget: BudgetConfig.

    Returns:
        Choice.
    """

    def size(result: CandidateResult) -> int:
        return size_of(result, budget)

    def is_beaten(result: CandidateResult) -> bool:
        return any(
            size(other) <= size(result)
            and other.validation.value >= result.validation.value
            and (size(other), other.validation.value) != (size(result), result.validation.value)
            for other in results
        )

    pareto = tuple(result.name for result in sorted(results, key=size) if not is_beaten(result))
    fitting = [result for result in results if is_within(result, budget, results[0])]
    unit = "kB after gzip" if budget.size == "gzip" else "kB"
    if not fitting:
        smallest = min(results, key=size)
        reason = (
            f"none of {len(results)} files has at most {budget.kilobytes:g} {unit}; the smallest, {smallest.name}, has "
            f"{size(smallest) / 1000:,.1f}. Allow more, or lower `distill.parameters_fraction`."
        )
        return Choice(None, reason, pareto)
    if budget.kilobytes is not None:
        best = max(fitting, key=lambda result: (result.validation.value, -size(result)))
        rule = f"the most accurate of {len(fitting)} files with at most {budget.kilobytes:g} {unit}"
    else:
        best = min(fitting, key=lambda result: (size(result), -result.validation.value))
        points = "point" if budget.accuracy_points == 1 else "points"
        rule = f"the smallest of {len(fitting)} files that lose at most {budget.accuracy_points:g} {points}"
    lost = lost_points(best, results[0])
    reason = (
        f"{best.name} wins: {rule}, of {len(results)} tried; validation {best.measure} {best.validation.value:.4f}, "
        f"{abs(lost):.1f} points {'above' if lost < 0 else 'below'} the float file, {size(best) / 1000:,.1f} {unit}."
    )
    return Choice(best.name, f"{reason}{_small_sample_warning(results[0], budget)}", pareto)


def _small_sample_warning(reference: CandidateResult, budget: BudgetConfig) -> str:
    """A sentence if the validation part is too small to measure the allowed loss, otherwise an empty string."""
    score = reference.validation
    half_width = 50 * (score.high - score.low)
    if budget.accuracy_points is None or half_width <= budget.accuracy_points:
        return ""
    return (
        f" The {score.count} validation examples measure the accuracy only to ±{half_width:.1f} points: use more of them "
        "for a more reliable choice."
    )
