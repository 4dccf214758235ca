"""Selects the file that wins within a budget, and the files worth keeping, by their validation scores only.

Takes results; returns names and a sentence. Must not use the test scores, and must not read or write files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.config import BudgetConfig

_SLOWEST = 10.0


@dataclass(frozen=True)
class Choice:
    """The files that a budget selects.

    Args:
        winner: str, the name of a result; None if no file is within the budget.
        reason: str, one or two sentences.
        pareto: tuple of str, the names of the results that are kept, the smallest first: those that are not hopeless, and
            that no other such result beats in both size and score.
        removed: dict from the name of each other result to the reason why its file is not kept.
    """

    winner: str | None
    reason: str
    pareto: tuple[str, ...]
    removed: dict[str, str] = field(default_factory=dict)


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


def choose(results: Sequence[CandidateResult], budget: BudgetConfig, *, guess: float = 0.0) -> Choice:
    """Selects the smallest file within a budget of accuracy, or the best file within a budget of size.

    Hopeless files are not kept, and win only if no other file is within the budget: those whose score is closer to
    guessing than to the float file, and those that are more than ten times as slow as the float file.

    Args:
        results: sequence of CandidateResult, at least one; the first is the float file.
        budget: BudgetConfig.
        guess: float, the score of a constant answer; see `measurement.guess_score`.

    Returns:
        Choice.
    """

    def size(result: CandidateResult) -> int:
        return size_of(result, budget)

    hopeless = {result.name: reason for result in results[1:] if (reason := why_hopeless(result, results[0], guess))}
    hopeful = [result for result in results if result.name not in hopeless]
    removed = {**hopeless}
    for result in hopeful:
        better = [other for other in hopeful if _beats(other, result, size)]
        if better:
            best = min(better, key=lambda other: (size(other), -other.validation.value))
            is_equal = best.validation.value == result.validation.value
            removed[result.name] = f"{best.name} is not larger and {'as' if is_equal else 'more'} accurate"
    unit = "kB after gzip" if budget.size == "gzip" else "kB"
    fitting = [result for result in hopeful if is_within(result, budget, results[0])] or [
        result for result in results if is_within(result, budget, results[0])
    ]
    if not fitting:
        smallest = min(results, key=size)
        winner, reason = (
            None,
            (
                f"none of {len(results)} files has at most {budget.kilobytes:g} {unit}; the smallest, {smallest.name}, has "
                f"{size(smallest) / 1000:,.1f}. Allow more, or lower `distill.parameters_fraction`."
            ),
        )
    else:
        best, rule = _best(fitting, budget, size, unit)
        winner, lost = best.name, lost_points(best, results[0])
        reason = (
            f"{best.name} wins: {rule}, of {len(results)} tried; validation {best.measure} {best.validation.value:.4f}, "
            f"{abs(lost):.1f} points {'above' if lost < 0 else 'below'} the float file, {size(best) / 1000:,.1f} {unit}."
        )
        if best.name in hopeless:
            reason += f" It is hardly of use: {hopeless[best.name]}."
        reason += _small_sample_warning(results[0], budget)
        removed.pop(winner, None)
    kept = tuple(result.name for result in sorted(results, key=size) if result.name not in removed)
    return Choice(winner, reason, kept, removed)


def _best(fitting: Sequence[CandidateResult], budget: BudgetConfig, size, unit: str) -> tuple[CandidateResult, str]:
    """The winner among the files within a budget, and the rule that it wins by."""
    if budget.kilobytes is not None:
        best = max(fitting, key=lambda result: (result.validation.value, -size(result)))
        return best, f"the most accurate of {len(fitting)} files with at most {budget.kilobytes:g} {unit}"
    best = min(fitting, key=lambda result: (size(result), -result.validation.value))
    points = "point" if budget.accuracy_points == 1 else "points"
    return best, f"the smallest of {len(fitting)} files that lose at most {budget.accuracy_points:g} {points}"


def _beats(other: CandidateResult, result: CandidateResult, size) -> bool:
    """Whether a result is at least as good in size and score, and better in one of them."""
    return (
        size(other) <= size(result)
        and other.validation.value >= result.validation.value
        and (size(other), other.validation.value) != (size(result), result.validation.value)
    )


def why_hopeless(result: CandidateResult, reference: CandidateResult, guess: float) -> str:
    """Says why a file is of no use at any size.

    Args:
        result: CandidateResult.
        reference: CandidateResult of the float file.
        guess: float, the score of a constant answer; see `measurement.guess_score`.

    Returns:
        str, the reason without a full stop; empty if the file may be of use.
    """
    score, best = result.validation.value, reference.validation.value
    if score < (guess + best) / 2 and best > guess:
        return f"its {result.measure} of {score:.3f} is closer to guessing ({guess:.3f}) than to the float file ({best:.3f})"
    if result.time_ratio is not None and result.time_ratio > _SLOWEST:
        return f"it is {result.time_ratio:.0f} times as slow as the float file"
    return ""


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
