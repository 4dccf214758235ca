"""What a search is asked to do: algorithm, objectives, pruning, seeds.

Frozen records that check themselves. Must not know keys of a config, and must not import TensorFlow or keras_tuner.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kerastrain.errors import InputError, is_whole_number, unknown

ALGORITHMS = ("bayesian", "grid", "hyperband", "random", "tpe")
PRUNING = ("halving", "median")


@dataclass(frozen=True)
class Objective:
    """A measure that a search makes as high or as low as it can.

    Args:
        name: str, the measure, such as "validation.accuracy".
        direction: "max" or "min", whether higher or lower is better.
        epoch: "best" or "last", the epoch whose value is the score of a training. Who trains reports that value at the end.
    """

    name: str
    direction: Literal["max", "min"]
    epoch: Literal["best", "last"] = "best"

    def __post_init__(self):
        if self.direction not in ("max", "min"):
            raise InputError(unknown("direction", self.direction, ("max", "min")))
        if self.epoch not in ("best", "last"):
            raise InputError(unknown("epoch", self.epoch, ("best", "last")))

    def loss(self, value: float) -> float:
        """The value with the sign with which lower is better.

        Args:
            value: float.

        Returns:
            float.
        """
        return value if self.direction == "min" else -value


@dataclass(frozen=True)
class Pruning:
    """When trials are ended before their last epoch.

    Args:
        name: "median" ends a trial that is worse than the median of the completed ones at the same epoch; "halving" pauses
            every trial after `min_epochs`, `min_epochs * factor`, … epochs and continues the best 1 / `factor` of them.
        min_epochs: int >= 1, epochs that every trial gets.
        factor: int >= 2, of "halving".
        startup_trials: int >= 1, trials that "median" lets complete before it ends any.
    """

    name: Literal["halving", "median"]
    min_epochs: int = 1
    factor: int = 3
    startup_trials: int = 5

    def __post_init__(self):
        if self.name not in PRUNING:
            raise InputError(unknown("pruning", self.name, PRUNING))
        for argument, least in (("min_epochs", 1), ("factor", 2), ("startup_trials", 1)):
            _require_whole_number(f"pruning.{argument}", getattr(self, argument), least)


@dataclass(frozen=True)
class Settings:
    """What a search is asked to do.

    Args:
        algorithm: "random", "grid", "bayesian", "hyperband" or "tpe".
        trials: int >= 1, the number of points; None for all points of a grid. Hyperband derives its own number.
        objectives: tuple of Objective, at least one. Several are searched for their Pareto set.
        seed: int >= 0, the seed of the algorithm.
        pruning: Pruning, or None. Hyperband has its own.
        seeds: int >= 1, the number of trainings of each finalist.
        finalists: int >= 1, the number of best points that are trained with further seeds, if `seeds` > 1.
        failures: int >= 1, how many trials in a row may fail before the search ends.
        max_epochs: int >= 1, the epochs of a whole training; needed for hyperband and halving.

    Raises:
        InputError: the settings contradict each other.
    """

    algorithm: str
    trials: int | None
    objectives: tuple[Objective, ...]
    seed: int = 0
    pruning: Pruning | None = None
    seeds: int = 1
    finalists: int = 3
    failures: int = 3
    max_epochs: int | None = None

    def __post_init__(self):
        if self.algorithm not in ALGORITHMS:
            raise InputError(unknown("search algorithm", self.algorithm, ALGORITHMS))
        for name, least in (("seed", 0), ("seeds", 1), ("finalists", 1), ("failures", 1)):
            _require_whole_number(name, getattr(self, name), least)
        if self.trials is not None or self.algorithm in ("random", "bayesian", "tpe"):
            _require_whole_number("trials", self.trials, 1)
        if self.max_epochs is not None or self.has_rungs:
            _require_whole_number("max_epochs", self.max_epochs, 1)
        self._check_objectives()
        if self.pruning and self.pruning.name == "halving" and self.pruning.min_epochs >= self.max_epochs:
            raise InputError(
                "`pruning.min_epochs` must be less than the epochs of a training for halving. Received: "
                f"{self.pruning.min_epochs}, and a training has {self.max_epochs}. Lower it, or train longer."
            )
        if self.pruning and self.algorithm in ("grid", "hyperband"):
            raise InputError(
                f"`pruning` is for random, bayesian and tpe. Received: {self.pruning.name} with {self.algorithm}. Remove it."
            )

    def _check_objectives(self) -> None:
        names = [objective.name for objective in self.objectives]
        if not names or len({*names}) < len(names):
            raise InputError(
                f"`objectives` must be at least one, and different. Received: {', '.join(names) or 'none'}."
            )
        if len(names) > 1 and (self.pruning or self.algorithm == "hyperband"):
            raise InputError(
                "`pruning` and hyperband compare trials by one objective. Received: "
                f"{', '.join(names)}. Remove pruning, or search with random, grid, bayesian or tpe."
            )

    @property
    def has_rungs(self) -> bool:
        """Whether trials pause at a number of epochs, and the better ones continue."""
        return self.algorithm == "hyperband" or (self.pruning is not None and self.pruning.name == "halving")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return {**asdict(self), "objectives": [asdict(objective) for objective in self.objectives]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Settings":
        """Returns the settings that `to_dict` described.

        Args:
            record: mapping, as from `to_dict`.

        Returns:
            Settings.
        """
        objectives = tuple(Objective(**objective) for objective in record["objectives"])
        pruning = record["pruning"] and Pruning(**record["pruning"])
        return cls(**{**record, "objectives": objectives, "pruning": pruning})


def _require_whole_number(name: str, value: object, least: int) -> None:
    if not (is_whole_number(value) and value >= least):
        raise InputError(f"`{name}` must be a whole number >= {least}. Received: {value!r}.")
