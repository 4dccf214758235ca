"""How good a model is: metrics during training, and exact measures over whole datasets afterwards.

Takes a `keras.Model` and a dataset of (inputs, targets), or arrays of targets and predictions; returns dicts that can be
written as JSON, and a table for the terminal. Must not train, and must not change the model it measures.
"""

from kerastrain.evaluation import multi_label, regression
from kerastrain.evaluation.data_sets import evaluate, report
from kerastrain.evaluation.keras_metrics import DataLoss, LabelsF1, RocAuc, metrics
from kerastrain.evaluation.scores import MEASURES, score
from kerastrain.evaluation.single_label import measure
from kerastrain.evaluation.tables import table

__all__ = [
    "MEASURES",
    "DataLoss",
    "LabelsF1",
    "RocAuc",
    "evaluate",
    "measure",
    "metrics",
    "multi_label",
    "regression",
    "report",
    "score",
    "table",
]
