"""Objectives by which thresholds are chosen, such as "f1" and "precision>=0.95", parsed from text.

Takes and returns plain values. Must not import TensorFlow.
"""

import re
from dataclasses import dataclass

from kerastrain.errors import InputError

_ALONE = ("f1", "equal_error")
_WITH_VALUE = ("precision", "recall", "accuracy")
_FORM = re.compile(r"(?P<name>[a-z0-9_]+)\s*(?:(?P<sign>>=|=|>)\s*(?P<value>[0-9]*\.?[0-9]+)\s*(?P<percent>%?))?")


@dataclass(frozen=True)
class Objective:
    """What a threshold is chosen for.

    Args:
        name: "f1", "equal_error", "precision", "recall" or "accuracy".
        at_least: float in (0, 1], the least precision, recall or accuracy; None for the others.
    """

    name: str
    at_least: float | None = None

    def __str__(self) -> str:
        return self.name if self.at_least is None else f"{self.name}>={self.at_least:g}"


def parse(text: str) -> Objective:
    """Parses an objective.

    | text | the threshold |
    |---|---|
    | "f1" | with the highest F1 |
    | "precision>=0.95" | with the highest recall among those whose precision is at least 0.95 |
    | "recall>=0.9" | with the highest precision among those whose recall is at least 0.9 |
    | "equal_error" | at which the false positive rate and the false negative rate are equal |
    | "accuracy>=0.98" | below which the most probable class is rejected, so that 98 % of the others are right |

    Args:
        text: str as in the table. A percentage may replace the number, and "=" the ">=", which a shell reads as a redirection
            unless it is quoted.

    Returns:
        Objective.

    Raises:
        InputError: it is not such a text.

    Example:
        >>> str(parse("precision = 95%"))
        'precision>=0.95'
    """
    match = _FORM.fullmatch(str(text).strip().lower())
    name = match and match["name"]
    if name in _ALONE and not match["value"]:
        return Objective(name)
    if name in _WITH_VALUE and not match["value"]:
        raise InputError(
            f"{name} needs a value, such as {name}=0.95. Received: {text!r}. In a shell, {name}>=0.95 must be in quotes."
        )
    if name in _WITH_VALUE and match["sign"] != ">":
        value = float(match["value"]) / (100 if match["percent"] else 1)
        if not 0 < value <= 1:
            hint = f" For {value:g} percent, write {name}>={value / 100:g}." if 1 < value <= 100 else ""
            raise InputError(f"the least {name} must be above 0 and at most 1. Received: {text!r}.{hint}")
        return Objective(name, value)
    raise InputError(
        f"a threshold is chosen by f1, precision>=0.95, recall>=0.9, equal_error or accuracy>=0.98 (with a number of yours). "
        f"Received: {text!r}."
    )
