"""Counts the zeros of a model, and preserves them during further training.

Takes any keras.Model, also a model with a SavedModel inside. Must not train.
"""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.keras_internals.layers import every_layer

_DENSE = ("depthwise", "embedding")


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """The zeros among a model's prunable weights.

    Args:
        zeros: int >= 0, weights that are exactly 0.
        weights: int >= 0, all prunable weights.
        by_kernel: tuple of (str path, float fraction in [0, 1]), for each kernel in the order of the model's variables.
    """

    zeros: int
    weights: int
    by_kernel: tuple[tuple[str, float], ...]

    @property
    def fraction(self) -> float:
        """The fraction of zeros, float in [0, 1]; 0 if nothing is prunable."""
        return self.zeros / self.weights if self.weights else 0.0


def sparsity(model: keras.Model) -> Sparsity:
    """Counts the exact zeros in the kernels of a model, including frozen ones.

    Args:
        model: keras.Model, built.

    Returns:
        Sparsity.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> sparsity(model).fraction
        0.5
    """
    kernels = list(prunable(model))
    zeros = [int(np.count_nonzero(keras.ops.convert_to_numpy(kernel) == 0)) for kernel in kernels]
    sizes = [int(np.prod(kernel.shape)) for kernel in kernels]
    fractions = tuple((kernel.path, count / size) for kernel, count, size in zip(kernels, zeros, sizes, strict=True))
    return Sparsity(sum(zeros), sum(sizes), fractions)


def prunable(model: keras.Model, *, trainable: bool = False) -> Iterable[keras.Variable]:
    """Lists the kernels of a model: floating-point variables of at least two dimensions.

    Depthwise kernels are excluded because they are the fewest and most sensitive weights of a network. Embeddings are
    excluded because their rows are looked up, not multiplied.

    Args:
        model: keras.Model.
        trainable: bool, whether to list trainable kernels only.

    Returns:
        Iterable of keras.Variable, in the order of the model's variables.
    """
    kinds = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
    depthwise = {id(layer.kernel) for layer in every_layer(model) if isinstance(layer, kinds) and layer.built}
    for variable in model.trainable_variables if trainable else model.variables:
        floating = keras.backend.is_float_dtype(variable.dtype)
        # In Hub modules and SeparableConv2D only the name identifies such a kernel.
        dense = id(variable) in depthwise or any(word in variable.path for word in _DENSE)
        if floating and len(variable.shape) >= 2 and not dense:
            yield variable


class KeepZeros(keras.constraints.Constraint):
    """Keeps the present zeros of a kernel at zero, with any optimizer.

    Args:
        kernel: keras.Variable whose zeros are kept.
    """

    def __init__(self, kernel: keras.Variable):
        self.mask = tf.constant(keras.ops.convert_to_numpy(kernel) != 0)

    def __call__(self, kernel):
        """The kernel with its zeros restored, of the same shape and dtype."""
        kernel = tf.convert_to_tensor(kernel)
        return tf.where(self.mask, kernel, tf.zeros_like(kernel))


def keep_zeros(model: keras.Model) -> None:
    """Keeps the zeros of a model during further training; call it before `compile` or `fit`.

    The constraints exist in memory only and are not saved with the model. The zeros also survive an optimizer with
    `use_ema`, because the average of zeros is zero.

    Args:
        model: keras.Model, whose trainable kernels get a constraint.

    Raises:
        InputError: a kernel already has another constraint.
    """
    for kernel in prunable(model, trainable=True):
        require_unconstrained(kernel)
        kernel.constraint = KeepZeros(kernel)
    model.train_function = None  # A step that was traced before does not apply the constraint.


def require_unconstrained(kernel: keras.Variable) -> None:
    """Raises if a kernel has a constraint that compression would replace, or that would change zeros.

    Args:
        kernel: keras.Variable.

    Raises:
        InputError: `kernel` has a constraint other than KeepZeros.
    """
    if kernel.constraint is not None and not isinstance(kernel.constraint, KeepZeros):
        raise InputError(
            f"kernel {kernel.path!r} must have no constraint to be compressed. Received: "
            f"{type(kernel.constraint).__qualname__}. Build the model without `kernel_constraint`."
        )
