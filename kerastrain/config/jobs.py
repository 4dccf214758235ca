"""The settings of a search over many runs.

Frozen pydantic records, like the sections of a run. Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain.config.values import Section


class Range(Section):
    """An interval of numbers to search."""

    min: float
    max: float
    sampling: Literal["linear", "log"] = "linear"
    """Whether equal steps or equal factors are equally likely; log needs min > 0."""
    integer: bool = False

    @model_validator(mode="after")
    def _is_an_interval(self):
        if not self.min < self.max:
            raise ValueError(f"min must be less than max. Received: {self.min:g} and {self.max:g}.")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError(f"min must be > 0 under log sampling. Received: {self.min:g}.")
        return self


class SearchConfig(Section):
    """What `kerastrain tune` tries, and how it chooses."""

    algorithm: Literal["random", "bayesian", "hyperband", "tpe"] = "random"
    """The algorithm of keras-tuner; "tpe" is hyperopt's tree-structured Parzen estimator, with the extra `tpe`."""
    trials: Annotated[int, Field(gt=0)] = 10
    """Configs tried; hyperband sets its own number from `fit.epochs`."""
    objective: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    """The validation value of a trial's best epoch that ranks it."""
    space: Annotated[dict[str, Range | list[float | int | str]], Field(min_length=1)]
    """Config keys such as `optimizer.learning_rate`, each with an interval or a list of choices."""
