"""Smaller models from trained ones: fewer channels, zeros, few values, networks of integers, small students.

`prune_channels`, `prune`, `cluster` and `quantize_aware` give a new model and can follow each other in this order;
`distill` teaches a small one, whose size `propose_students` finds. `multiply_adds`, `sparsity` and `distinct_values` tell
what a model is, `keep_zeros` and `keep_clusters` hold it through further training; `require_removable_channels` and
`require_int8_layers` refuse at once what would be refused after hours of other steps. `export.tflite` writes the integers.
"""

from kerastrain.compress.channel_dependencies import multiply_adds
from kerastrain.compress.channel_pruning import prune_channels, require_removable_channels
from kerastrain.compress.clustering import cluster
from kerastrain.compress.distillation import distill
from kerastrain.compress.pruning import prune
from kerastrain.compress.quantize_aware import quantize_aware, require_int8_layers
from kerastrain.compress.sparsity_masks import Sparsity, keep_zeros, sparsity
from kerastrain.compress.sparsity_schedules import Polynomial
from kerastrain.compress.students import Proposal, propose_students
from kerastrain.compress.weight_sharing import distinct_values, keep_clusters

__all__ = [
    "Polynomial",
    "Proposal",
    "Sparsity",
    "cluster",
    "distill",
    "distinct_values",
    "keep_clusters",
    "keep_zeros",
    "multiply_adds",
    "propose_students",
    "prune",
    "prune_channels",
    "quantize_aware",
    "require_int8_layers",
    "require_removable_channels",
    "sparsity",
]
