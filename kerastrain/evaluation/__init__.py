"""How good a classifier is: metrics to follow while training, and exact measures over whole data sets afterwards.

Takes a `keras.Model` and batches of (images, labels), or plain arrays of labels and probabilities; gives plain dicts
that JSON can say, and a table for the terminal. Must not train, and must not change the model it measures.
"""

from kerastrain.evaluation.data_sets import evaluate, report
from kerastrain.evaluation.keras_metrics import RocAuc, metrics
from kerastrain.evaluation.measures import measure
from kerastrain.evaluation.tables import table

__all__ = ["RocAuc", "evaluate", "measure", "metrics", "report", "table"]
