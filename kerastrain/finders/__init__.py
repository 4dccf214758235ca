"""Finders: the learning rate and the batch size that suit a model on this machine, measured before it is trained.

Each leaves the model bit by bit as it was.
"""

from kerastrain.finders.batches import BatchSizes, BatchTrial, batch_size, plot_batch_sizes
from kerastrain.finders.rates import RangeTest, learning_rate, plot_rates

__all__ = ["BatchSizes", "BatchTrial", "RangeTest", "batch_size", "learning_rate", "plot_batch_sizes", "plot_rates"]
