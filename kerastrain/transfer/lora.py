"""Low-rank adaptation: trains a few thousand numbers beside frozen kernels, and merges them afterwards.

Takes any `keras.Model`; adds Keras's own LoRA to its dense, embedding and attention layers, and merges it before
export. Must not train.
"""

import logging
from collections.abc import Iterable

import keras

from kerastrain.errors import InputError, is_whole_number, unknown
from kerastrain.keras_internals import lora
from kerastrain.keras_internals.layers import every_layer
from kerastrain.transfer import freezing

logger = logging.getLogger("kerastrain")

ADAPTABLE = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)


def add_lora(
    model: keras.Model, rank: int = 4, *, alpha: float | None = None, layers: Iterable[str] | None = None
) -> int:
    """Adds low-rank pairs to dense, embedding and attention layers of the backbone, and freezes its other weights.

        kernel = kernel_0 + alpha / rank · A · B          A random, B zero at the start: the outputs do not change

    The biases of the adapted layers train too. Layers outside the backbone, such as the head, keep their state. Compile
    the model afterwards. A `.keras` file of an adapted model holds merged kernels and new pairs: its outputs are the
    same, but the optimizer's state of the pairs is lost.

    Args:
        model: keras.Model, built.
        rank: int >= 1, columns of A and rows of B.
        alpha: float > 0, the strength of the pair; None for `rank`, which makes the factor 1.
        layers: iterable of str, names of the layers to adapt, together with all layers inside them; None for the
            backbone, or the whole model if it has no layer named "backbone".

    Returns:
        int >= 1, the number of adapted layers.

    Raises:
        InputError: a name does not exist, `rank` is not a positive whole number, or no layer can be adapted.

    Reference: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
    """
    if not is_whole_number(rank) or rank < 1:
        raise InputError(f"`rank` must be a whole number above 0. Received: {rank!r}.")
    scope = freezing.backbone_or_all(model)
    parts = [scope] if layers is None else _named(model, layers)
    adapted = {id(layer): layer for part in parts for layer in every_layer(part) if _can_adapt(layer)}
    if not adapted:
        raise InputError(
            f"{', '.join(part.name for part in parts)} of the model {model.name!r} has no Dense, EinsumDense, "
            "Embedding or attention layer to adapt. A Hub module is opaque: unfreeze it instead."
        )
    for part in parts if layers is not None else ():
        if not any(id(layer) in adapted for layer in every_layer(part)):
            logger.warning(
                "the layer %r gets no LoRA matrices: no dense, embedding or attention kernel is in it", part.name
            )
    scope.trainable = True
    for layer in every_layer(scope):
        # A layer that holds adapted ones, such as a model or a block of attention, passes their gradients on.
        if layer.weights and not any(id(inner) in adapted for inner in every_layer(layer)):
            layer.trainable = False
    for layer in adapted.values():
        layer.trainable = True
        layer.enable_lora(rank, lora_alpha=alpha)
    _reset_traces(model)
    return len(adapted)


def merge_lora(model: keras.Model) -> int:
    """Adds every low-rank pair to its kernel and removes the pair: the outputs stay the same.

    Compile the model to continue training; predicting and exporting need nothing more.

    Args:
        model: keras.Model, with or without low-rank pairs.

    Returns:
        int >= 0, the number of merged layers.
    """
    adapted = [layer for layer in every_layer(model) if getattr(layer, "lora_enabled", False)]
    for layer in adapted:
        lora.merge(layer)
    _reset_traces(model)
    return len(adapted)


def _reset_traces(model: keras.Model) -> None:
    # The functions that Keras has traced still use the layers as they were; it traces new ones at the next call.
    model.train_function = model.test_function = model.predict_function = None


def _named(model: keras.Model, names: Iterable[str]) -> list[keras.Layer]:
    known = {layer.name: layer for layer in every_layer(model)}
    for name in names:
        if name not in known:
            raise InputError(unknown("layer", name, known))
    return [known[name] for name in names]


def _can_adapt(layer: keras.Layer) -> bool:
    return isinstance(layer, ADAPTABLE) and layer.built and not layer.lora_enabled
