"""Which part of a model trains, and when: frozen backbones, unfreezing at once or in stages, learning rates by layer.

Takes a `keras.Model`: one with a layer named "backbone", or any other, whose head is then its last layer with weights.
Sets its `trainable` flags, or returns a callback that does. Must not compile or train.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals import lora, optimizers
from kerastrain.keras_internals.layers import every_layer

logger = logging.getLogger("kerastrain")


def backbone_of(model: keras.Model) -> keras.Layer:
    """The layer named "backbone".

    Args:
        model: keras.Model.

    Returns:
        keras.Layer of `model`.

    Raises:
        InputError: the model has no such layer.
    """
    for layer in model.layers:
        if layer.name == "backbone":
            return layer
    raise InputError(
        f"the model {model.name!r} has no layer named 'backbone'. "
        f"It has {', '.join(layer.name for layer in model.layers)}."
    )


def backbone_or_all(model: keras.Model) -> keras.Layer:
    """The layer named "backbone", or the model if it has none.

    Args:
        model: keras.Model.

    Returns:
        keras.Layer of `model`, or `model` itself.
    """
    return next((layer for layer in model.layers if layer.name == "backbone"), model)


def freeze(model: keras.Model, *, before: str | None = None) -> None:
    """Freezes the backbone, so that only the head trains. Compile the model afterwards.

    Args:
        model: keras.Model; without a layer named "backbone", all layers freeze except the last one with weights and the
            batch norm after it.
        before: str, name of the first layer that trains; all layers before it freeze. None freezes the backbone.

    Raises:
        InputError: the model has no layer named `before`, or no layer with weights.
    """
    if before is None:
        backbone = backbone_or_all(model)
        if backbone is model:
            unfreeze(model, last=_head_count(model), batch_norm=True)
        else:
            for layer in every_layer(backbone):  # Keras passes over `trainable = False` where it is false already.
                layer.trainable = False
        return
    names = [layer.name for layer in model.layers]
    if before not in names:
        raise InputError(unknown("layer", before, names))
    for index, layer in enumerate(model.layers):
        layer.trainable = index >= names.index(before)


def unfreeze(
    model: keras.Model, *, last: int | None = None, from_layer: str | None = None, batch_norm: bool = False
) -> None:
    """Unfreezes the backbone, whole or from some layer on. Compile the model afterwards.

    Warns through the logger "kerastrain" if nothing of the backbone can train then.

    Batch norm stays frozen by default: with few images and a small learning rate, statistics that change under the
    features do more harm than good. In a Keras backbone its scale and offset stay frozen too, since Keras overrides
    `training=False` during `fit`; in a Hub module only its statistics stay frozen, and its scale and offset train.

    Args:
        model: keras.Model; without a layer named "backbone", all its layers count, the head included.
        last: int >= 0, the number of layers with weights that train, counted from the backbone's end; None for all.
        from_layer: str, name of the first layer that trains; it may have no weights itself.
        batch_norm: bool, whether batch norm trains too.

    Raises:
        InputError: both `last` and `from_layer` are set, the model has fewer layers or no layer of that name, a Hub
            module is to train in part, or it cannot train.
    """
    if last is not None and from_layer is not None:
        raise InputError("set either `last` or `from_layer`, not both.")
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
        if last is None and not part.can_train:
            logger.warning("the Hub module %r has no trainable variables: unfreezing it trains nothing", part.name)
        return
    layers = _layers_with_weights(part)
    part.trainable = True
    first = _first(part, layers, last, from_layer)
    for index, layer in enumerate(layers):
        is_frozen = _is_norm(layer) and not batch_norm
        layer.trainable = index >= first and not is_frozen
        if isinstance(layer, HubLayer):
            layer.freeze_batch_norm_statistics = not batch_norm
    _freeze_adapted_kernels(part)
    if not part.trainable_weights:
        chosen = f"last={last}" if last is not None else f"from_layer={from_layer!r}" if from_layer else "all layers"
        reason = "no layer with weights is among them"
        if layers[first:] and all(map(_is_norm, layers[first:])):
            reason = "they are batch norm, which stays frozen with batch_norm=False"
        logger.warning("unfreezing %s of %r trains nothing: %s", chosen, part.name, reason)


def synchronize_batch_norm(model: keras.Model) -> None:
    """Makes batch norm that trains compute its statistics over the whole batch when several devices share it.

    Otherwise each device would normalize its part by the statistics of that part, and the weights would differ from those
    of a training on one device. On a single device nothing changes. Compile the model afterwards.

    Args:
        model: keras.Model, built under the scope of its strategy.

    Raises:
        InputError: a Hub module updates batch norm statistics, which its graph computes over one device's part.
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
                f"the Hub module {layer.name!r} would compute its batch norm statistics over the part of one device, and "
                "the weights would differ from those of one device. Freeze them (fine_tune.batch_norm=false), or train "
                "on one device (runtime.strategy=none)."
            )
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.synchronized = True


@contextlib.contextmanager
def preserved_trainable_flags(model: object) -> Iterator[None]:
    """Restores `trainable` of all layers of a model at the end of the block.

    Args:
        model: keras.Model or keras.Layer; anything else is ignored.

    Yields:
        None.
    """
    layers = every_layer(model) if isinstance(model, keras.Layer) else []
    flags = [layer.trainable for layer in layers]
    try:
        yield
    finally:
        for layer, flag in zip(layers, flags, strict=True):
            layer.trainable = flag


def layer_rates(model: keras.Model, decay: float) -> dict[str, float]:
    """Factors on the learning rate that decrease layer by layer from the head to the inputs.

        factor(layer k below the head) = decay ** k

    Early layers hold features that all images share and should change least. Batch norm gets the factor of the layer
    before it; the head's factor is 1. Call it after `unfreeze`: frozen variables get no factor.

    Args:
        model: keras.Model; a backbone that is a Hub module gets one factor. Without a layer named "backbone", the last
            layer with weights is the head.
        decay: float in (0, 1], the factor from a layer to the one below it; 0.65 to 0.9 are common.

    Returns:
        dict from a regular expression on variable paths to a factor in (0, 1], for `optimizers.make(layer_rates=...)`.

    Raises:
        InputError: `decay` lies outside (0, 1].

    Reference: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2.
    """
    if not 0 < decay <= 1:
        raise InputError(f"`decay` must lie in (0, 1]. Received: {decay}.")
    backbone = backbone_or_all(model)
    if isinstance(backbone, HubLayer):
        return {f"^{backbone.name}/": float(decay)}
    layers = _layers_with_weights(backbone)
    if backbone is model:
        layers = layers[: len(layers) - _head_count(model)]
    rates, depth = {}, 0
    for layer in reversed(layers):
        depth += not isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.trainable_variables:
            rates[f"^{_escape(variable.path)}$"] = float(decay ** max(depth, 1))
    return rates


class GradualUnfreezing(keras.callbacks.Callback):
    """Unfreezes the backbone in stages during training, the layers nearest to the head first.

    Which layers train depends only on the epoch, so a resumed run trains the same ones. The optimizer gets its slots for
    the layers of all stages at the start, and Keras traces a new train function at each stage.

    Args:
        stages: dict from an epoch, counted from 0, to the number of the backbone's last layers that train from this epoch
            on, None for all of them. Before the first of these epochs only the head trains. In a model without a layer
            named "backbone" all layers count, as in `unfreeze`, and the head is that of `freeze`.
        batch_norm: bool, whether batch norm trains too.

    Raises:
        InputError: `stages` is empty or does not map epochs to layer counts, or the optimizer was built for fewer layers.

    Example:
        >>> callback = GradualUnfreezing({2: 10, 4: 30, 6: None})

    Reference: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3.
    """

    def __init__(self, stages: Mapping[int, int | None], *, batch_norm: bool = False):
        super().__init__()
        are_epochs = all(isinstance(epoch, int) and epoch >= 0 for epoch in stages)
        if not stages or not are_epochs or any(count is not None and count < 1 for count in stages.values()):
            raise InputError(
                f"`stages` must map epochs >= 0 to numbers of layers >= 1, or None for all. Received: {dict(stages)}."
            )
        self.stages = dict(sorted(stages.items()))
        self.batch_norm = batch_norm
        self._stage = None

    def on_train_begin(self, logs=None):
        """Builds the optimizer with slots for the variables of all stages."""
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
        elif (slots := len(optimizers.trained_variables(inner))) < len(wanted):
            raise InputError(
                f"the optimizer was built for {slots} variables, but the stages train {len(wanted)}: compile the model "
                "with a new optimizer before `fit`."
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Sets which layers train if this epoch begins a stage."""
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


def _freeze_adapted_kernels(part: keras.Layer) -> None:
    """Freezes the kernels beside a low-rank pair, which `trainable = True` has unfrozen."""
    for layer in every_layer(part):
        if getattr(layer, "lora_enabled", False):
            lora.stored_kernel(layer).trainable = False


def _layers_with_weights(part: keras.Layer) -> list[keras.Layer]:
    """The layers with weights in order; nested models are replaced by their layers, attention counts as one layer."""
    return [layer for layer in _flattened(part) if layer.weights]


def _flattened(part: keras.Layer) -> list[keras.Layer]:
    if isinstance(part, keras.Model):
        return [inner for layer in part.layers for inner in _flattened(layer)]
    return [part]


def _is_norm(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _head_count(model: keras.Model) -> int:
    """The number of layers with weights in the head of a model without a backbone."""
    is_norm = [_is_norm(layer) for layer in _layers_with_weights(model)]
    if all(is_norm):
        raise InputError(
            f"the model {model.name!r} has no layer with weights that could be its head. Build it first, or set `before`."
        )
    return is_norm[::-1].index(False) + 1


def _first(part: keras.Layer, layers: list[keras.Layer], last: int | None, from_layer: str | None) -> int:
    if from_layer is not None:
        everything = _flattened(part)
        names = [layer.name for layer in everything]
        if from_layer not in names:
            raise InputError(unknown("layer", from_layer, [layer.name for layer in layers]))
        before = {id(layer) for layer in everything[: names.index(from_layer)]}
        return sum(id(layer) in before for layer in layers)
    if last is not None and last > len(layers):
        raise InputError(f"`last` must be at most {len(layers)}, the layers with weights. Received: {last}.")
    return 0 if last is None else len(layers) - last


def _escape(path: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\.^$*+?{}[]|()" else letter for letter in path)
