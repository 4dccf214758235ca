"""Hyperparameter search: finds the settings of a training with the best score."""

from kerastrain.tuning.assignments import Assignment, assignment
from kerastrain.tuning.oracles import oracle
from kerastrain.tuning.search import Trial, search
from kerastrain.tuning.settings import ALGORITHMS, Objective, Pruning, Settings
from kerastrain.tuning.space import Choices, Condition, Interval, Space

__all__ = [
    "ALGORITHMS",
    "Assignment",
    "Choices",
    "Condition",
    "Interval",
    "Objective",
    "Pruning",
    "Settings",
    "Space",
    "Trial",
    "assignment",
    "oracle",
    "search",
]
