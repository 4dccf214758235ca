"""Whole channels taken out of a convolutional network: the layers left are smaller, dense, and faster everywhere.

Takes a trained keras.Model and a data set; gives a new model with fewer channels, fine-tuned. Must not change the model
given, or write files.
"""

import itertools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.compress import channel_dependencies, fine_tuning
from kerastrain.compress.channel_dependencies import Channels, Flow
from kerastrain.errors import InputError
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import program as programs

_SCORED_BATCHES = 16
# Processors multiply whole vectors, of up to 16 numbers: a layer of 40 channels takes as long as one of 48.
_VECTOR = 16


def prune_channels(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    multiply_adds_fraction: float = 0.5,
    epochs: int,
    optimizer: keras.optimizers.Optimizer | None = None,
    learning_rate: float = 1e-3,
    loss: keras.losses.Loss | str | None = None,
    metrics: Sequence = (),
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> keras.Model:
    """`model` with the least important channels of every convolution and dense layer removed, fine-tuned.

    All layers lose the same share, the smallest at which at most `multiply_adds_fraction` of the multiply-adds are left, as
    nearly as whole vectors of a processor allow: layers of 32 channels and more keep a multiple of 16, narrower ones all, if
    the target is reached without them. In each, those channels go that the loss would miss least:

        importance(channel) = mean over batches of (sum over the channel's weights of gradient * weight)²

    Channels that are added to each other, as in residual networks, go together. Inputs, outputs, frozen layers, and
    what layers of other kinds read stay whole.

    Args:
        model: keras.Model, functional or Sequential, built for inputs of one size; not changed.
        dataset: tf.data.Dataset as for `fit`, of known length; the importance is measured on its first batches.
        multiply_adds_fraction: float in (0, 1), of `multiply_adds(model)`, the most that may be left.
        epochs: int > 0, passes over `dataset`.
        optimizer: fresh keras.optimizers.Optimizer, or None for Adam whose rate falls from `learning_rate` to 0 along a
            cosine.
        learning_rate: float > 0, used where `optimizer` is None.
        loss: as for `compile`, or None for the loss that `model` was compiled with.
        metrics: as for `compile`.
        validation_data: as for `fit`.
        callbacks: as for `fit`.
        verbose: as for `fit`.

    Returns:
        keras.Model, flat, compiled.

    Raises:
        InputError: an option breaks its rule, the model holds a Hub module, or so few multiply-adds cannot be reached.

    Reference: Molchanov et al. 2019, https://arxiv.org/abs/1906.10771, eq. 8.
    """
    _require_fraction(multiply_adds_fraction)
    steps = fine_tuning.steps(dataset, epochs, optimizer)
    loss = fine_tuning.loss_of(model, loss)
    whole = fine_tuning.copy(model)
    program = programs.record(whole)
    found = _removable(program, multiply_adds_fraction)
    whole.compile(loss=loss)
    kept = _chosen(found, _importance(whole, found, dataset), multiply_adds_fraction)
    narrow = _narrowed(whole, program, found, kept)
    narrow.compile(
        optimizer or fine_tuning.adam_with_cosine_decay(learning_rate, steps), loss=loss, metrics=list(metrics)
    )
    fine_tuning.fit(
        narrow, dataset, epochs=epochs, validation_data=validation_data, callbacks=callbacks, verbose=verbose
    )
    return narrow


def require_removable_channels(model: keras.Model, multiply_adds_fraction: float = 0.5) -> None:
    """Refuses at once what `prune_channels` would refuse: for a chain of steps of which others train before it.

    Args:
        model: keras.Model.
        multiply_adds_fraction: float, as for `prune_channels`.

    Raises:
        InputError: as `prune_channels` raises.
    """
    _require_fraction(multiply_adds_fraction)
    _removable(programs.record(model), multiply_adds_fraction)


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(
            f"`multiply_adds_fraction` must lie in (0, 1). Received: {fraction!r}. Give a share such as 0.5."
        )


def _removable(program: programs.Program, fraction: float) -> Channels:
    """The channels of a program that can lose so many multiply-adds."""
    hub = next((call.operation for call in program.instructions if isinstance(call.operation, HubLayer)), None)
    if hub is not None:
        raise InputError(
            f"layer {hub.name!r} (kerastrain.HubLayer) cannot lose channels: a SavedModel is a finished graph, out of which "
            "none can be taken. Distil a smaller network from it, with `distill={}` or `compress.distill`, or prune single "
            "weights, with `prune.fraction=0.8` or `compress.prune`."
        )
    found = channel_dependencies.trace(program)
    _chosen(found, np.zeros(len(found.group)), fraction)
    return found


def _importance(model: keras.Model, found: Channels, dataset: tf.data.Dataset) -> np.ndarray:
    """The importance of each group of channels, at its lowest channel, float64 (channels,)."""
    # The weights that stand last before a channel leaves its layer: those of batch norm, or else all.
    flows = [flow for flow in found.flows if _is_last(flow)]
    weights = [_weights(flow) for flow in flows]

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

    importance = np.zeros(len(found.group))
    for batch in dataset.take(_SCORED_BATCHES):
        total = np.zeros(len(found.group))
        for flow, product in zip(flows, products(batch), strict=True):
            np.add.at(total, found.group[flow.made], product.numpy())
        importance += total**2
    return importance


def _is_last(flow: Flow) -> bool:
    if isinstance(flow.layer, keras.layers.BatchNormalization):
        return flow.layer.scale or flow.layer.center
    return isinstance(flow.layer, (*channel_dependencies.FULL, *channel_dependencies.SEPARABLE)) and not flow.normalized


def _weights(flow: Flow) -> list[tf.Variable]:
    layer = flow.layer
    if isinstance(layer, keras.layers.BatchNormalization):
        return [weight.value for weight in (layer.gamma, layer.beta) if weight is not None]
    kernel = layer.pointwise_kernel if isinstance(layer, channel_dependencies.SEPARABLE) else layer.kernel
    return [kernel.value, *([layer.bias.value] if layer.use_bias else [])]


def _chosen(found: Channels, importance: np.ndarray, fraction: float) -> np.ndarray:
    """Which channels stay, bool (channels,)."""
    spaces = [np.unique(found.group[(found.space == space) & ~found.fixed]) for space in np.unique(found.space)]
    ranked = [space[np.argsort(-importance[space], kind="stable")] for space in spaces if len(space)]
    before = sum(flow.crossing + flow.own for flow in found.flows)
    for cut_narrow, share in itertools.product((False, True), np.arange(0.99, 0, -0.01)):
        kept = found.fixed.copy()
        for groups in ranked:
            kept[groups[: _count(len(groups), share, cut_narrow=cut_narrow)]] = True
        kept = kept[found.group]
        left = sum(flow.multiply_adds(kept) for flow in found.flows)
        if left <= fraction * before:
            return kept
    raise InputError(
        f"`multiply_adds_fraction` must leave what cannot be removed. Received: {fraction:g}, and with one channel in each "
        f"of {len(ranked)} removable layers {left / before:.2f} are left. Unfreeze layers, or use `prune`."
    )


def _count(channels: int, share: float, *, cut_narrow: bool) -> int:
    if channels >= 2 * _VECTOR and (share * channels >= _VECTOR or not cut_narrow):
        return max(_VECTOR, _VECTOR * round(share * channels / _VECTOR))
    return max(1, round(share * channels)) if cut_narrow else channels


def _narrowed(model: keras.Model, program: programs.Program, found: Channels, kept: np.ndarray) -> keras.Model:
    """`model` once more, flat, with the kept channels alone."""
    flows = {id(flow.layer): flow for flow in found.flows}
    inputs = [keras.Input(batch_shape=slot.shape, dtype=slot.dtype) for slot in program.inputs]
    values = dict(zip((slot.number for slot in program.inputs), inputs, strict=True))
    made, names = {}, set()
    for call in program.instructions:
        layer = call.operation
        if isinstance(layer, keras.Layer) and id(layer) not in made:
            flow = flows.get(id(layer))
            made[id(layer)] = _again(layer, names) if flow is None else _cut(flow, kept, names)
        arguments = keras.tree.map_structure(
            lambda leaf: values[leaf.number] if isinstance(leaf, programs.Slot) else leaf, (call.args, call.kwargs)
        )
        new, weights = made.get(id(layer), (layer, None))
        results = keras.tree.flatten(new(*arguments[0], **arguments[1]))
        if weights:
            new.set_weights(weights)
        values.update(zip((slot.number for slot in call.outputs), results, strict=True))
    outputs = programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name)


def _again(layer: keras.Layer, names: set[str]) -> tuple[keras.Layer, list | None]:
    """A layer that loses nothing: itself, or under another name where layers of two inner models share one."""
    name = _unique(layer.name, names)
    if name == layer.name:
        return layer, None
    return type(layer).from_config({**layer.get_config(), "name": name}), layer.get_weights()


def _cut(flow: Flow, kept: np.ndarray, names: set[str]) -> tuple[keras.Layer, list[np.ndarray]]:
    """A layer like that of `flow` for the channels that stay, and its weights."""
    layer, read, made = flow.layer, kept[flow.read], kept[flow.made]
    config = {**layer.get_config(), "name": _unique(layer.name, names)}
    config.update({size: int(made.sum()) for size in ("filters", "units") if size in config})
    if isinstance(layer, keras.layers.Reshape):
        return keras.layers.Reshape((*layer.target_shape[:-1], int(made.sum())), name=config["name"]), []
    if isinstance(layer, keras.layers.BatchNormalization):
        return type(layer).from_config(config), [weight[made] for weight in layer.get_weights()]
    first, *others = layer.get_weights()
    weights = [first[..., read, :]]
    if isinstance(layer, channel_dependencies.SEPARABLE):
        pointwise, *others = others
        weights.append(pointwise[..., np.repeat(read, layer.depth_multiplier), :][..., made])
    elif isinstance(layer, channel_dependencies.FULL):
        weights = [weights[0][..., made]]
    return type(layer).from_config(config), [*weights, *(bias[made] for bias in others)]


def _unique(name: str, names: set[str]) -> str:
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    found = next(each for each in (name, *itertools.islice(numbered, len(names) + 1)) if each not in names)
    names.add(found)
    return found
