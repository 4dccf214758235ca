"""Hyperparameter search: finds the settings of a training with the best score."""

from kerastrain.tuning.search import ORACLES, Interval, Trial, search

__all__ = ["ORACLES", "Interval", "Trial", "search"]
