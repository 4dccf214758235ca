"""Finders measure, before a model trains, which backbone, learning rate, batch size, precision and XLA setting
suit the data and this machine.

Each leaves the model unchanged, bit for bit.
"""

from kerastrain.finders.acceleration import (
    StepTiming,
    fastest,
    precisions,
    reason_against_measuring,
    reason_against_xla,
    step_seconds,
)
from kerastrain.finders.backbone_ranking import BackboneProbe, BackboneRanking, RankedBackbone, rank_backbones
from kerastrain.finders.batch_size_search import BatchSizes, BatchTrial, batch_size, plot_batch_sizes
from kerastrain.finders.linear_probe import linear_probe
from kerastrain.finders.measured_choices import described, machine, recall, remember
from kerastrain.finders.range_test import RangeTest, learning_rate, plot_rates
from kerastrain.finders.step_memory import step_memory
from kerastrain.finders.trial_costs import least_steps, predicted_step_seconds, reason_against_trials

__all__ = [
    "BackboneProbe",
    "BackboneRanking",
    "BatchSizes",
    "BatchTrial",
    "RangeTest",
    "RankedBackbone",
    "StepTiming",
    "batch_size",
    "described",
    "fastest",
    "learning_rate",
    "least_steps",
    "linear_probe",
    "machine",
    "plot_batch_sizes",
    "plot_rates",
    "precisions",
    "predicted_step_seconds",
    "rank_backbones",
    "reason_against_measuring",
    "reason_against_trials",
    "reason_against_xla",
    "recall",
    "remember",
    "step_memory",
    "step_seconds",
]
