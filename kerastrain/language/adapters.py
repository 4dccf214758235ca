"""Adapters of language models: low-rank pairs beside the dense layers of the blocks, which alone train.

Takes a `keras.Model` from `decoders.build` and changes which of its weights exist and train. The pairs are weights of their
own: they are saved as such, and neither the file of a model nor a resumed training loses them or the optimizer's state of
them. Must not read or write files.
"""

import contextlib
import gc
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number
from kerastrain.layers.decoder import LINEAR, DecoderBlock
from kerastrain.layers.low_rank import LowRankPair
from kerastrain.presets import decoder_choices

PRECISIONS = ("int8", "int4")
"""The types that `quantize` stores kernels in."""

_INT4_GROUP = 128  # inputs that share a scale, Keras's default


def add(
    model: keras.Model,
    rank: int = 8,
    *,
    alpha: float | None = None,
    dropout: float = 0.0,
    layers: str | Sequence[str] | None = None,
    rank_stabilized: bool = False,
) -> int:
    """Adds low-rank pairs to dense layers of the blocks; nothing else trains, biases and normalizations included.

        y = x · W + b + scale · dropout(x) · A · B          scale = alpha / rank, or alpha / sqrt(rank) if rank_stabilized

    B is zero at the start, so that the outputs do not change. Compile the model afterwards.

    Args:
        model: keras.Model from `decoders.build`, without adapters; its kernels may be quantized, see `quantize`.
        rank: int >= 1, the columns of A and the rows of B.
        alpha: float > 0, the strength of the pairs; None for `rank`.
        dropout: float in [0, 1), the share of inputs that the pairs do not see in training.
        layers: str or sequence of str, regular expressions of which one must be found in the path of a kernel, such as
            "query|value" or "block_(2[0-9])/"; None for all dense layers of the blocks.
        rank_stabilized: bool, whether the scale is alpha / sqrt(rank), which suits high ranks.

    Returns:
        int >= 1, the number of pairs.

    Raises:
        InputError: an argument is out of range, a regular expression is invalid or found in no path, or the model has adapters.

    References: Hu et al. 2021, https://arxiv.org/abs/2106.09685; Kalajdzievski 2023, https://arxiv.org/abs/2312.03732.
    """
    if not is_whole_number(rank) or rank < 1:
        raise InputError(f"`rank` must be a whole number above 0. Received: {rank!r}.")
    alpha = rank if alpha is None else alpha
    if not alpha > 0:
        raise InputError(f"`alpha` must be above 0. Received: {alpha!r}.")
    if not 0 <= dropout < 1:
        raise InputError(f"`dropout` must lie in [0, 1). Received: {dropout!r}.")
    chosen = decoder_choices.matching(paths(model), [layers] if isinstance(layers, str) else layers)
    scale = float(alpha / (rank**0.5 if rank_stabilized else rank))
    create(model, {path: {"rank": rank, "scale": scale, "rate": float(dropout)} for path in chosen})
    return len(chosen)


def create(model: keras.Model, settings: dict[str, dict]) -> None:
    """Adds low-rank pairs with settings of their own; nothing else trains.

    Args:
        model: keras.Model from `decoders.build`, without adapters.
        settings: dict from the path of each kernel, out of `paths`, to the arguments of `DecoderBlock.adapt`.

    Raises:
        InputError: the model has adapters.
    """
    if pairs(model):
        raise InputError("`model` has adapters already. Received: a second set. Merge the first with `adapters.merge`.")
    blocks = {block.name: block for block in _blocks(model)}
    model.trainable = False
    model.trainable = True
    for layer in model.layers:
        layer.trainable = False
    for path, pair in settings.items():
        block, name, _ = path.split("/")
        blocks[block].adapt(name, **pair)
    _forget_traces(model)


def paths(model: keras.Model) -> list[str]:
    """The paths of the kernels that can have a pair.

    Args:
        model: keras.Model from `decoders.build`.

    Returns:
        list of str, such as "block_0/query/kernel".

    Raises:
        InputError: the model has no blocks.
    """
    return [f"{block.name}/{name}/kernel" for block in _blocks(model) for name in LINEAR]


def pairs(model: keras.Model) -> dict[str, LowRankPair]:
    """The low-rank pairs of a model.

    Args:
        model: keras.Model from `decoders.build`.

    Returns:
        dict from the path of each kernel that has one to the pair.

    Raises:
        InputError: the model has no blocks.
    """
    every = {f"{block.name}/{name}/kernel": pair for block in _blocks(model) for name, pair in block.pairs.items()}
    return {path: pair for path, pair in every.items() if pair.rank is not None}


@contextlib.contextmanager
def switched_off(model: keras.Model) -> Iterator[None]:
    """Context manager in which a model computes what it did before its adapters: the reference of preference tuning.

    It holds for calls of the model, also those that a function is traced from, and for `predict` and `evaluate`.

    Args:
        model: keras.Model from `decoders.build`.

    Yields:
        None.

    Example:
        >>> with switched_off(model):  # doctest: +SKIP
        ...     reference = model(inputs, training=False)
    """
    found = list(pairs(model).values())
    before = [pair.is_switched_off for pair in found]
    _set_switches(model, found, [True] * len(found))
    try:
        yield
    finally:
        _set_switches(model, found, before)


def merge(model: keras.Model) -> int:
    """Adds every pair to its kernel and removes the pair: the outputs stay the same. All weights train again.

    Args:
        model: keras.Model from `decoders.build`, with or without adapters. Compile it to train it further.

    Returns:
        int >= 0, the number of pairs.

    Raises:
        InputError: the kernels are quantized; what a pair adds would be rounded away.
    """
    found = pairs(model)
    for block in _blocks(model):
        if found and block.query_dense.quantization_mode:
            raise InputError(
                f"`model` must have kernels of floats, because what a pair adds would be rounded away. Received: kernels of "
                f"{block.query_dense.quantization_mode}. Write it with `export.language_models.hugging_face`, which merges into "
                "floats, and load that."
            )
    for path, pair in found.items():
        layer = _layer(model, path)
        layer.kernel.assign(merged_kernel(model, path))
        pair.remove()
    if found:
        model.trainable = False  # So that Keras passes on to every layer what follows.
        model.trainable = True
    _forget_traces(model)
    return len(found)


def merged_kernel(model: keras.Model, path: str) -> np.ndarray:
    """A kernel with what its pair adds.

    Args:
        model: keras.Model from `decoders.build`.
        path: str out of `paths`.

    Returns:
        float32 (inputs, outputs).
    """
    layer, pair = _layer(model, path), pairs(model).get(path)
    if layer.quantization_mode is None:
        kernel = np.asarray(layer.kernel, np.float32)
    else:
        # What a layer computes of an identity is its kernel, in whichever way Keras has packed it.
        bias = 0 if layer.bias is None else np.asarray(layer.bias)
        kernel = np.asarray(layer(np.eye(layer.input_spec.axes[-1], dtype="float32")), np.float32) - bias
    return kernel if pair is None else kernel + pair.scale * (np.asarray(pair.a) @ np.asarray(pair.b))


def quantize(model: keras.Model, precision: str) -> int:
    """Stores the kernels of the blocks in a quarter or an eighth of float32's memory, by Keras's own `quantize`.

    They are turned into floats whenever they are multiplied, so that inputs are not rounded. They cannot train: add
    adapters afterwards. Embeddings, normalizations and biases stay floats.

    Args:
        model: keras.Model from `decoders.build`, with kernels of floats and without adapters.
        precision: "int8", a scale for each output; or "int4", a scale and a zero for each group of 128 inputs of an output.

    Returns:
        int, the number of quantized layers.

    Raises:
        InputError: the precision is unknown, or the model has adapters or is quantized.

    Reference: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314.
    """
    if precision not in PRECISIONS:
        raise InputError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
    if pairs(model):
        raise InputError("`model` must be quantized before it gets adapters. Received: a model with adapters.")
    layers = [block.linear(name) for block in _blocks(model) for name in LINEAR]
    if layers[0].quantization_mode is not None:
        raise InputError(f"`model` must have kernels of floats. Received: kernels of {layers[0].quantization_mode}.")
    with _quick_deletion():
        for layer in layers:
            if precision == "int8":
                config = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
            else:
                config = keras.quantizers.Int4QuantizationConfig(block_size=_INT4_GROUP)
            layer.quantize(precision, config=config)
    _forget_traces(model)
    return len(layers)


@contextlib.contextmanager
def _quick_deletion() -> Iterator[None]:
    """Keras collects garbage each time a variable is deleted, half a second for hundreds of them; nothing old is garbage."""
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not was_frozen:  # Somebody else's objects would be unfrozen with ours.
            gc.unfreeze()


def _blocks(model: keras.Model) -> list[DecoderBlock]:
    blocks = [layer for layer in model.layers if isinstance(layer, DecoderBlock)]
    if not blocks:
        raise InputError(
            f"`model` must be a language model of kerastrain. Received: {model.name!r}, which has no blocks of one. Make it with "
            "`language.decoders.load`."
        )
    return blocks


def _layer(model: keras.Model, path: str) -> keras.layers.Dense:
    block, name, _ = path.split("/")
    return model.get_layer(block).linear(name)


def _set_switches(model: keras.Model, found: Sequence[LowRankPair], states: Sequence[bool]) -> None:
    for pair, state in zip(found, states, strict=True):
        pair.is_switched_off = state
    if not tf.inside_function():  # Within one, its own trace is being made.
        model.test_function = model.predict_function = None


def _forget_traces(model: keras.Model) -> None:
    # The functions that Keras has traced still use the layers as they were; it traces new ones at the next call.
    model.train_function = model.test_function = model.predict_function = None
