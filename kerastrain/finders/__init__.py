"""Finders: the learning rate, the batch size, precision and XLA that suit a model on this machine, measured before it trains.

Each leaves the model bit by bit as it was.
"""

from kerastrain.finders.acceleration import StepTiming, fastest, precisions, reason_against_measuring, step_seconds
from kerastrain.finders.batch_size_search import BatchSizes, BatchTrial, batch_size, plot_batch_sizes
from kerastrain.finders.range_test import RangeTest, learning_rate, plot_rates
from kerastrain.finders.step_memory import step_memory

__all__ = [
    "BatchSizes",
    "BatchTrial",
    "RangeTest",
    "StepTiming",
    "batch_size",
    "fastest",
    "learning_rate",
    "plot_batch_sizes",
    "plot_rates",
    "precisions",
    "reason_against_measuring",
    "step_memory",
    "step_seconds",
]
