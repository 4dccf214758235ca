"""How good a model is: metrics to follow while training, and exact measures over whole data sets afterwards.

Takes a `keras.Model` and batches of (inputs, targets), or plain arrays of targets and predictions; gives plain dicts
that JSON can say, and a table for the terminal. Must not train, and must not change the model it measures.
"""

from kerastrain.evaluation import multi_label, regression
from kerastrain.evaluation.data_sets import evaluate, report
from kerastrain.evaluation.keras_metrics import LabelsF1, RocAuc, metrics
from kerastrain.evaluation.scores import MEASURES, score
from kerastrain.evaluation.single_label import measure
from kerastrain.evaluation.tables import table

__all__ = [
    "MEASURES",
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
