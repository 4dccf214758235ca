"""The lines of the table: what was measured, its ratio, and whether the goal is met."""

import statistics
from dataclasses import dataclass, field

HEAD = (
    "| work | rival | ours | rival's | ours / rival | from … to | goal | accuracy, ours and rival's | |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        work: str, what both did.
        rival: str.
        goal: float, the largest ratio that meets the goal.
        ours: list of float, what our turns took.
        rivals: list of float, what the rival's turns took; each ratio is that of two turns of one repeat.
        unit: str, "s" or "ms".
        accuracies: (float, float), ours and the rival's; None where none is compared.
        points: float, percentage points by which ours may be lower.
        notes: list of str, sentences below the table.
    """

    work: str
    rival: str
    goal: float
    ours: list
    rivals: list
    unit: str = "s"
    accuracies: tuple | None = None
    points: float = 0.5
    notes: list = field(default_factory=list)

    @property
    def ratios(self):
        """Ours over the rival's, of each repeat."""
        return [own / other for own, other in zip(self.ours, self.rivals, strict=True)]

    @property
    def is_as_accurate(self):
        """Whether ours is as accurate as the rival's, within `points`."""
        return self.accuracies is None or self.accuracies[0] >= self.accuracies[1] - self.points / 100 - 1e-9

    @property
    def verdict(self):
        """Whether the goal is met: "met", "missed", or "missed: less accurate"."""
        if not self.is_as_accurate:
            return "missed: less accurate"
        return "met" if statistics.median(self.ratios) <= self.goal else "missed"

    def __str__(self):
        accuracies = "–" if self.accuracies is None else "{:.3f}, {:.3f}".format(*self.accuracies)
        own, rivals = (f"{statistics.median(times):.4g} {self.unit}" for times in (self.ours, self.rivals))
        ratio, span = f"{statistics.median(self.ratios):.3f}", f"{min(self.ratios):.3f} … {max(self.ratios):.3f}"
        cells = (self.work, self.rival, own, rivals, ratio, span, f"{self.goal:g}: {self.verdict}", accuracies)
        return f"| {' | '.join(cells)} | {len(self.ours)} repeats |"


def where_time_went(facts):
    """A sentence on the longest parts of the median turn among those with "parts"."""
    turn = sorted(facts, key=lambda fact: fact["seconds"])[len(facts) // 2]
    return "; ".join(f"{seconds:.1f} s after “{message}”" for message, seconds in turn["parts"])
