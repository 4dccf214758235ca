"""A model as one flat sequence of steps, because Grad-CAM needs tensors inside nested models.

Takes a `keras.Model`; returns a functional model with the same weights in which every operation of every nested functional
or Sequential model is one layer. Must not change the given model: it gets no new nodes, weights or configuration.
"""

import functools
import types
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.hub import cutting
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals.graph import is_transparent, producer, run_through_graph
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers.tokens import RotaryAttention

_PROBABILITY_ACTIVATIONS = ("softmax", "sigmoid")


class Step(keras.layers.Layer):
    """One operation of another model, called without adding a node to that model's graph.

    Maps (batch, height, width, channels) in half precision are returned as float32, since sums over them would round; the
    operations that take them get them in half precision.

    Args:
        function: callable from tensors to tensors, with weights or without.
        origin: str, the names of the operation and of the models around it, such as "backbone/conv_1".
        operation: keras.Operation, or None for a part of one.
        has_weights: bool, whether the operation has weights.
        input_dtypes: sequence of the dtype of each tensor that it takes, None where that is the dtype it gets.
    """

    def __init__(
        self,
        function: Callable,
        origin: str,
        *,
        operation: keras.Operation | None = None,
        has_weights: bool = False,
        input_dtypes: Sequence[str | None] = (),
    ):
        super().__init__(autocast=False, dtype="float32")
        self.function = function
        self.origin = origin
        # Namespaces, since Keras would track the operation and its weights as part of this layer.
        self.of = types.SimpleNamespace(operation=operation, input_dtypes=tuple(input_dtypes), half=None)
        self.has_weights = has_weights
        self.built = True

    def call(self, *tensors):
        """The outputs of the operation."""
        dtypes = self.of.input_dtypes or (None,) * len(tensors)
        tensors = [tf.cast(item, dtype) if dtype else item for item, dtype in zip(tensors, dtypes, strict=True)]
        outputs = self.function(*tensors)
        if isinstance(outputs, tf.Tensor) and outputs.shape.rank == 4 and outputs.dtype in (tf.bfloat16, tf.float16):
            self.of.half = outputs.dtype.name
            return tf.cast(outputs, "float32")
        return outputs


def flattened(
    model: keras.Model,
    image_shape: tuple[int, int, int],
    *,
    cut: bool = True,
    layer: str | None = None,
    with_attention: bool = False,
) -> keras.Model:
    """A functional model of `Step`s with the outputs of `model`, without a softmax or sigmoid at its end.

    Explanations start from logits because the gradient of a saturated softmax is zero. Each `HubLayer` becomes two steps, its
    feature maps and what follows them: by its `feature_maps` endpoint if their mean is its output, else by cutting its graph.

    Args:
        model: keras.Model with one input; one that is not transparent becomes a single step.
        image_shape: tuple of three ints, height, width and channels.
        cut: bool, whether to divide each `HubLayer`; False leaves it whole, and its weights are read at each call.
        layer: str, the layer of a Hub module to cut it at; None for its last feature maps.
        with_attention: bool, whether attention layers also return their scores.

    Returns:
        keras.Model from float32 (batch, *image_shape) to the outputs. Its attribute `notes` has `uncut`, a list of (name,
        reason) of the Hub modules that could not be cut, `inner`, the names of layers inside those that were, and
        `attention`, a list of (Step, scores).

    Raises:
        InputError: `layer` is neither a layer of the model nor one inside its Hub modules.
    """
    replay = _Replay(model, cut, layer, with_attention)
    inputs = keras.Input(image_shape)
    if not is_transparent(model):
        outputs = [Step(model, model.name, operation=model, has_weights=True)(inputs)]
    else:
        outputs = [replay.run(model, inputs, "")]
    flat = keras.Model([inputs], outputs)
    flat.notes = replay.notes
    return flat


class _Replay:
    """Runs the graph of a model and of the models in it, and makes each operation a step."""

    def __init__(self, model: keras.Model, cut: bool, layer: str | None, with_attention: bool):
        self.final_activation = final_activation(model)
        self.cut, self.layer, self.with_attention = cut, layer, with_attention
        self.own_names = {item.name for item in every_layer(model)} | {"feature_maps"}
        self.notes = types.SimpleNamespace(uncut=[], inner=[], attention=[])
        self._halves = []  # the tensors that steps return as float32, with their dtypes

    def run(self, model, inputs, path):
        """The outputs of a transparent model."""

        def call(operation, *args, **kwargs):
            # A recorded `training=True` would activate augmentation; the flat model is called with training=False.
            kwargs.pop("training", None)
            name = f"{path}{operation.name}"
            if is_transparent(operation):
                return self.run(operation, args, f"{name}/")
            tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
            if self.cut and isinstance(operation, HubLayer) and len(tensors) == 1 and len(tensors[0].shape) == 4:
                return self._hub_layer(operation, name, tensors)
            return self._operation(operation, name, args, kwargs, tensors)

        if isinstance(model, keras.Sequential):
            (tensor,) = keras.tree.flatten(inputs)
            for layer in model.layers:
                tensor = call(layer, tensor)
            return tensor
        return run_through_graph(model, inputs, call)

    def _operation(self, operation, name, args, kwargs, tensors):
        has_weights = isinstance(operation, keras.Layer) and bool(operation.weights)
        function = without_activation(operation) if operation is self.final_activation else operation
        scores = self.with_attention and returns_attention_scores(operation)
        function = functools.partial(function, return_attention_scores=True) if scores else function
        step = Step(
            _on_tensors(function, args, kwargs),
            name,
            operation=operation,
            has_weights=has_weights,
            input_dtypes=[next((dtype for item, dtype in self._halves if item is tensor), None) for tensor in tensors],
        )
        outputs = step(*tensors)
        if scores:
            outputs, attention = outputs
            self.notes.attention.append((step, attention))
        if step.of.half:
            self._halves.append((outputs, step.of.half))
        return outputs

    def _hub_layer(self, layer, name, tensors):
        wanted = self._wanted(name)
        if wanted is None and _endpoint_leads_to_output(layer, tensors[0].shape[1:]):
            maps = Step(_feature_maps(layer), f"{name}/feature_maps", has_weights=True)(*tensors)
            return Step(keras.layers.GlobalAveragePooling2D(), f"{name}/pooled")(maps)
        try:
            halves = cutting.cut(layer, tensors[0].shape[1:], name=wanted)
        except cutting.CannotCut as error:
            self.notes.uncut.append((name, str(error)))
            return Step(layer, name, operation=layer, has_weights=True)(*tensors)
        self.notes.inner.extend(f"{name}/{inner}" for inner in halves.names)
        maps = Step(halves.maps, f"{name}/{halves.name}", has_weights=True)(*tensors)
        return Step(halves.outputs, f"{name}/outputs")(*tensors, maps)

    def _wanted(self, name: str) -> str | None:
        """The layer inside the Hub module `name` that is asked for, or None."""
        if self.layer is None or self.layer.rpartition("/")[2] in self.own_names:
            return None
        for prefix in (f"{name}/", f"{name.rpartition('/')[2]}/"):
            if self.layer.startswith(prefix):
                return self.layer.removeprefix(prefix)
        return self.layer


def returns_attention_scores(operation: keras.Operation) -> bool:
    """Whether a layer is attention whose scores can be had.

    Args:
        operation: keras.Operation.
    """
    known = keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention | RotaryAttention
    return isinstance(operation, known)


def _endpoint_leads_to_output(layer: HubLayer, shape: tuple[int, ...]) -> bool:
    """Whether the mean of the `feature_maps` of a module is its output, tried on noise."""
    if not callable(getattr(layer.module, "feature_maps", None)):
        return False
    images = tf.constant(np.random.default_rng(0).uniform(0, 1, (1, *shape)).astype("float32"))
    maps, outputs = _feature_maps(layer)(images), layer.infer(images)
    if not isinstance(outputs, tf.Tensor) or maps.shape.rank != 4 or outputs.shape != (1, maps.shape[-1]):
        return False
    return cutting.largest_difference(tf.reduce_mean(maps, axis=(1, 2)), outputs) <= cutting.TOLERANCE


def _on_tensors(function: Callable, args: tuple, kwargs: dict) -> Callable:
    """`function` of only the tensors among its arguments; all other arguments, such as slices, are fixed."""
    leaves = keras.tree.flatten((args, kwargs))

    def call(*tensors):
        remaining = iter(tensors)
        filled = [next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf for leaf in leaves]
        filled_args, filled_kwargs = keras.tree.pack_sequence_as((args, kwargs), filled)
        return function(*filled_args, **filled_kwargs)

    return call


def _feature_maps(layer: HubLayer):
    def maps(images):
        return tf.cast(layer.module.feature_maps(tf.cast(images, "float32"), training=False), "float32")

    return maps


def final_activation(model: keras.Model) -> keras.Layer | None:
    """The layer that turns logits into probabilities at the end of a model.

    Args:
        model: keras.Model.

    Returns:
        keras.Layer with a softmax or sigmoid; None if the model returns logits or is not transparent.
    """
    return _final_activation_layer(model) if is_transparent(model) else None


def _final_activation_layer(model: keras.Model) -> keras.Layer | None:
    """The layer that turns logits into probabilities at the end of `model`, or None."""
    operation = _last_operation(model)
    while _is_passthrough(operation):
        operation = producer(operation.input)
        operation = _last_operation(operation) if is_transparent(operation) else operation
    activation = getattr(getattr(operation, "activation", None), "__name__", None)
    is_final = isinstance(operation, keras.layers.Softmax) or activation in _PROBABILITY_ACTIVATIONS
    return operation if is_final else None


def _last_operation(model: keras.Layer) -> keras.Operation:
    while is_transparent(model):
        model = model.layers[-1] if isinstance(model, keras.Sequential) else producer(model.outputs[0])
    return model


def _is_passthrough(operation: keras.Operation) -> bool:
    """Whether the operation returns its input unchanged, such as a layer that holds the labels."""
    if not isinstance(operation, keras.Layer) or operation.weights or isinstance(operation, keras.layers.Softmax):
        return False
    activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
    one_input = isinstance(operation.input, keras.KerasTensor) and not isinstance(operation, keras.layers.InputLayer)
    return activation == "linear" and one_input and operation.input.shape == operation.output.shape


def without_activation(layer: keras.Layer) -> keras.Layer:
    """Makes a copy of a layer without its softmax or sigmoid, with equal weights.

    Args:
        layer: keras.Layer, as from `final_activation`.

    Returns:
        keras.Layer.
    """
    if not layer.weights:
        return keras.layers.Identity()
    twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin
