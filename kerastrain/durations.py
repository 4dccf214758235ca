"""Lengths of training as people say them: "2 epochs", "500 steps", "5%"; and how often a thing is done: "10 minutes".

Takes a string or a number, gives optimizer steps or seconds. Must not import TensorFlow.
"""

import re
from dataclasses import dataclass
from typing import Literal

from kerastrain.errors import InputError

_FORM = re.compile(r"\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>steps?|epochs?|%)?\s*")
_INTERVAL_FORM = re.compile(r"\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>step|epoch|second|minute|hour)s?\s*")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


@dataclass(frozen=True)
class Duration:
    """A length of training, in one of three units.

    Args:
        value: float >= 0; a percentage lies in [0, 100].
        unit: "steps", "epochs" or "%" (of the whole run).
    """

    value: float
    unit: Literal["steps", "epochs", "%"]

    def steps(self, *, steps_per_epoch: int, total_steps: int) -> int:
        """Optimizer steps, rounded to the nearest whole step.

        Args:
            steps_per_epoch: int > 0, optimizer steps in one epoch.
            total_steps: int > 0, optimizer steps in the whole run.

        Returns:
            int >= 0.

        Example:
            >>> parse("5%").steps(steps_per_epoch=100, total_steps=1000)
            50
        """
        one = {"steps": 1, "epochs": steps_per_epoch, "%": total_steps / 100}[self.unit]
        return round(self.value * one)

    def __str__(self) -> str:
        return f"{self.value:.15g}%" if self.unit == "%" else f"{self.value:.15g} {self.unit}"


def parse(text: str | int | float) -> Duration:
    """A `Duration` from "2 epochs", "500 steps", "5%" or a number of steps.

    Args:
        text: str in one of the three forms, or a number >= 0 of optimizer steps.

    Returns:
        Duration.

    Raises:
        InputError: `text` has another form, a percentage above 100, or a part of a step.

    Example:
        >>> parse("2 epochs")
        Duration(value=2.0, unit='epochs')
    """
    match = _FORM.fullmatch(str(text))
    if match is None or isinstance(text, bool):
        raise InputError(f"a duration is '2 epochs', '500 steps' or '5%'. Received: {text!r}.")
    value, unit = float(match["value"]), match["unit"] or "steps"
    unit = "%" if unit == "%" else unit.rstrip("s") + "s"
    if unit == "%" and value > 100:
        raise InputError(f"a duration in percent lies in [0, 100]. Received: {text!r}.")
    if unit == "steps" and value != int(value):
        raise InputError(
            f"a duration in steps is a whole number. Received: {text!r}. For a share of the run write '5%'."
        )
    return Duration(value, unit)


@dataclass(frozen=True)
class Interval:
    """How often a thing is done while a model trains.

    Args:
        value: float > 0.
        unit: "steps", "epochs", "seconds", "minutes" or "hours".
    """

    value: float
    unit: Literal["steps", "epochs", "seconds", "minutes", "hours"]

    @property
    def seconds(self) -> float | None:
        """Seconds from one time to the next, or None where it goes by steps."""
        return self.value * _SECONDS[self.unit] if self.unit in _SECONDS else None

    def steps(self, steps_per_epoch: int) -> int | None:
        """Optimizer steps >= 1 from one time to the next, or None where it goes by the clock."""
        if self.unit in _SECONDS:
            return None
        return max(1, round(self.value * (steps_per_epoch if self.unit == "epochs" else 1)))

    def __str__(self) -> str:
        return f"{self.value:.15g} {self.unit}"


def parse_interval(text: str) -> Interval:
    """An `Interval` from "500 steps", "1 epoch", "90 seconds", "10 minutes" or "2 hours".

    Args:
        text: str in one of these forms.

    Returns:
        Interval.

    Raises:
        InputError: `text` has another form, is zero, or a part of a step.

    Example:
        >>> parse_interval("10 minutes").seconds, parse_interval("0.5 epochs").steps(steps_per_epoch=100)
        (600.0, 50)
    """
    match = _INTERVAL_FORM.fullmatch(str(text))
    if match is None or float(match["value"]) == 0:
        raise InputError(
            f"an interval is '500 steps', '1 epoch', '90 seconds', '10 minutes' or '2 hours', above 0. "
            f"Received: {text!r}."
        )
    if match["unit"] == "step" and not float(match["value"]).is_integer():
        raise InputError(f"an interval in steps is a whole number. Received: {text!r}.")
    return Interval(float(match["value"]), match["unit"] + "s")
