"""Finders measure, before a model trains, which backbone, learning rate, batch size, precision and XLA setting
suit the data and this machine.

Each leaves the model unchanged, bit for bit.
"""

from kerastrain.finders.acceleration import StepTiming, fastest, precisions, reason_against_measuring, step_seconds
from kerastrain.finders.backbone_ranking import BackboneProbe, BackboneRanking, RankedBackbone, rank_backbones
from kerastrain.finders.batch_size_search import BatchSizes, BatchTrial, batch_size, plot_batch_sizes
from kerastrain.finders.linear_probe import linear_probe
from kerastrain.finders.range_test import RangeTest, learning_rate, plot_rates
from kerastrain.finders.step_memory import step_memory

__all__ = [
    "BackboneProbe",
    "BackboneRanking",
    "BatchSizes",
    "BatchTrial",
    "RangeTest",
    "RankedBackbone",
    "StepTiming",
    "batch_size",
    "fastest",
    "learning_rate",
    "linear_probe",
    "plot_batch_sizes",
    "plot_rates",
    "precisions",
    "rank_backbones",
    "reason_against_measuring",
    "step_memory",
    "step_seconds",
]
