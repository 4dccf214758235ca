"""Search for the first NaN or infinity in one step of a training.

Takes a compiled `keras.Model` in the state before the step, and the batch of the step; returns the layer and the
examples. Must not change the model, and must not train.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerastrain import checkpoints
from kerastrain.errors import InputError
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers import numbers as number_layers

_SENTENCES = {
    "inputs": "the inputs of the batch contain NaN or infinity",
    "targets": "the targets of the batch contain NaN or infinity",
    "weights": "the update of the previous step made the weight {layer!r} NaN or infinite, though loss and gradients were "
    "finite",
    "update": "the update of this step made the weight {layer!r} NaN or infinite, though loss and gradients were finite",
    "outputs": "it first appears in the output of the layer {layer!r}",
    "loss": "the model's outputs are finite, but their loss is not",
    "gradients": "the loss is finite, but the gradient is not: it first appears in the gradient of the layer {layer!r}",
}


@dataclass(frozen=True)
class Finding:
    """The first place of a step that is not finite.

    Args:
        place: "inputs", "targets", "weights", "outputs", "loss", "gradients" or "update", in the order in which they are
            checked; `find` never returns "update", which only the caller that takes the step can see.
        layer: str, the path of the layer or weight, or None.
        examples: tuple of int, the positions in the batch of the examples that cause it; empty where they are unknown.
    """

    place: str
    layer: str | None = None
    examples: tuple[int, ...] = ()

    def __str__(self) -> str:
        return _SENTENCES[self.place].format(layer=self.layer)


class NonFiniteError(InputError):
    """NaN or infinity appeared in a training.

    Args:
        step: int >= 0, the step of the training, from 0, in which it was noticed.
        message: str.
        finding: Finding, or None before a search.
        weight: str, the path of a weight that is not finite after the step; None where the loss was noticed.
    """

    def __init__(self, step: int, message: str, finding: Finding | None = None, *, weight: str | None = None):
        super().__init__(message)
        self.step = step
        self.finding = finding
        self.weight = weight


def find(model: keras.Model, x, y=None, sample_weight=None) -> Finding | None:
    """Runs one step layer by layer, forward and then backward, and returns the first place that is not finite.

    Args:
        model: keras.Model, compiled; its whole state is restored afterwards, seeds and moving averages included.
        x: inputs of the batch, as `fit` takes them.
        y: targets of the batch.
        sample_weight: sample weights of the batch, or None.

    Returns:
        Finding, or None if everything up to the update of the weights is finite.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(tf.math.log, name="log")], name="net")
        >>> model.compile(loss="mse")
        >>> print(find(model, tf.constant([[1.0], [0.0]]), tf.zeros((2, 1))))
        it first appears in the output of the layer 'net/log'
    """
    # A missing number is NaN, and `AppendNumbers` replaces it.
    checked = keras.tree.flatten(x)[0] if number_layers.of(model) else x
    for place, values in (("inputs", checked), ("targets", (y, sample_weight))):
        if not _is_finite(values):
            return Finding(place, examples=_nonfinite_examples(values))
    if weight := nonfinite_weight(model):
        return Finding("weights", weight)
    before = checkpoints.capture(model)
    try:
        return _rerun(model, x, y, sample_weight)
    finally:
        checkpoints.restore(model, before)


def nonfinite_weight(model: keras.Model) -> str | None:
    """Path of the first trainable weight that is not finite.

    Args:
        model: keras.Model, built.

    Returns:
        str, or None if all trainable weights are finite.
    """
    return next((weight.path for weight in model.trainable_variables if not _is_finite(weight.value)), None)


def _is_finite(values) -> bool:
    """True if all float values of a nest of tensors are finite; other dtypes count as finite."""
    return all(bool(tf.reduce_all(tf.math.is_finite(tensor))) for tensor in _floats(values))


def _rerun(model: keras.Model, x, y, sample_weight) -> Finding | None:
    calls: list[tuple[str, object]] = []  # name and outputs of each operation, in the order of the calls
    with tf.GradientTape() as tape, _recorded_calls(_operations(model), calls):
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True)
    if not _is_finite(loss):
        first = next(((name, values) for name, values in calls if not _is_finite(values)), None)
        return Finding("loss") if first is None else Finding("outputs", first[0], _nonfinite_examples(first[1]))
    weights = model.trainable_variables
    sources = [[_floats(values) for _, values in calls], [weight.value for weight in weights]]
    output_gradients, weight_gradients = tape.gradient(loss, sources)
    next_layer = None
    for (name, _), gradient in zip(reversed(calls), reversed(output_gradients), strict=True):
        if not _is_finite(gradient):
            return Finding("gradients", next_layer or name, _nonfinite_examples(gradient))
        next_layer = name
    pairs = zip(weights, weight_gradients, strict=True)
    path = next((weight.path for weight, gradient in pairs if not _is_finite(gradient)), None)
    return None if path is None else Finding("gradients", path.rpartition("/")[0] or path)


def _operations(model: keras.Model) -> list[keras.Operation]:
    """The layers inside a model, and the tensor functions between the layers of functional models."""
    layers = every_layer(model)
    operations = [operation for layer in layers for operation in getattr(layer, "operations", ())]
    functions = [operation for operation in operations if not isinstance(operation, keras.Layer)]
    return [layer for layer in layers if layer is not model] + functions


@contextlib.contextmanager
def _recorded_calls(operations: Sequence[keras.Operation], calls: list[tuple[str, object]]) -> Iterator[None]:
    """Appends the name and the outputs of each operation to `calls` when a call of it ends."""

    def recording(operation) -> Callable:
        call, name = operation.call, getattr(operation, "path", None) or operation.name

        def call_and_record(*arguments, **options):
            outputs = call(*arguments, **options)
            if tf.executing_eagerly():  # Inside a function that a layer traces, outputs are symbolic.
                calls.append((name, outputs))
            return outputs

        return call_and_record

    for operation in operations:
        object.__setattr__(operation, "call", recording(operation))
    try:
        yield
    finally:
        for operation in operations:
            object.__delattr__(operation, "call")


def _nonfinite_examples(values) -> tuple[int, ...]:
    """Positions along the first axis that are not finite; empty where all are, because that points to no example."""
    for tensor in _floats(values):
        if tensor.shape.rank and tensor.shape[0] > 1:
            finite = tf.reduce_all(tf.reshape(tf.math.is_finite(tensor), (tensor.shape[0], -1)), axis=1)
            if not bool(tf.reduce_all(finite)):
                return () if not bool(tf.reduce_any(finite)) else tuple(map(int, tf.where(~finite)[:, 0].numpy()))
    return ()


def _floats(values) -> list[tf.Tensor]:
    leaves = [
        leaf.values if isinstance(leaf, tf.IndexedSlices) else leaf
        for leaf in keras.tree.flatten(values)
        if leaf is not None
    ]
    return [tf.convert_to_tensor(leaf) for leaf in leaves if tf.as_dtype(leaf.dtype).is_floating]
