"""Search for the settings of a training that score best."""

from kerastrain.tuning.search import ORACLES, Interval, Trial, search

__all__ = ["ORACLES", "Interval", "Trial", "search"]
