"""The axes of the keys of a search: where a value is, and which values are written beside the axis.

Takes recorded keys; returns places as fractions, and texts. Must not draw.
"""

import math
from dataclasses import dataclass

from kerastrain.report import charts
from kerastrain.report.formats import UNDEFINED
from kerastrain.tuning import recorded_space

_MOST_TICKS = 8
_LONGEST = 14  # characters of a text beside an axis


@dataclass(frozen=True)
class Axis:
    """The axis of a key.

    Args:
        key: RecordedKey.
    """

    key: recorded_space.RecordedKey

    def place(self, value: object) -> float:
        """Where a value is.

        Args:
            value: plain value, one of the key's choices or a number of its interval.

        Returns:
            float, 0 at the lower end of the axis and 1 at the upper.
        """
        if self.key.choices is None:
            return self.key.fraction(value)
        return (self.key.index(value) + 0.5) / len(self.key.choices)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts of round numbers, or of the choices; some of them if there are many."""
        key = self.key
        if key.choices is not None:
            chosen = key.choices[:: _every(len(key.choices))]
            return [(self.place(value), short(shown(value), _LONGEST)) for value in chosen]
        if key.low == key.high:
            return [(0.5, shown(key.low))]
        values = _powers(key.low, key.high) if key.sampling == "log" else charts.round_numbers(key.low, key.high)
        return [(self.place(value), shown(value)) for value in values if key.low <= value <= key.high]


def shown(value: object) -> str:
    """A value of a key for people.

    Args:
        value: plain value, or nothing (Ellipsis) for a key that is not set.

    Returns:
        str; numbers with four digits.
    """
    if value is ...:
        return UNDEFINED
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")
    return recorded_space.text(value)


def short(text: str, most: int) -> str:
    """A text without its middle, if it is long.

    Args:
        text: str.
        most: int >= 3, the largest number of characters.

    Returns:
        str.

    Example:
        >>> short("gradient_accumulation", 12)
        'gradie…ation'
    """
    if len(text) <= most:
        return text
    return text[: most - most // 2] + "…" + text[len(text) - (most // 2 - 1) :]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten between two numbers, with their halves and doubles if there are few; of two between two powers of two."""
    twos = [math.log2(low), math.log2(high)]
    if all(exponent.is_integer() for exponent in twos):
        return [2.0**exponent for exponent in range(round(twos[0]), round(twos[1]) + 1)][:: _every(twos[1] - twos[0])]
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        values = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(values) >= 3:
            break
    else:
        values = values if len(values) > 1 else charts.round_numbers(low, high, about=4)
    values = values[:: _every(len(values))]
    return [min(max(value, low), high) for value in values]


def _every(count: float) -> int:
    return math.ceil(count / _MOST_TICKS) or 1
