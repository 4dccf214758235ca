"""The settings of a hyperparameter search.

Frozen pydantic records, like the sections of a run. Must not import TensorFlow.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from kerastrain.config import search_space, typed
from kerastrain.config.search_space import SearchedKey, Value
from kerastrain.config.values import AsTyped, Count, Meaning, Positive, Section
from kerastrain.evaluation import catalog
from kerastrain.tuning import constraints as constraint_texts

TRIALS = 10
"""Points of a search where `trials` is null."""

_LOGGED = {"val_accuracy": "validation.accuracy", "val_loss": "validation.loss"}  # Keras's names


class ObjectiveConfig(Section):
    """A measure that a search makes as high or as low as it can."""

    measure: Annotated[str, Field(min_length=1)]
    """A measure of the validation part by its place in metrics.json, such as validation.macro.f1; model.parameters; or, of an
    exported file, export.tflite_int8.bytes or export.tflite_int8.milliseconds."""
    epoch: Literal["best", "last"] = "best"
    """The epoch of each trial whose value counts."""
    direction: Literal["max", "min"] | None = None
    """Whether higher or lower values are better. Null means as usual for the measure."""

    @field_validator("measure")
    @classmethod
    def _read_names_of_keras(cls, measure):
        return _LOGGED.get(measure, measure)

    @field_validator("direction")
    @classmethod
    def _take_usual_direction(cls, direction, info):
        return direction or (catalog.direction(info.data["measure"]) if "measure" in info.data else None)

    # The usual direction is the default.
    model_config = {"validate_default": True}


class PruningConfig(Section):
    """When trials are ended before their last epoch."""

    name: Literal["median", "halving"]
    """median ends a trial whose objective is worse than the median of the others at the same epoch. halving pauses each trial
    after min_epochs epochs, factor times as many, and so on, and continues the best of every `factor` trials."""
    min_epochs: Annotated[int, Field(gt=0)] = 1
    """Epochs that every trial gets."""
    factor: Annotated[int, Field(ge=2)] = 3
    """Only for halving: one of so many trials continues."""
    startup_trials: Annotated[int, Field(gt=0)] = 5
    """Only for median: trials that are complete before any is ended."""


class SearchConfig(Section):
    """What `kerastrain tune` tries and how it ranks the trials."""

    algorithm: Literal["random", "grid", "bayesian", "hyperband", "tpe"] = "random"
    """Search algorithm. "bayesian" and "hyperband" are keras-tuner's; "tpe" is hyperopt's tree-structured Parzen estimator and
    needs the extra `tpe`; "grid" tries every combination."""
    trials: Annotated[int, Field(gt=0)] | None = Field(default=None, validate_default=True)
    """Number of points to try. Null means 10, and every point for grid. hyperband derives its own number from the epochs."""
    objective: Annotated[
        str | ObjectiveConfig | Annotated[list[str | ObjectiveConfig], Field(min_length=1)],
        Meaning("the name of a measure, a section with the keys measure, epoch, direction, or a list of these"),
    ] = "validation.accuracy"
    """The measure that ranks the trials, taken from each trial's best epoch; or a section with measure, epoch and direction. A
    list of several is searched for the trials that are best in at least one way (Pareto)."""
    space: Annotated[dict[str, SearchedKey | Annotated[list[Value], Field(min_length=1)]], AsTyped] = {}
    """Config keys to search, such as `optimizer.learning_rate`, each with an interval or a list of choices."""
    constraints: tuple[str, ...] = ()
    """Conditions that every point meets, such as `optimizer.learning_rate * fit.global_batch_size <= 1`. A key that is not
    searched has its value of the recipe."""
    pruning: PruningConfig | None = None
    """Ends bad trials early: median, halving, or a section. Only for random, bayesian and tpe with one objective."""
    seeds: Annotated[int, Field(gt=0)] = 1
    """Trainings of each finalist, which differ by `runtime.seed`."""
    finalists: Annotated[int, Field(gt=0)] = 3
    """The number of best points that are trained with all seeds, if there are several."""
    keep_models: Count = 1
    """The number of best points whose models stay on disk."""
    minutes: Positive | None = None
    """Time limit of the search in minutes. Null means none."""
    trial_minutes: Positive | None = None
    """Time limit of a trial in minutes; a trial that exceeds it counts as failed. Null means none."""
    failures: Annotated[int, Field(gt=0)] = 3
    """Failed trials in a row that end the search."""

    @property
    def objectives(self) -> tuple[ObjectiveConfig, ...]:
        """All objectives, each with its direction."""
        written = self.objective if isinstance(self.objective, list) else [self.objective]
        return tuple(ObjectiveConfig(measure=each) if isinstance(each, str) else each for each in written)

    @property
    def parameters(self) -> dict:
        """The space as records of `kerastrain.tuning`: a mapping from each key to its Interval or Choices."""
        return {
            key: (SearchedKey(choices=entry) if isinstance(entry, list) else entry).parameter()
            for key, entry in self.space.items()
        }

    @field_validator("trials")
    @classmethod
    def _take_usual_trials(cls, trials, info):
        return TRIALS if trials is None and info.data.get("algorithm") in ("random", "bayesian", "tpe") else trials

    @field_validator("space", mode="before")
    @classmethod
    def _read_by_the_types_of_the_keys(cls, space):
        if not isinstance(space, Mapping):
            return typed.resolve(space, dict, lambda path, sentence: None)
        return search_space.read(space)

    @field_validator("constraints", mode="before")
    @classmethod
    def _read_a_single_constraint(cls, constraints):
        return (constraints,) if isinstance(constraints, str) and constraints else constraints

    @field_validator("constraints")
    @classmethod
    def _check_constraints(cls, constraints):
        for text in constraints:
            constraint_texts.parse(text)
        return constraints

    @field_validator("pruning", mode="before")
    @classmethod
    def _read_the_name_of_a_pruning(cls, pruning):
        return {"name": pruning} if isinstance(pruning, str) and pruning else pruning
