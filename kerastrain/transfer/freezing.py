"""Which part of a model trains, and when: frozen backbones, unfreezing at once or in stages, rates by layer.

Takes a `keras.Model` whose backbone is a layer named "backbone", or any other, whose head is its last layer with weights;
changes its `trainable` flags or gives a callback. Must not compile, and must not train by itself.
"""

import contextlib
from collections.abc import Iterator, Mapping

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals.layers import every_layer


def backbone_of(model: keras.Model) -> keras.Layer:
    """The layer named "backbone".

    Raises:
        InputError: the model has none.
    """
    for layer in model.layers:
        if layer.name == "backbone":
            return layer
    raise InputError(
        f"the model {model.name!r} has no layer named 'backbone'. It has {', '.join(one.name for one in model.layers)}."
    )


def backbone_or_all(model: keras.Model) -> keras.Layer:
    """The layer named "backbone", or the model itself where there is none."""
    return next((layer for layer in model.layers if layer.name == "backbone"), model)


def freeze(model: keras.Model, *, before: str | None = None) -> None:
    """Freezes the backbone, so that only the head trains. Compile the model afterwards.

    Args:
        model: keras.Model; without a layer named "backbone", all but its last layer with weights freeze, and batch norm
            behind that.
        before: str, the first layer that trains; all before it freeze.

    Raises:
        InputError: the model has no such layer, or no layer with weights.
    """
    if before is None:
        backbone = backbone_or_all(model)
        if backbone is model:
            unfreeze(model, last=_head_count(model), batch_norm=True)
        else:
            backbone.trainable = False
        return
    names = [layer.name for layer in model.layers]
    if before not in names:
        raise InputError(unknown("layer", before, names))
    for index, layer in enumerate(model.layers):
        layer.trainable = index >= names.index(before)


def unfreeze(
    model: keras.Model, *, last: int | None = None, from_layer: str | None = None, batch_norm: bool = False
) -> None:
    """Lets the backbone train, whole or from some layer on. Compile the model afterwards.

    Batch norm is held still by default: few images and a small rate do not pay for statistics that move under the
    features. In a Keras backbone its layers stay frozen, scale and offset too, since Keras overrides
    `training=False` during `fit`; in a Hub module its statistics stay, while scale and offset train.

    Args:
        model: keras.Model; without a layer named "backbone", all its layers are meant, the head too.
        last: int >= 0, how many layers with weights train, counted from the backbone's end; None for all.
        from_layer: str, the first layer that trains.
        batch_norm: bool, whether batch norm trains too.

    Raises:
        InputError: both `last` and `from_layer`, more layers than there are, a layer that does not exist, a part of an
            opaque module, or one that cannot train.
    """
    if last is not None and from_layer is not None:
        raise InputError("give either `last` or `from_layer`, not both.")
    part = backbone_or_all(model)
    if isinstance(part, HubLayer):
        if from_layer is not None or last not in (None, 0):
            raise InputError(
                "the backbone is one Hub module, which trains as a whole or not at all. Received: "
                f"{f'from_layer={from_layer!r}' if from_layer is not None else f'last={last}'}. Leave it out."
            )
        if last is None:
            part.check_can_train()
        part.trainable, part.freeze_batch_norm_statistics = last is None, not batch_norm
        return
    layers = leaves(part)
    part.trainable = True
    first = _first(layers, last, from_layer)
    for index, layer in enumerate(layers):
        still = isinstance(layer, keras.layers.BatchNormalization) and not batch_norm
        layer.trainable = index >= first and not still
        if isinstance(layer, HubLayer):
            layer.freeze_batch_norm_statistics = not batch_norm
    hold_adapted_kernels(part)


def synchronize_batch_norm(model: keras.Model) -> None:
    """Lets batch norm that trains take its statistics over the whole batch, where several devices share one.

    Each device would normalize its part by its own statistics, and the weights would be others than on one device. Where a
    single device trains the model nothing changes. Compile the model afterwards.

    Args:
        model: keras.Model, made under the scope of its strategy.

    Raises:
        InputError: a Hub module moves statistics of its own, which its graph takes over one device's part.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    for layer in every_layer(model):
        if (
            isinstance(layer, HubLayer)
            and layer.trainable
            and not layer.freeze_batch_norm_statistics
            and layer.non_trainable_weights
        ):
            raise InputError(
                f"the Hub module {layer.name!r} would take the statistics of its batch norm over the part of one device, "
                "and the weights would be others than on one device. Hold them still (fine_tune.batch_norm=false), or "
                "train on one device (runtime.strategy=none)."
            )
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.synchronized = True


@contextlib.contextmanager
def flags_kept(part: object) -> Iterator[None]:
    """Gives the layers of a model their `trainable` back at the end of the block; anything else is left alone."""
    layers = every_layer(part) if isinstance(part, keras.Layer) else []
    flags = [layer.trainable for layer in layers]
    try:
        yield
    finally:
        for layer, flag in zip(layers, flags, strict=True):
            layer.trainable = flag


def hold_adapted_kernels(part: keras.Layer) -> None:
    """Freezes the kernels that a low-rank pair stands beside, which `trainable = True` would let go."""
    for layer in every_layer(part):
        if getattr(layer, "lora_enabled", False):
            kernel = "_embeddings" if isinstance(layer, keras.layers.Embedding) else "_kernel"
            getattr(layer, kernel).trainable = False


def leaves(part: keras.Layer) -> list[keras.Layer]:
    """The layers with weights inside a layer or model, in order, nested models opened, attention kept whole."""
    if isinstance(part, keras.Model):
        return [leaf for layer in part.layers for leaf in leaves(layer)]
    return [part] if part.weights else []


def layer_rates(model: keras.Model, decay: float) -> dict[str, float]:
    """Factors on the learning rate that fall layer by layer from the head to the inputs.

        factor(layer k below the head) = decay ** k

    Early layers hold what is common to all images and should move least. Batch norm has the rate of its
    neighbour before it; the head has 1. Call it after `unfreeze`: what is frozen gets no factor.

    Args:
        model: keras.Model; a backbone that is one opaque module has one factor. Without a layer named "backbone", the
            last layer with weights is the head.
        decay: float in (0, 1], the factor from a layer to the one below it; 0.65 to 0.9 are common.

    Returns:
        dict from a regular expression on variable paths to a factor: `optimizers.make(..., layer_rates=...)`.

    Raises:
        InputError: `decay` lies outside (0, 1].

    Reference: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2.
    """
    if not 0 < decay <= 1:
        raise InputError(f"`decay` must lie in (0, 1]. Received: {decay}.")
    backbone = backbone_or_all(model)
    if isinstance(backbone, HubLayer):
        return {f"^{backbone.name}/": float(decay)}
    layers = leaves(backbone)
    if backbone is model:
        layers = layers[: len(layers) - _head_count(model)]
    rates, depth = {}, 0
    for layer in reversed(layers):
        depth += not isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.trainable_variables:
            rates[f"^{_escape(variable.path)}$"] = float(decay ** max(depth, 1))
    return rates


class GradualUnfreezing(keras.callbacks.Callback):
    """Unfreezes the backbone in stages while it trains, the layers nearest to the head first.

    Which layers train is a function of the epoch alone, so a resumed run has the same ones. The optimizer gets its
    slots for all layers of all stages at the start, and Keras's train function is made anew at each stage.

    Args:
        stages: dict from an epoch, counted from 0, to the number of the backbone's last layers that train from then
            on, None for all of them. Before the first epoch named, only the head trains. In a model without a layer
            named "backbone", all its layers are counted, as in `unfreeze`, and the head is as in `freeze`.
        batch_norm: bool, whether batch norm trains too.

    Raises:
        InputError: the stages are empty or not epochs and counts, or the optimizer was built for fewer layers.

    Example:
        >>> callback = GradualUnfreezing({2: 10, 4: 30, 6: None})

    Reference: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3.
    """

    def __init__(self, stages: Mapping[int, int | None], *, batch_norm: bool = False):
        super().__init__()
        whole = all(isinstance(epoch, int) and epoch >= 0 for epoch in stages)
        if not stages or not whole or any(count is not None and count < 1 for count in stages.values()):
            raise InputError(
                f"`stages` must map epochs >= 0 to numbers of layers >= 1, or None for all. Received: {dict(stages)}."
            )
        self.stages = dict(sorted(stages.items()))
        self.batch_norm = batch_norm
        self._stage = None

    def on_train_begin(self, logs=None):
        """Gives the optimizer slots for every variable that will train in any stage."""
        self._stage = None
        wanted = {}
        for count in (0, *self.stages.values()):
            self._set(count)
            wanted.update({variable.path: variable for variable in self.model.trainable_variables})
        optimizer = self.model.optimizer
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not inner.built:
            ordered = [variable for variable in self.model.variables if variable.path in wanted]
            optimizer.build(ordered)
        elif len(inner._trainable_variables) < len(wanted):
            raise InputError(
                f"the optimizer knows {len(inner._trainable_variables)} variables, and the stages train {len(wanted)}: "
                "compile the model with a new optimizer before `fit`."
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Sets which layers train, where that changes."""
        reached = [begin for begin in self.stages if begin <= epoch]
        stage = self.stages[reached[-1]] if reached else 0
        if self._stage is None or self._stage[0] != stage:
            self._stage = (stage,)
            self._set(stage)
            self.model.make_train_function(force=True)

    def _set(self, count: int | None) -> None:
        if count == 0:
            freeze(self.model)
        else:
            unfreeze(self.model, last=count, batch_norm=self.batch_norm)


def _head_count(model: keras.Model) -> int:
    """How many of the layers with weights are the head of a model without a backbone."""
    still = [isinstance(layer, keras.layers.BatchNormalization) for layer in leaves(model)]
    if not still or all(still):
        raise InputError(
            f"the model {model.name!r} has no layer with weights that could be its head. Build it first, or give "
            "`before`."
        )
    return still[::-1].index(False) + 1


def _first(layers: list[keras.Layer], last: int | None, from_layer: str | None) -> int:
    if from_layer is not None:
        names = [layer.name for layer in layers]
        if from_layer not in names:
            raise InputError(unknown("layer", from_layer, names))
        return names.index(from_layer)
    if last is not None and last > len(layers):
        raise InputError(f"`last` must be at most {len(layers)}, the layers with weights. Received: {last}.")
    return 0 if last is None else len(layers) - last


def _escape(path: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\.^$*+?{}[]|()" else letter for letter in path)
