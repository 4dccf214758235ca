"""Channel pruning: removes whole channels of a network, which leaves smaller dense layers that are faster everywhere.

Takes a trained keras.Model and a dataset; returns a new model with fewer channels, fine-tuned. Must not change the given
model, or write files.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf

from kerastrain.compress import channel_dependencies
from kerastrain.compress.channel_dependencies import LayerChannels, ModelChannels
from kerastrain.compress.fine_tuning import FineTuning, compile_for_training, copy_model, count_steps, fit, resolve
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import program as programs

_LEARNING_RATE = 1e-3
_SCORED_BATCHES = 16
# Processors multiply vectors of up to 16 numbers, so a layer of 40 channels takes as long as a layer of 48.
_VECTOR = 16


def prune_channels(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    fine_tuning: FineTuning,
    multiply_adds_fraction: float = 0.5,
) -> keras.Model:
    """Removes the least important channels of every convolution and dense layer, and fine-tunes the rest.

    All layers lose the same fraction of their channels: the smallest fraction that leaves at most
    `multiply_adds_fraction` of the multiply-adds. Counts are rounded to whole vectors of a processor: layers of 32 or more
    channels keep a multiple of 16, and narrower layers keep all channels if the target can be reached without them. Each
    layer loses the channels with the lowest importance:

        importance(channel) = mean over batches of (sum over the channel's weights of gradient * weight)²

    Channels that are added to each other, as in residual networks, are removed together. Inputs, outputs, frozen layers,
    and channels that other kinds of layers read are kept.

    Args:
        model: keras.Model, functional or Sequential, built for inputs of one size; not changed.
        dataset: tf.data.Dataset as for `fit`, of known length; its first 16 batches also measure the importance.
        fine_tuning: FineTuning. The default learning rate is 1e-3.
        multiply_adds_fraction: float in (0, 1), the largest fraction of `multiply_adds(model)` that may remain.

    Returns:
        keras.Model, flat, compiled.

    Raises:
        InputError: an option is invalid, the model contains a Hub module, or the fraction cannot be reached.

    Reference: Molchanov et al. 2019, https://arxiv.org/abs/1906.10771, eq. 8.
    """
    _require_fraction(multiply_adds_fraction)
    steps = count_steps(dataset, fine_tuning.epochs, fine_tuning.optimizer)
    fine_tuning = resolve(fine_tuning, model, learning_rate=_LEARNING_RATE)
    full = copy_model(model)
    program = programs.record(full)
    channels = _removable(program, multiply_adds_fraction)
    full.compile(loss=fine_tuning.loss)
    keep = _channels_to_keep(channels, _importance(full, channels, dataset), multiply_adds_fraction)
    pruned = _without_channels(full, program, channels, keep)
    compile_for_training(pruned, fine_tuning, steps)
    fit(pruned, dataset, fine_tuning)
    return pruned


def require_removable_channels(model: keras.Model, multiply_adds_fraction: float = 0.5) -> None:
    """Raises the errors that `prune_channels` would raise for this model, before earlier steps of a chain train.

    Args:
        model: keras.Model.
        multiply_adds_fraction: float in (0, 1), as for `prune_channels`.

    Raises:
        InputError: as `prune_channels` raises.
    """
    _require_fraction(multiply_adds_fraction)
    _removable(programs.record(model), multiply_adds_fraction)


def remaining_parameters(model: keras.Model, multiply_adds_fraction: float = 0.5) -> int:
    """Counts the parameters that a model has after `prune_channels`.

    Args:
        model: keras.Model; not changed.
        multiply_adds_fraction: float in (0, 1), as for `prune_channels`.

    Returns:
        int >= 0. Where channels of several layers are removed together, the importance can shift it a little.

    Raises:
        InputError: as `prune_channels` raises.
    """
    _require_fraction(multiply_adds_fraction)
    channels = _removable(programs.record(model), multiply_adds_fraction)
    keep = _channels_to_keep(channels, np.zeros(len(channels.group)), multiply_adds_fraction)
    layers = {id(each.layer): each for each in channels.layers if each.layer.weights}.values()
    before = sum(each.layer.count_params() for each in layers)
    after = sum(weight.size for each in layers for weight in _smaller(each, keep, set())[1])
    return int(model.count_params() - before + after)


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(
            f"`multiply_adds_fraction` must lie in (0, 1). Received: {fraction!r}. Give a share such as 0.5."
        )


def _removable(program: programs.Program, fraction: float) -> ModelChannels:
    """The channels of a program; raises if they cannot be reduced to `fraction` of the multiply-adds."""
    hub = next((call.operation for call in program.instructions if isinstance(call.operation, HubLayer)), None)
    if hub is not None:
        raise InputError(
            f"layer {hub.name!r} (kerastrain.HubLayer) cannot lose channels: a SavedModel is a finished graph, and its "
            "channels cannot be removed. Distil a smaller network from it, with `distill={}` or `compress.distill`, or "
            "prune single weights, with `prune.fraction=0.8` or `compress.prune`."
        )
    channels = channel_dependencies.trace(program)
    _channels_to_keep(channels, np.zeros(len(channels.group)), fraction)
    return channels


def _importance(model: keras.Model, channels: ModelChannels, dataset: tf.data.Dataset) -> np.ndarray:
    """The importance of each group of channels, at the index of its lowest channel, float64 (channels,)."""
    # A channel is scored by the last weights that produce it: those of batch norm, otherwise those of its layer.
    layers = [layer for layer in channels.layers if _is_last(layer)]
    weights = [_weights(layer) for layer in layers]

    @tf.function(reduce_retracing=True)
    def products(batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = model.compute_loss(x, y, model(x, training=False), sample_weight)
        gradients = tape.gradient(value, weights, unconnected_gradients="zero")
        return [
            tf.add_n([tf.reduce_sum(tf.reshape(g * w, (-1, w.shape[-1])), axis=0) for g, w in zip(*pair, strict=True)])
            for pair in zip(gradients, weights, strict=True)
        ]

    importance = np.zeros(len(channels.group))
    for batch in dataset.take(_SCORED_BATCHES):
        total = np.zeros(len(channels.group))
        for layer, product in zip(layers, products(batch), strict=True):
            np.add.at(total, channels.group[layer.outputs], product.numpy())
        importance += total**2
    return importance


def _is_last(channels: LayerChannels) -> bool:
    layer = channels.layer
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.scale or layer.center
    return isinstance(layer, (*channel_dependencies.FULL, *channel_dependencies.SEPARABLE)) and not channels.normalized


def _weights(channels: LayerChannels) -> list[tf.Variable]:
    layer = channels.layer
    if isinstance(layer, keras.layers.BatchNormalization):
        return [weight.value for weight in (layer.gamma, layer.beta) if weight is not None]
    kernel = layer.pointwise_kernel if isinstance(layer, channel_dependencies.SEPARABLE) else layer.kernel
    return [kernel.value, *([layer.bias.value] if layer.use_bias else [])]


def _channels_to_keep(channels: ModelChannels, importance: np.ndarray, fraction: float) -> np.ndarray:
    """The channels that remain, bool (channels,)."""
    group, space, fixed = channels.group, channels.space, channels.fixed
    spaces = [np.unique(group[(space == number) & ~fixed]) for number in np.unique(space)]
    ranked = [groups[np.argsort(-importance[groups], kind="stable")] for groups in spaces if len(groups)]
    before = sum(layer.dense_multiply_adds + layer.depthwise_multiply_adds for layer in channels.layers)
    for cut_narrow, share in itertools.product((False, True), np.arange(0.99, 0, -0.01)):
        keep = fixed.copy()
        for groups in ranked:
            keep[groups[: _count(len(groups), share, cut_narrow=cut_narrow)]] = True
        keep = keep[group]
        after = sum(layer.multiply_adds(keep) for layer in channels.layers)
        if after <= fraction * before:
            return keep
    raise InputError(
        f"`multiply_adds_fraction` must cover what cannot be removed. Received: {fraction:g}, but {after / before:.2f} of the "
        f"multiply-adds remain with one channel in each of {len(ranked)} removable layers. Unfreeze layers, or use `prune`."
    )


def _count(channels: int, share: float, *, cut_narrow: bool) -> int:
    if channels >= 2 * _VECTOR and (share * channels >= _VECTOR or not cut_narrow):
        return max(_VECTOR, _VECTOR * round(share * channels / _VECTOR))
    return max(1, round(share * channels)) if cut_narrow else channels


def _without_channels(
    model: keras.Model, program: programs.Program, channels: ModelChannels, keep: np.ndarray
) -> keras.Model:
    """A flat copy of `model` with only the channels of `keep`."""
    layer_channels = {id(each.layer): each for each in channels.layers}
    inputs = [keras.Input(batch_shape=slot.shape, dtype=slot.dtype) for slot in program.inputs]
    values = dict(zip((slot.number for slot in program.inputs), inputs, strict=True))
    new_layers, names = {}, set()
    for call in program.instructions:
        layer = call.operation
        if isinstance(layer, keras.Layer) and id(layer) not in new_layers:
            affected = layer_channels.get(id(layer))
            new_layers[id(layer)] = _reused(layer, names) if affected is None else _smaller(affected, keep, names)
        args, kwargs = keras.tree.map_structure(
            lambda leaf: values[leaf.number] if isinstance(leaf, programs.Slot) else leaf, (call.args, call.kwargs)
        )
        new_layer, weights = new_layers.get(id(layer), (layer, None))
        results = keras.tree.flatten(new_layer(*args, **kwargs))
        if weights:
            new_layer.set_weights(weights)
        values.update(zip((slot.number for slot in call.outputs), results, strict=True))
    outputs = programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name)


def _reused(layer: keras.Layer, names: set[str]) -> tuple[keras.Layer, list | None]:
    """An unchanged layer: itself, or a renamed copy and its weights if layers of two inner models have the same name."""
    name = _unique(layer.name, names)
    if name == layer.name:
        return layer, None
    return type(layer).from_config({**layer.get_config(), "name": name}), layer.get_weights()


def _smaller(channels: LayerChannels, keep: np.ndarray, names: set[str]) -> tuple[keras.Layer, list[np.ndarray]]:
    """A copy of a layer for the channels that remain, and its weights."""
    layer, inputs, outputs = channels.layer, keep[channels.inputs], keep[channels.outputs]
    config = {**layer.get_config(), "name": _unique(layer.name, names)}
    config.update({size: int(outputs.sum()) for size in ("filters", "units") if size in config})
    if isinstance(layer, keras.layers.Reshape):
        return keras.layers.Reshape((*layer.target_shape[:-1], int(outputs.sum())), name=config["name"]), []
    if isinstance(layer, keras.layers.BatchNormalization):
        return type(layer).from_config(config), [weight[outputs] for weight in layer.get_weights()]
    kernel, *others = layer.get_weights()
    weights = [kernel[..., inputs, :]]
    if isinstance(layer, channel_dependencies.SEPARABLE):
        pointwise, *others = others
        weights.append(pointwise[..., np.repeat(inputs, layer.depth_multiplier), :][..., outputs])
    elif isinstance(layer, channel_dependencies.FULL):
        weights = [weights[0][..., outputs]]
    return type(layer).from_config(config), [*weights, *(bias[outputs] for bias in others)]


def _unique(name: str, names: set[str]) -> str:
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    candidates = (name, *itertools.islice(numbered, len(names) + 1))
    unique = next(candidate for candidate in candidates if candidate not in names)
    names.add(unique)
    return unique
