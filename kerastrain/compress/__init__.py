"""Makes trained models smaller: channel pruning, weight pruning, weight sharing, quantization and distillation.

`prune_channels`, `prune`, `cluster` and `quantize_aware` return a new model and can be chained in this order. `distill`
trains a small student; `propose_students` finds architectures of the right size. `FineTuning` holds the training options
of all five. `multiply_adds`, `sparsity` and `distinct_values` measure a model, `remaining_parameters` what `prune_channels`
would leave of it. `keep_zeros` and `keep_clusters` preserve
its zeros and shared values during further training. `require_removable_channels` and `require_int8_layers` raise
before a long chain of steps starts, instead of in its last step. `export.tflite` writes the integers.
"""

from kerastrain.compress.channel_dependencies import multiply_adds
from kerastrain.compress.channel_pruning import prune_channels, remaining_parameters, require_removable_channels
from kerastrain.compress.clustering import cluster
from kerastrain.compress.distillation import distill
from kerastrain.compress.fine_tuning import FineTuning
from kerastrain.compress.pruning import prune
from kerastrain.compress.quantize_aware import quantize_aware, require_int8_layers
from kerastrain.compress.sparsity_masks import Sparsity, keep_zeros, sparsity
from kerastrain.compress.sparsity_schedules import Polynomial
from kerastrain.compress.students import Proposal, propose_students
from kerastrain.compress.weight_sharing import distinct_values, keep_clusters

__all__ = [
    "FineTuning",
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
    "remaining_parameters",
    "require_int8_layers",
    "require_removable_channels",
    "sparsity",
]
