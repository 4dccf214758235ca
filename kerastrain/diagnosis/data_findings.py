"""What can be wrong with an example, and what is proposed to do about it.

Takes and returns records. Must not know of files.
"""

from dataclasses import dataclass

ACTIONS = ("exclude", "relabel", "look")

KINDS = {
    "label_error": "has a label that similar examples contradict",
    "unlikely_number": "has a number that similar examples contradict",
    "leakage": "shows the same as an example of another part",
    "conflicting_labels": "shows the same as an example with another label",
    "near_duplicate": "shows the same as another example of its part",
    "duplicate": "is equal to another example of its part",
    "empty": "shows nearly nothing",
    "dark": "is much darker than the others",
    "overexposed": "is much brighter than the others, mostly white",
    "blurred": "is much less sharp than the others",
    "odd_aspect": "is much wider or taller than the others",
    "off_topic": "is far from all others by its features",
    "short": "is one word among sentences",
    "other_language": "is in another language than the others",
    "boilerplate": "consists of phrases that many texts share",
}
"""Mapping from the kind of a finding to a sentence about an example."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with an example.

    Args:
        index: int, the example.
        kind: str, a key of `KINDS`.
        score: float > 0, comparable within a kind; larger is worse.
        reason: str, a sentence without full stop.
        copy_of: int, the example that it is a copy of, or None.
        proposed: int, the number of a class that is more likely, or None.
        action: str, one of `ACTIONS`.
    """

    index: int
    kind: str
    score: float
    reason: str
    copy_of: int | None = None
    proposed: int | None = None
    action: str = "look"
