"""Finders measure, before a model trains, which learning rate, batch size, precision and XLA setting suit it on this machine.

Each leaves the model unchanged, bit for bit.
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
