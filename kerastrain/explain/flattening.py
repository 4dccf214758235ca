"""A model as one flat sequence of steps, because Grad-CAM needs tensors inside nested models.

Takes a `keras.Model`; returns a functional model with the same weights in which every operation of every nested functional
or Sequential model is one layer. Must not change the given model: it gets no new nodes, weights or configuration.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals.graph import is_transparent, producer, run_through_graph

_PROBABILITY_ACTIVATIONS = ("softmax", "sigmoid")


class Step(keras.layers.Layer):
    """One operation of another model, called without adding a node to that model's graph.

    Args:
        function: callable from tensors to tensors, with weights or without.
        origin: str, the names of the operation and of the models around it, such as "backbone/conv_1".
        has_weights: bool, whether the operation has weights.
    """

    def __init__(self, function: Callable, origin: str, has_weights: bool = False):
        super().__init__(autocast=False, dtype="float32")
        self.function = function
        self.origin = origin
        self.has_weights = has_weights
        self.built = True

    def call(self, *tensors):
        """The outputs of the operation."""
        return self.function(*tensors)


def flattened(model: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """A functional model of `Step`s with the outputs of `model`, without a softmax or sigmoid at its end.

    Explanations start from logits because the gradient of a saturated softmax is zero. Each `HubLayer` whose module has a
    `feature_maps` endpoint becomes two steps: the maps, and their mean over height and width.

    Args:
        model: keras.Model with one input; one that is not transparent becomes a single step.
        image_shape: tuple of three ints, height, width and channels.

    Returns:
        keras.Model from float32 (batch, *image_shape) to the outputs.
    """
    inputs = keras.Input(image_shape)
    if not is_transparent(model):
        return keras.Model([inputs], [Step(model, model.name, has_weights=True)(inputs)])
    return keras.Model([inputs], [_replay(model, inputs, "", _final_activation_layer(model))])


def _replay(model, inputs, path, final_activation):
    def call(operation, *args, **kwargs):
        # A recorded `training=True` would activate augmentation; the flat model is called with training=False.
        kwargs.pop("training", None)
        name = f"{path}{operation.name}"
        if is_transparent(operation):
            return _replay(operation, args, f"{name}/", final_activation)
        tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
        if isinstance(operation, HubLayer) and hasattr(operation.module, "feature_maps"):
            maps = Step(_feature_maps(operation), f"{name}/feature_maps", has_weights=True)(*tensors)
            return Step(keras.layers.GlobalAveragePooling2D(), f"{name}/pooled")(maps)
        has_weights = isinstance(operation, keras.Layer) and bool(operation.weights)
        function = _linear(operation) if operation is final_activation else operation
        return Step(_on_tensors(function, args, kwargs), name, has_weights)(*tensors)

    if isinstance(model, keras.Sequential):
        (tensor,) = keras.tree.flatten(inputs)
        for layer in model.layers:
            tensor = call(layer, tensor)
        return tensor
    return run_through_graph(model, inputs, call)


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


def _linear(layer: keras.Layer) -> keras.Layer:
    """A copy of `layer` without its softmax or sigmoid, with equal weights."""
    if not layer.weights:
        return keras.layers.Identity()
    twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin
