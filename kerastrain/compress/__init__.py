"""Smaller models from trained ones: kernels of exact zeros or of few values, and networks that are trained to be integers.

`prune`, `cluster` and `quantize_aware` give a new model and can follow each other; `sparsity` and `distinct_values` tell what
a model is, `keep_zeros` and `keep_clusters` hold it through further training. The integers are written by `export.tflite`.
"""

from kerastrain.compress.clustering import cluster
from kerastrain.compress.clusters import distinct_values, keep_clusters
from kerastrain.compress.pruning import prune
from kerastrain.compress.quantize_aware import quantize_aware
from kerastrain.compress.sparsity_schedules import Polynomial
from kerastrain.compress.zeros import Sparsity, keep_zeros, sparsity

__all__ = [
    "Polynomial",
    "Sparsity",
    "cluster",
    "distinct_values",
    "keep_clusters",
    "keep_zeros",
    "prune",
    "quantize_aware",
    "sparsity",
]
