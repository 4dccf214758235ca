"""Smaller models from trained ones: kernels of exact zeros here, integers in `export.tflite`.

`prune` gives a new model, `sparsity` counts its zeros, `keep_zeros` holds them through further training.
"""

from kerastrain.compress.pruning import prune
from kerastrain.compress.sparsity_schedules import Polynomial
from kerastrain.compress.zeros import Sparsity, keep_zeros, sparsity

__all__ = ["Polynomial", "Sparsity", "keep_zeros", "prune", "sparsity"]
