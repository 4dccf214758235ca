"""Lengths of training as people say them: "2 epochs", "500 steps", "5%".

Takes a string or a number, gives optimizer steps. Must not import TensorFlow.
"""

import re
from dataclasses import dataclass
from typing import Literal

from kerastrain.errors import InputError

_FORM = re.compile(r"\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>steps?|epochs?|%)?\s*")


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
        return f"{self.value:g}%" if self.unit == "%" else f"{self.value:g} {self.unit}"


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
