"""Low-rank adaptation: a few thousand numbers beside frozen kernels, and kernels again when training is over.

Takes any `keras.Model`; adds Keras's own LoRA to its dense, embedding and attention layers, and merges it before
export. Must not train.
"""

from collections.abc import Iterable

import keras

from kerastrain.errors import InputError, is_whole_number, unknown
from kerastrain.transfer import freezing

ADAPTABLE = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
ATTENTION = keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention


def add_lora(
    model: keras.Model, rank: int = 4, *, alpha: float | None = None, layers: Iterable[str] | None = None
) -> int:
    """Puts a low-rank pair beside the kernels of dense, embedding and attention layers, and freezes all else there.

        kernel = kernel_0 + alpha / rank · A · B          A random, B zero at the start: the model begins unchanged

    The adapted layers' biases train too. Layers outside of what is adapted, such as the head on a backbone, keep
    their state. Compile the model afterwards. A `.keras` file of an adapted model holds merged kernels and new pairs:
    its outputs are the same, the optimizer's state of the pairs is not kept.

    Args:
        model: keras.Model, built.
        rank: int >= 1, columns of A and rows of B.
        alpha: float > 0, the strength of the pair; None for `rank`, which makes the factor 1.
        layers: names of layers to adapt, each with all that lies inside it; None for the backbone, or for the whole
            of a model that has no layer named "backbone".

    Returns:
        int, how many layers were adapted.

    Raises:
        InputError: a name does not exist, `rank` is no positive whole number, or nothing can be adapted.

    Reference: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
    """
    if not is_whole_number(rank) or rank < 1:
        raise InputError(f"`rank` must be a whole number above 0. Received: {rank!r}.")
    scope = freezing.backbone_or_all(model)
    parts = [scope] if layers is None else _named(model, layers)
    adapted = {id(one): one for part in parts for one in freezing.every_layer(part) if _can_adapt(one)}
    if not adapted:
        raise InputError(
            f"{', '.join(part.name for part in parts)} of the model {model.name!r} has no Dense, EinsumDense, "
            "Embedding or attention layer to adapt. A Hub module is opaque: unfreeze it instead."
        )
    scope.trainable = True
    for layer in freezing.every_layer(scope):
        if layer.weights and id(layer) not in adapted and not isinstance(layer, keras.Model | ATTENTION):
            layer.trainable = False
    for layer in adapted.values():
        layer.trainable = True
        layer.enable_lora(rank, lora_alpha=alpha)
    _forget_traces(model)
    return len(adapted)


def merge_lora(model: keras.Model) -> int:
    """Adds every low-rank pair to its kernel and takes the pair away: the same outputs from a plain model.

    Compile it afterwards to train on; to predict and to export it needs nothing more.

    Args:
        model: keras.Model.

    Returns:
        int, how many layers were merged.
    """
    adapted = [layer for layer in freezing.every_layer(model) if getattr(layer, "lora_enabled", False)]
    for layer in adapted:
        name = "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"
        merged, own = getattr(layer, name), getattr(layer, f"_{name}")
        own.assign(merged)
        for part in ("a", "b"):
            delattr(layer, f"lora_{name}_{part}")
        layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
        own.trainable = True
    _forget_traces(model)
    return len(adapted)


def _forget_traces(model: keras.Model) -> None:
    # What Keras has traced adds the pairs that were there; it is made anew at the next call.
    model.train_function = model.test_function = model.predict_function = None


def _named(model: keras.Model, names: Iterable[str]) -> list[keras.Layer]:
    known = {layer.name: layer for layer in freezing.every_layer(model)}
    for name in names:
        if name not in known:
            raise InputError(unknown("layer", name, known))
    return [known[name] for name in names]


def _can_adapt(layer: keras.Layer) -> bool:
    return isinstance(layer, ADAPTABLE) and layer.built and not layer.lora_enabled
