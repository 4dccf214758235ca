"""Where NaN or infinity first appears in one step of a training.

Takes a compiled `keras.Model` as it was before the step and the step's batch; gives the layer, and the examples. Must
not change the model, and must not train.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerastrain import checkpoints
from kerastrain.errors import InputError
from kerastrain.transfer import freezing

_SENTENCES = {
    "inputs": "the inputs of the batch are not all finite",
    "targets": "the targets of the batch are not all finite",
    "weights": "the update of the step before made the weight {layer!r} infinite or NaN, though loss and gradients were "
    "finite",
    "update": "the update after it made the weight {layer!r} infinite or NaN, though loss and gradients were finite",
    "outputs": "it first appears in what the layer {layer!r} gives",
    "loss": "the model's outputs are finite, and their loss is not",
    "gradients": "the loss is finite, and its gradient is first not so in the layer {layer!r}",
}


@dataclass(frozen=True)
class Finding:
    """The first place of a step that is not finite.

    Args:
        place: "inputs", "targets", "weights", "outputs", "loss", "gradients" or "update", in the order in which they are
            tried; "update" is found by who takes the step.
        layer: str, the path of the layer or weight, or None.
        examples: tuple of int, the positions in the batch of the examples that are at fault; empty where it cannot be
            told.
    """

    place: str
    layer: str | None = None
    examples: tuple[int, ...] = ()

    def __str__(self) -> str:
        return _SENTENCES[self.place].format(layer=self.layer)


class NonFiniteError(InputError):
    """A training met NaN or infinity.

    Args:
        step: int, the step of the training, from 0, in which it was noticed.
        message: str.
        finding: Finding, or None where nobody has looked.
        weight: str, the path of a weight that is not finite after the step, where it was that which was noticed.
    """

    def __init__(self, step: int, message: str, finding: Finding | None = None, *, weight: str | None = None):
        super().__init__(message)
        self.step = step
        self.finding = finding
        self.weight = weight


def find(model: keras.Model, x, y=None, sample_weight=None) -> Finding | None:
    """Runs one step layer by layer, first forwards, then backwards, and says where it is first not finite.

    Args:
        model: keras.Model, compiled; it comes out as it went in, seeds and averages too.
        x: inputs of the batch, as `fit` takes them.
        y: its targets.
        sample_weight: its weights, or None.

    Returns:
        Finding, or None if everything is finite, up to the update of the weights.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(tf.math.log, name="log")], name="net")
        >>> model.compile(loss="mse")
        >>> print(find(model, tf.constant([[1.0], [0.0]]), tf.zeros((2, 1))))
        it first appears in what the layer 'net/log' gives
    """
    for place, given in (("inputs", x), ("targets", (y, sample_weight))):
        if not is_finite(given):
            return Finding(place, examples=_at_fault(given))
    if weight := infinite_weight(model):
        return Finding("weights", weight)
    before = checkpoints.capture(model)
    try:
        return _rerun(model, x, y, sample_weight)
    finally:
        checkpoints.restore(model, before)


def infinite_weight(model: keras.Model) -> str | None:
    """The path of the first weight that trains and is not finite, or None."""
    return next((weight.path for weight in model.trainable_variables if not is_finite(weight.value)), None)


def is_finite(values) -> bool:
    """Whether a tensor or nested structure of them holds no NaN and no infinity; what is not float always does."""
    return all(bool(tf.reduce_all(tf.math.is_finite(one))) for one in _floats(values))


def _rerun(model: keras.Model, x, y, sample_weight) -> Finding | None:
    seen: list[tuple[str, object]] = []
    with tf.GradientTape() as tape, _watched(_operations(model), lambda name, given: seen.append((name, given))):
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True)
    if not is_finite(loss):
        bad = next(((name, given) for name, given in seen if not is_finite(given)), None)
        return Finding("loss") if bad is None else Finding("outputs", bad[0], _at_fault(bad[1]))
    weights = model.trainable_variables
    gradients = tape.gradient(loss, [[_floats(given) for _, given in seen], [weight.value for weight in weights]])
    after = None
    for (name, _), gradient in zip(reversed(seen), reversed(gradients[0]), strict=True):
        if not is_finite(gradient):
            return Finding("gradients", after or name, _at_fault(gradient))
        after = name
    bad_weights = (weight.path for weight, one in zip(weights, gradients[1], strict=True) if not is_finite(one))
    weight = next(bad_weights, None)
    return None if weight is None else Finding("gradients", weight.rpartition("/")[0] or weight)


def _operations(model: keras.Model) -> list[keras.Operation]:
    """The layers inside a model, and the functions of tensors between the layers of functional ones."""
    layers = freezing.every_layer(model)
    functions = [
        one for layer in layers for one in getattr(layer, "operations", ()) if not isinstance(one, keras.Layer)
    ]
    return [one for one in layers if one is not model] + functions


@contextlib.contextmanager
def _watched(operations: Sequence[keras.Operation], see: Callable) -> Iterator[None]:
    """Tells `see` the name and the outputs of each operation that is called, as it ends."""

    def watching(operation):
        call, name = operation.call, getattr(operation, "path", None) or operation.name

        def call_and_tell(*arguments, **options):
            outputs = call(*arguments, **options)
            if tf.executing_eagerly():  # a layer may trace a function of its own
                see(name, outputs)
            return outputs

        return call_and_tell

    for operation in operations:
        object.__setattr__(operation, "call", watching(operation))
    try:
        yield
    finally:
        for operation in operations:
            object.__delattr__(operation, "call")


def _at_fault(values) -> tuple[int, ...]:
    """Along the first axis, the places that are not finite; none where all are not, which tells nothing."""
    for one in _floats(values):
        if one.shape.rank and one.shape[0] > 1:
            finite = tf.reduce_all(tf.reshape(tf.math.is_finite(one), (one.shape[0], -1)), axis=1)
            if not bool(tf.reduce_all(finite)):
                return () if not bool(tf.reduce_any(finite)) else tuple(map(int, tf.where(~finite)[:, 0].numpy()))
    return ()


def _floats(values) -> list[tf.Tensor]:
    leaves = [one.values if isinstance(one, tf.IndexedSlices) else one for one in keras.tree.flatten(values)]
    return [tf.convert_to_tensor(one) for one in leaves if one is not None and tf.as_dtype(one.dtype).is_floating]
