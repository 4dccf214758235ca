"""The settings of a hyperparameter search.

Frozen pydantic records, like the sections of a run. Must not import TensorFlow.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kerastrain.config import typed
from kerastrain.config.expectations import shown
from kerastrain.config.sections import Config
from kerastrain.config.values import AsTyped, Meaning, Section

Choice = Annotated[bool | float | int | str, Meaning("a single value")]


class Range(Section):
    """An interval of numbers to search."""

    min: float
    """Smallest value, included."""
    max: float
    """Largest value, included."""
    sampling: Literal["linear", "log"] = "linear"
    """Distribution of random values: uniform (linear) or log-uniform (log, which needs min > 0)."""
    integer: bool = False
    """Whether only whole numbers are tried."""

    @model_validator(mode="after")
    def _check_ends(self):
        if not self.min < self.max:
            raise ValueError(f"min must be less than max. Received: {self.min:g} and {self.max:g}.")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError(f"min must be > 0 under log sampling. Received: {self.min:g}.")
        return self


class SearchConfig(Section):
    """What `kerastrain tune` tries and how it ranks the trials."""

    algorithm: Literal["random", "bayesian", "hyperband", "tpe"] = "random"
    """Search algorithm of keras-tuner. "tpe" is hyperopt's tree-structured Parzen estimator and needs the extra `tpe`."""
    trials: Annotated[int, Field(gt=0)] = 10
    """Number of configs to try. hyperband ignores it and derives its own number from `fit.epochs`, null
    meaning 10."""
    objective: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    """Metric that ranks the trials, taken from each trial's best epoch."""
    space: Annotated[dict[str, Range | Annotated[list[Choice], Field(min_length=1)]], Field(min_length=1), AsTyped]
    """Config keys to search, such as `optimizer.learning_rate`, each with an interval or a list of choices."""

    @field_validator("space", mode="before")
    @classmethod
    def _read_by_the_types_of_the_keys(cls, space):
        if not isinstance(space, Mapping):
            return typed.resolve(space, dict, _ignored)
        return {str(key): _choices(str(key), choice) for key, choice in space.items()}


def _choices(key: str, choice: object) -> object:
    """Returns choices in the type of their key, and an interval in numbers."""
    if isinstance(choice, Mapping) and key in Config.model_fields:
        raise ValueError(f"keys must be written whole, such as {key}.{next(iter(choice), 'KEY')}. Received: {key}.")
    annotation = typed.annotation_at(Config, key) if isinstance(choice, list) else Range
    choice = typed.resolve(choice, list[annotation] if isinstance(choice, list) else annotation, _ignored)
    if (
        not choice
        or not isinstance(choice, list)
        or not all(isinstance(value, (bool, int, float, str)) for value in choice)
    ):
        return choice
    kinds = {type(value) for value in choice}
    if kinds == {int, float}:
        return [float(value) for value in choice]
    if len(kinds) != 1 or len(set(choice)) != len(choice):
        raise ValueError(
            f"the choices of {key} must differ, and be all numbers, all texts, or all true and false. Received: "
            f"{shown(choice)}."
        )
    return choice


def _ignored(path: str, sentence: str) -> None:
    """Leaves a fault to the validation."""
