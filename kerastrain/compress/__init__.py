"""Smaller models from trained ones: kernels of zeros or of few values, networks trained to be integers, small students.

`prune`, `cluster` and `quantize_aware` give a new model and can follow each other; `distill` teaches a small one, whose size
`propose_students` finds. `sparsity` and `distinct_values` tell what a model is, `keep_zeros` and `keep_clusters` hold it
through further training. The integers are written by `export.tflite`.
"""

from kerastrain.compress.clustering import cluster
from kerastrain.compress.clusters import distinct_values, keep_clusters
from kerastrain.compress.distillation import distill
from kerastrain.compress.pruning import prune
from kerastrain.compress.quantize_aware import quantize_aware
from kerastrain.compress.sparsity_schedules import Polynomial
from kerastrain.compress.students import Proposal, propose_students
from kerastrain.compress.zeros import Sparsity, keep_zeros, sparsity

__all__ = [
    "Polynomial",
    "Proposal",
    "Sparsity",
    "cluster",
    "distill",
    "distinct_values",
    "keep_clusters",
    "keep_zeros",
    "propose_students",
    "prune",
    "quantize_aware",
    "sparsity",
]
