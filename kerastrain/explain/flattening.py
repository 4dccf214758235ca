"""A model as one flat row of steps, since Grad-CAM needs tensors that nesting hides.

Takes a `keras.Model`; gives a functional model over the same weights in which every operation of every nested
functional or Sequential model is a layer of its own. The given model gets no new nodes, weights or configuration.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals.graph import is_transparent, producer, run_through_graph

_SQUASHING = ("softmax", "sigmoid")


class Step(keras.layers.Layer):
    """One operation of another model, called without leaving a trace in that model's graph.

    Args:
        function: callable from tensors to tensors, with its own weights or none.
        origin: str, the names of the operation and the models around it, such as "backbone/conv_1".
        is_learned: bool, whether the operation has weights.
    """

    def __init__(self, function: Callable, origin: str, is_learned: bool = False):
        super().__init__(autocast=False, dtype="float32")
        self.function = function
        self.origin = origin
        self.is_learned = is_learned
        self.built = True

    def call(self, *tensors):
        """What the operation gives."""
        return self.function(*tensors)


def flattened(model: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """A functional model of `Step`s that gives what `model` gives, less a softmax or sigmoid at its end.

    Explanations start from logits: the gradient of a saturated softmax is zero. Each `HubLayer` whose module has a
    `feature_maps` endpoint becomes two steps, the maps and their spatial mean.

    Args:
        model: keras.Model with one input; one that is not transparent becomes a single step.
        image_shape: tuple of three ints, height, width and channels.

    Returns:
        keras.Model from float32 (batch, *image_shape) to the outputs.
    """
    inputs = keras.Input(image_shape)
    if not is_transparent(model):
        return keras.Model([inputs], [Step(model, model.name, is_learned=True)(inputs)])
    return keras.Model([inputs], [_replay(model, inputs, "", _squashing_layer(model))])


def _replay(model, inputs, path, squashing):
    def call(operation, *args, **kwargs):
        # A recorded `training=True` would wake augmentation; the flat model is called with training=False.
        kwargs.pop("training", None)
        name = f"{path}{operation.name}"
        if is_transparent(operation):
            return _replay(operation, args, f"{name}/", squashing)
        tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
        if isinstance(operation, HubLayer) and hasattr(operation.module, "feature_maps"):
            maps = Step(_feature_maps(operation), f"{name}/feature_maps", is_learned=True)(*tensors)
            return Step(keras.layers.GlobalAveragePooling2D(), f"{name}/pooled")(maps)
        is_learned = isinstance(operation, keras.Layer) and bool(operation.weights)
        function = _linear(operation) if operation is squashing else operation
        return Step(_on_tensors(function, args, kwargs), name, is_learned)(*tensors)

    if isinstance(model, keras.Sequential):
        (tensor,) = keras.tree.flatten(inputs)
        for layer in model.layers:
            tensor = call(layer, tensor)
        return tensor
    return run_through_graph(model, inputs, call)


def _on_tensors(function: Callable, args: tuple, kwargs: dict) -> Callable:
    """`function` of the tensors among its arguments alone; slices, numbers and the like stay what they are."""
    leaves = keras.tree.flatten((args, kwargs))

    def call(*tensors):
        waiting = iter(tensors)
        filled = [next(waiting) if isinstance(leaf, keras.KerasTensor) else leaf for leaf in leaves]
        filled_args, filled_kwargs = keras.tree.pack_sequence_as((args, kwargs), filled)
        return function(*filled_args, **filled_kwargs)

    return call


def _feature_maps(layer: HubLayer):
    def maps(images):
        return tf.cast(layer.module.feature_maps(tf.cast(images, "float32"), training=False), "float32")

    return maps


def _squashing_layer(model: keras.Model) -> keras.Layer | None:
    """The layer that turns logits into probabilities at the end of `model`, if there is one."""
    operation = _producer(model)
    while _passes_on(operation):
        operation = producer(operation.input)
        operation = _producer(operation) if is_transparent(operation) else operation
    activation = getattr(getattr(operation, "activation", None), "__name__", None)
    squashes = isinstance(operation, keras.layers.Softmax) or activation in _SQUASHING
    return operation if squashes else None


def _producer(model: keras.Layer) -> keras.Operation:
    while is_transparent(model):
        model = model.layers[-1] if isinstance(model, keras.Sequential) else producer(model.outputs[0])
    return model


def _passes_on(operation: keras.Operation) -> bool:
    """Whether the operation only hands its input on, such as a layer that carries the labels."""
    if not isinstance(operation, keras.Layer) or operation.weights or isinstance(operation, keras.layers.Softmax):
        return False
    activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
    one_input = isinstance(operation.input, keras.KerasTensor) and not isinstance(operation, keras.layers.InputLayer)
    return activation == "linear" and one_input and operation.input.shape == operation.output.shape


def _linear(layer: keras.Layer) -> keras.Layer:
    """`layer` without its softmax or sigmoid."""
    if not layer.weights:
        return keras.layers.Identity()
    twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin
