"""The settings of a hyperparameter search.

Frozen pydantic records, like the sections of a run. Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kerastrain.config.values import Section


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
    """Number of configs to try. hyperband ignores it and derives its own number from `fit.epochs`."""
    objective: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    """Metric that ranks the trials, taken from each trial's best epoch."""
    space: Annotated[dict[str, Range | list[float | int | str]], Field(min_length=1)]
    """Config keys to search, such as `optimizer.learning_rate`, each with an interval or a list of choices."""
