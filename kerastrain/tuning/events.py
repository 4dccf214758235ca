"""What happens in a search: the records that `on_event` gets. Must not act on anything."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kerastrain.tuning.assignments import Assignment


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial.

    Args:
        kind: "start" (its process starts), "resume" (its process starts again where an earlier one ended), "epoch", "pause"
            (it has reached its number of epochs and may get more) or "end".
        assignment: Assignment.
        epoch: int >= 0, the epochs that are done, over all phases.
        epochs: int >= 1, the epochs of the whole run; None as long as that is unknown.
        value: float, the first objective: after this epoch, or at the end that of the trial; None if it was not measured.
        status: "running", "paused", "completed", "pruned" or "failed".
        reason: str, why it failed; None otherwise.
    """

    kind: Literal["start", "resume", "epoch", "pause", "end"]
    assignment: "Assignment"
    epoch: int = 0
    epochs: int | None = None
    value: float | None = None
    status: str = "running"
    reason: str | None = None
