"""Callbacks that act around the epochs of a training: one class per file, and `standard` for the usual list."""

from kerastrain.callbacks.average_weights import AverageWeights
from kerastrain.callbacks.best_checkpoint import BestCheckpoint
from kerastrain.callbacks.checkpoints import Checkpoints
from kerastrain.callbacks.early_stopping import EarlyStopping
from kerastrain.callbacks.end_worse_phase import EndWorsePhase
from kerastrain.callbacks.epoch_measures import EpochMeasures
from kerastrain.callbacks.epoch_report import EpochReport, Paused
from kerastrain.callbacks.history_file import HistoryFile
from kerastrain.callbacks.progress import Progress
from kerastrain.callbacks.reduce_on_plateau import ReduceOnPlateau
from kerastrain.callbacks.standard import standard
from kerastrain.callbacks.terminate_on_nonfinite import TerminateOnNonFinite

__all__ = [
    "AverageWeights",
    "TerminateOnNonFinite",
    "BestCheckpoint",
    "Checkpoints",
    "EarlyStopping",
    "EndWorsePhase",
    "EpochMeasures",
    "EpochReport",
    "HistoryFile",
    "Paused",
    "Progress",
    "ReduceOnPlateau",
    "standard",
]
