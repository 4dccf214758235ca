"""How much of a model is zero, and how its zeros are kept through further training.

Takes any keras.Model, also those with a SavedModel inside. Must not train.
"""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError

_KEPT_DENSE = ("depthwise", "embedding")


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """The zeros among a model's prunable weights.

    Args:
        zeros: int, weights that are exactly 0.
        weights: int, all prunable weights.
        by_kernel: tuple of (path, fraction), for each kernel in the model's order.
    """

    zeros: int
    weights: int
    by_kernel: tuple[tuple[str, float], ...]

    @property
    def fraction(self) -> float:
        """The share of zeros, float in [0, 1]; 0 where nothing is prunable."""
        return self.zeros / self.weights if self.weights else 0.0


def sparsity(model: keras.Model) -> Sparsity:
    """Counts the exact zeros in the kernels of `model`, frozen ones included.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> sparsity(model).fraction
        0.5
    """
    kernels = list(prunable(model))
    zeros = [int(np.count_nonzero(keras.ops.convert_to_numpy(kernel) == 0)) for kernel in kernels]
    sizes = [int(np.prod(kernel.shape)) for kernel in kernels]
    shares = tuple((kernel.path, zero / size) for kernel, zero, size in zip(kernels, zeros, sizes, strict=True))
    return Sparsity(sum(zeros), sum(sizes), shares)


def prunable(model: keras.Model, *, trainable: bool = False) -> Iterable[keras.Variable]:
    """The kernels of `model`: floating point, of two dimensions and more; only those that train, if so wanted.

    Depthwise kernels are left dense, being the fewest and most sensitive weights of a network, and so are embeddings,
    whose rows are looked up, not multiplied.
    """
    kinds = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    depthwise = {id(layer.kernel) for layer in model._flatten_layers() if isinstance(layer, kinds) and layer.built}
    for variable in model.trainable_variables if trainable else model.variables:
        floating = keras.backend.is_float_dtype(variable.dtype)
        # Inside a Hub module, and in a SeparableConv2D, only the name tells.
        kept = id(variable) in depthwise or any(word in variable.path for word in _KEPT_DENSE)
        if floating and len(variable.shape) >= 2 and not kept:
            yield variable


class KeepZeros(keras.constraints.Constraint):
    """Holds a kernel's present zeros at zero, whatever optimizer trains it.

    Args:
        kernel: keras.Variable whose zeros are held.
    """

    def __init__(self, kernel: keras.Variable):
        self.mask = tf.constant(keras.ops.convert_to_numpy(kernel) != 0)

    def __call__(self, kernel):
        """The kernel with its zeros put back."""
        kernel = tf.convert_to_tensor(kernel)
        return tf.where(self.mask, kernel, tf.zeros_like(kernel))


def keep_zeros(model: keras.Model) -> None:
    """Makes further training of `model` leave its zeros alone; call it before `compile` or `fit`.

    It marks the model given, in memory only: a saved model is loaded without the hold. An optimizer with `use_ema` averages
    zeros with zeros, so they last.

    Raises:
        InputError: a kernel has a constraint of its own.
    """
    for kernel in prunable(model, trainable=True):
        require_unconstrained(kernel)
        kernel.constraint = KeepZeros(kernel)
    model.train_function = None  # A traced step would know nothing of the constraint.


def require_unconstrained(kernel: keras.Variable) -> None:
    """Refuses a kernel whose constraint would be lost, or would undo the zeros.

    Raises:
        InputError: `kernel` has a constraint that is not of this package.
    """
    if kernel.constraint is not None and not isinstance(kernel.constraint, KeepZeros):
        raise InputError(
            f"kernel {kernel.path!r} must have no constraint to be compressed. Received: "
            f"{type(kernel.constraint).__qualname__}. Build the model without `kernel_constraint`."
        )
