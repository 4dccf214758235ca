"""What a searched key may be: a number of an interval, or one of some choices, under conditions on other keys.

Takes limits, steps and lists; returns values by fractions of their distribution. Must not import TensorFlow or keras_tuner, and
must not know what the keys mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from kerastrain.errors import InputError, is_whole_number, unknown

_DIGITS = 12  # significant digits of quantised values, so that 0.1 + 2 * 0.1 is 0.3
_MOST_VALUES = 1_000_000  # of a quantised interval, which are listed


@dataclass(frozen=True)
class Condition:
    """A key is active only while another key has one of some values.

    Args:
        key: str, the other key.
        values: tuple of its values.
    """

    key: str
    values: tuple


@dataclass(frozen=True)
class Interval:
    """The numbers between two limits.

    Args:
        min: float, the lower limit, included.
        max: float > min, the upper limit, included.
        sampling: "linear" (uniform), "log" (log-uniform; min > 0) or "reverse_log" (its mirror image, with most values
            near the upper limit; min > 0).
        integer: bool, whether the values are integers.
        step: float, the difference of neighbouring values, or under "log" and "reverse_log" the factor (> 1) of their
            distances; None for every number of the interval.
        when: tuple of Condition, all of which must hold for the key to be active.

    Raises:
        InputError: the limits or the step do not fit together.
    """

    min: float
    max: float
    sampling: Literal["linear", "log", "reverse_log"] = "linear"
    integer: bool = False
    step: float | None = None
    when: tuple[Condition, ...] = ()

    def __post_init__(self):
        if self.sampling not in ("linear", "log", "reverse_log"):
            raise InputError(unknown("sampling", self.sampling, ("linear", "log", "reverse_log")))
        if not (math.isfinite(self.min) and math.isfinite(self.max)):
            raise InputError(f"min and max must be finite. Received: {self.min:g} and {self.max:g}.")
        if not self.min < self.max:
            raise InputError(f"min must be less than max. Received: {self.min:g} and {self.max:g}.")
        if self.sampling != "linear" and self.min <= 0:
            raise InputError(f"min must be > 0 under {self.sampling} sampling. Received: {self.min:g}.")
        least = 0 if self.sampling == "linear" else 1
        if self.step is not None and not (self.step > least and math.isfinite(self.step)):
            raise InputError(f"step must be > {least} under {self.sampling} sampling. Received: {self.step:g}.")
        if self.integer:
            if self.min != round(self.min) or self.max != round(self.max):
                raise InputError(
                    f"min and max must be whole numbers with integer: true. Received: {self.min:g} and {self.max:g}."
                )
            object.__setattr__(self, "min", round(self.min))
            object.__setattr__(self, "max", round(self.max))
        if self.values is not None and len(self.values) == 1:
            raise InputError(
                f"an interval must have more than one value. Received: only {self.values[0]:g} between {self.min:g} and "
                f"{self.max:g} with a step of {self.step:g}. Choose a smaller step."
            )

    @cached_property
    def values(self) -> Sequence | None:
        """All values in rising order; None if there are infinitely many.

        Raises:
            InputError: there are more than a million steps.
        """
        if self.step is None:
            return range(self.min, self.max + 1) if self.integer else None
        is_linear = self.sampling == "linear"
        steps = (self.max - self.min) / self.step if is_linear else math.log(self.max / self.min, self.step)
        if steps > _MOST_VALUES:
            raise InputError(
                f"an interval must have at most {_MOST_VALUES:,} steps. Received: {steps:,.0f}. Choose a larger step, or none."
            )
        indices = range(math.floor(steps + 1e-9) + 1)
        numbers = [self.min + index * self.step if is_linear else self.min * self.step**index for index in indices]
        if self.sampling == "reverse_log":
            numbers = [self.max + self.min - number for number in reversed(numbers)]
        if self.integer:
            return tuple(dict.fromkeys(round(number) for number in numbers))
        return tuple(dict.fromkeys(min(float(f"{number:.{_DIGITS}g}"), float(self.max)) for number in numbers))

    def at(self, fraction: float) -> float | int:
        """The value at a fraction of the distribution, such as 0.5 for the median.

        Args:
            fraction: float in [0, 1).

        Returns:
            float, or int for an interval of integers.
        """
        if self.step is not None or (self.integer and self.sampling == "linear"):
            return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]
        low, high = self.min, self.max + 1 if self.integer else self.max
        if self.sampling == "linear":
            number = low + fraction * (high - low)
        elif self.sampling == "log":
            number = low * (high / low) ** fraction
        else:
            number = high + low - low * (high / low) ** (1 - fraction)
        number = min(max(number, self.min), self.max)
        return int(number) if self.integer else float(number)


@dataclass(frozen=True)
class Choices:
    """A list of values of any kind.

    Args:
        values: tuple of numbers, texts, truth values, None, lists or mappings, which all differ.
        when: tuple of Condition, all of which must hold for the key to be active.

    Raises:
        InputError: there is no value, or one value twice.
    """

    values: tuple
    when: tuple[Condition, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise InputError("a list of choices must contain at least one value. Received: an empty list.")
        repeated = [value for index, value in enumerate(self.values) if has(self.values[:index], value)]
        if repeated:
            raise InputError(f"the choices must differ. Received: {repeated[0]!r} twice. Remove one of them.")

    def at(self, fraction: float) -> Any:
        """The value at a fraction of the list.

        Args:
            fraction: float in [0, 1).

        Returns:
            The value.
        """
        return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]


def has(values: Sequence, value: object) -> bool:
    """Whether a value is among others, where true is not 1.

    Args:
        values: sequence of plain values.
        value: a plain value; 1 and 1.0 are the same.

    Example:
        >>> has((1, 2), True), has((1.0, 2.0), 1), has(([], [64]), [64])
        (False, True, True)
    """
    if isinstance(values, range):
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        return is_whole_number(number) and number in values
    return any(_same(value, other) for other in values)


def _same(left: object, right: object) -> bool:
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def described(parameter: Interval | Choices) -> dict[str, Any]:
    """A parameter as plain JSON values, in the form of a search file.

    Args:
        parameter: Interval or Choices.

    Returns:
        dict.

    Example:
        >>> described(Choices((0, 0.5), when=(Condition("name", ("a",)),)))
        {'choices': [0, 0.5], 'when': {'name': ['a']}}
    """
    when = {condition.key: list(condition.values) for condition in parameter.when}
    if isinstance(parameter, Choices):
        return {"choices": list(parameter.values), "when": when}
    names = ("min", "max", "sampling", "integer", "step")
    return {**{name: getattr(parameter, name) for name in names}, "when": when}


def from_description(record: Mapping[str, Any]) -> Interval | Choices:
    """Returns the parameter that `described` described.

    Args:
        record: mapping, as from `described`.

    Returns:
        Interval or Choices.
    """
    when = tuple(Condition(key, tuple(values)) for key, values in record["when"].items())
    if "choices" in record:
        return Choices(tuple(record["choices"]), when)
    return Interval(**{**record, "when": when})
