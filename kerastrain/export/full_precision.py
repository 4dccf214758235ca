"""Computes a model of half precision in float32, for formats without the operations of bfloat16.

Takes a keras.Model. Its weights are float32 already; only the layers' dtype policies change, and are restored.
"""

import contextlib
import logging
from collections.abc import Iterator

import keras

from kerastrain.keras_internals.layers import every_layer

logger = logging.getLogger("kerastrain")

_HALF = ("bfloat16", "float16")


@contextlib.contextmanager
def full_precision(model: keras.Model) -> Iterator[None]:
    """Lets the layers of `model` that compute in bfloat16 or float16 compute in float32 inside the context.

    Args:
        model: keras.Model, changed inside the context.

    Yields:
        None.

    Example:
        >>> with full_precision(model):  # doctest: +SKIP
        ...     outputs = model.predict(images)
    """
    policies = [(layer, layer.dtype_policy) for layer in every_layer(model) if layer.compute_dtype in _HALF]
    if policies:
        logger.info("the model computes in %s, the file in float32", policies[0][0].compute_dtype)
    try:
        _set((layer, keras.DTypePolicy("float32")) for layer, _ in policies)
        _forget_graph(model, policies)
        yield
    finally:
        _set(policies)
        _forget_graph(model, policies)


def _set(policies) -> None:
    for layer, policy in policies:
        layer.dtype_policy = policy


def _forget_graph(model: keras.Model, policies) -> None:
    """`predict` would otherwise run the graph of the other precision."""
    if policies:
        model.predict_function = None
