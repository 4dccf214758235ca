"""Training with less memory and the same weights, and a breakdown of the memory that a step uses."""

from kerastrain.memory.breakdown import LayerMemory, Report, report
from kerastrain.memory.micro_batches_and_remat import accumulate, remat, split_when_full
from kerastrain.memory.updates import update_one_by_one

__all__ = ["LayerMemory", "Report", "accumulate", "remat", "report", "split_when_full", "update_one_by_one"]
