"""The space of a search, as pages and tables read it from `trials.json`.

Takes the mapping "space" of `trials.json` and the values of trials; returns a record of each key. Must not import keras-tuner
or TensorFlow, and must not draw points: `tuning.space` does.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RecordedKey:
    """A key that was searched.

    Args:
        name: str, such as "optimizer.learning_rate".
        choices: tuple of plain values, or None for an interval.
        low: float, the lower limit of an interval; 0.0 for choices.
        high: float, the upper limit of an interval; 0.0 for choices.
        sampling: "linear", "log" or "reverse_log", the scale of an interval.
    """

    name: str
    choices: tuple | None
    low: float = 0.0
    high: float = 0.0
    sampling: str = "linear"

    def fraction(self, value: float) -> float:
        """The place of a number in an interval, on its scale.

        Args:
            value: float.

        Returns:
            float, 0 at `low` and 1 at `high`; 0.5 if these are equal.
        """
        if self.low == self.high:
            return 0.5
        if self.sampling == "linear":
            return (value - self.low) / (self.high - self.low)
        span = math.log(self.high / self.low)
        if self.sampling == "log":
            return math.log(value / self.low) / span
        return 1 - math.log((self.low + self.high - value) / self.low) / span

    def index(self, value: object) -> int:
        """The place of a value among the choices.

        Args:
            value: plain value.

        Returns:
            int, 0 <= int < len(choices).

        Raises:
            ValueError: the value is not among the choices.
        """
        return [text(choice) for choice in self.choices].index(text(value))


def read(space: Mapping[str, object], points: Sequence[Mapping[str, object]]) -> list[RecordedKey]:
    """Reads the keys of a search.

    Values that trials have and the space lacks, as after a change by hand, are added to the choices or widen the interval.

    Args:
        space: mapping from each key to a list of choices, to {"choices": list}, or to {"min": float, "max": float, "sampling":
            str}.
        points: sequence of mappings from active keys to values.

    Returns:
        list of RecordedKey, those of the space in its order, then keys that only points have.
    """
    names = dict.fromkeys([*space, *(key for point in points for key in point)])
    return [_key(name, space.get(name, []), [point[name] for point in points if name in point]) for name in names]


def text(value: object) -> str:
    """A value as it is compared and shown: JSON, and a text without quotes unless it could be read as another value.

    Args:
        value: plain value.

    Returns:
        str; different values of one key have different texts, except 1 and 1.0, which are equal.

    Example:
        >>> [text(value) for value in (0.0010, None, [64, 32], "sgd", "null", True, 1.0)]
        ['0.001', 'null', '[64, 32]', 'sgd', '"null"', 'true', '1']
    """
    if isinstance(value, str):
        return (
            value if value.strip() == value and value and not _is_json(value) else json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, float):
        return f"{value:.12g}"
    return json.dumps(value, ensure_ascii=False)


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are not.

    Args:
        value: plain value.

    Returns:
        bool.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(name: str, entry: object, values: Sequence[object]) -> RecordedKey:
    options = entry if isinstance(entry, Mapping) else {"choices": entry}
    if "min" not in options or "max" not in options or not all(map(is_number, values)):
        choices = {text(value): value for value in [*(options.get("choices") or []), *values]}
        return RecordedKey(name, tuple(choices.values()))
    ends = [float(options["min"]), float(options["max"]), *map(float, values)]
    sampling = options.get("sampling", "linear")
    return RecordedKey(name, None, min(ends), max(ends), sampling if min(ends) > 0 else "linear")


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
