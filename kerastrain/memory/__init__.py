"""Training that needs less memory and ends with the same weights, and an account of where the memory goes."""

from kerastrain.memory.breakdown import LayerMemory, Report, report
from kerastrain.memory.micro_batches_and_remat import accumulate, remat, split_when_full

__all__ = ["LayerMemory", "Report", "accumulate", "remat", "report", "split_when_full"]
