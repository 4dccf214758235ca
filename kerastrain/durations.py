"""Parses lengths of training, such as "2 epochs", "500 steps" or "5%", and intervals, such as "10 minutes".

Takes a string or a number, returns optimizer steps or seconds. Must not import TensorFlow.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kerastrain.errors import InputError

_FORM = re.compile(r"\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>steps?|epochs?|%)?\s*")
_INTERVAL_FORM = re.compile(r"\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>step|epoch|second|minute|hour)s?\s*")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


@dataclass(frozen=True)
class Duration:
    """A length of training, in one of three units.

    Args:
        value: float >= 0; a percentage is in [0, 100].
        unit: "steps", "epochs" or "%" (of the whole run).
    """

    value: float
    unit: Literal["steps", "epochs", "%"]

    def steps(self, *, steps_per_epoch: int, total_steps: int) -> int:
        """Converts the duration to optimizer steps, rounded to the nearest integer.

        Args:
            steps_per_epoch: int >= 1, optimizer steps of an epoch.
            total_steps: int >= 1, optimizer steps of the whole run.

        Returns:
            int >= 0, optimizer steps.

        Example:
            >>> parse("5%").steps(steps_per_epoch=100, total_steps=1000)
            50
        """
        steps_per_unit = {"steps": 1, "epochs": steps_per_epoch, "%": total_steps / 100}[self.unit]
        return round(self.value * steps_per_unit)

    def __str__(self) -> str:
        return f"{_digits(self.value)}%" if self.unit == "%" else f"{_digits(self.value)} {self.unit}"


def _digits(value: float) -> str:
    """Writes a number without an exponent, which a duration cannot have."""
    return np.format_float_positional(value, precision=15, fractional=False, trim="-")


def parse(text: str | int | float) -> Duration:
    """Parses a duration: "2 epochs", "500 steps", "5%" or a number of steps.

    Args:
        text: str in one of the three forms, or int >= 0 optimizer steps.

    Returns:
        Duration.

    Raises:
        InputError: `text` has another form, is a percentage above 100, or a fraction of a step.

    Example:
        >>> parse("2 epochs")
        Duration(value=2.0, unit='epochs')
    """
    match = _FORM.fullmatch(str(text))
    if match is None or isinstance(text, bool):
        raise InputError(f"a duration must be like '2 epochs', '500 steps' or '5%'. Received: {text!r}.")
    value, unit = float(match["value"]), match["unit"] or "steps"
    unit = "%" if unit == "%" else unit.rstrip("s") + "s"
    if unit == "%" and value > 100:
        raise InputError(f"a duration in percent must lie in [0, 100]. Received: {text!r}.")
    if unit == "steps" and value != int(value):
        raise InputError(
            f"a duration in steps must be a whole number. Received: {text!r}. For a fraction of the run write '5%'."
        )
    return Duration(value, unit)


@dataclass(frozen=True)
class Interval:
    """The interval of a repeated action during training.

    Args:
        value: float > 0, in `unit`.
        unit: "steps", "epochs", "seconds", "minutes" or "hours".
    """

    value: float
    unit: Literal["steps", "epochs", "seconds", "minutes", "hours"]

    @property
    def seconds(self) -> float | None:
        """The interval in seconds, float > 0; None if its unit is steps or epochs."""
        return self.value * _SECONDS[self.unit] if self.unit in _SECONDS else None

    def steps(self, steps_per_epoch: int) -> int | None:
        """Converts the interval to optimizer steps, rounded to the nearest integer.

        Args:
            steps_per_epoch: int >= 1, optimizer steps of an epoch.

        Returns:
            int >= 1, optimizer steps; None if the unit is seconds, minutes or hours.
        """
        if self.unit in _SECONDS:
            return None
        return max(1, round(self.value * (steps_per_epoch if self.unit == "epochs" else 1)))

    def __str__(self) -> str:
        return f"{_digits(self.value)} {self.unit}"


def parse_interval(text: str) -> Interval:
    """Parses an interval: "500 steps", "1 epoch", "90 seconds", "10 minutes" or "2 hours".

    Args:
        text: str in one of these forms.

    Returns:
        Interval.

    Raises:
        InputError: `text` has another form, is zero, or a fraction of a step.

    Example:
        >>> parse_interval("10 minutes").seconds, parse_interval("0.5 epochs").steps(steps_per_epoch=100)
        (600.0, 50)
    """
    match = _INTERVAL_FORM.fullmatch(str(text))
    if match is None or float(match["value"]) == 0:
        raise InputError(
            f"an interval must be like '500 steps', '1 epoch', '90 seconds', '10 minutes' or '2 hours', and above 0. "
            f"Received: {text!r}."
        )
    if match["unit"] == "step" and not float(match["value"]).is_integer():
        raise InputError(f"an interval in steps must be a whole number. Received: {text!r}.")
    return Interval(float(match["value"]), match["unit"] + "s")


def spoken(seconds: float) -> str:
    """Words for a length of time, as precise as a prediction can be.

    Args:
        seconds: float >= 0.

    Returns:
        str, such as "40 seconds".

    Example:
        >>> [spoken(seconds) for seconds in (0.4, 12, 100, 5000)]
        ['1 second', '12 seconds', '1.7 minutes', '83 minutes']
    """
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            amount = seconds / size
            return f"{amount:.0f} {unit}s" if amount >= 10 else f"{amount:.1f} {unit}s"
    count = max(1, round(seconds))
    return f"{count} second{'' if count == 1 else 's'}"
