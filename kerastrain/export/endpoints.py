"""The functions that are traced into an exported file, and the model's own predictions to compare the file with.

Takes a keras.Model with one output and one input, beside which it may read numbers: its inputs are then a tuple of the two.
Must not write files.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain import tracing
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError, unknown
from kerastrain.export import decoded_images
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers import labels as model_labels
from kerastrain.layers import numbers as number_layers
from kerastrain.layers.text_pairs import SeparateTexts

Values = np.ndarray | tuple[np.ndarray, np.ndarray]
"""The inputs of a model: an array (n, ...), or a tuple of it and of the numbers beside it, float32 (n, k)."""

DEFAULT_SIGNATURE = "serving_default"
_BATCH_SIZE = 32
ACTIVATIONS = {None: lambda x: x, "softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}


def require_exportable(model: keras.Model, activation: str | None) -> None:
    """Checks that `model` can be exported, before anything is traced or written.

    Args:
        model: keras.Model to export.
        activation: a key of `ACTIVATIONS`.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: `model` is not built or has several inputs or outputs, or `activation` is unknown.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with keras.saving.load_model."
        )
    if activation not in ACTIVATIONS:
        raise InputError(unknown("activation", activation, [name for name in ACTIVATIONS if name]))
    if not model.built or not getattr(model, "inputs", None):
        raise InputError(
            f"`model` must be built before it is exported. Received: {model.name!r} without inputs. "
            "Give it an Input layer."
        )
    if len(model.inputs) != 1 + (number_layers.of(model) is not None) or len(model.outputs) != 1:
        raise InputError(
            f"`model` must have one input and one output. Received: {model.name!r} with {len(model.inputs)} and "
            f"{len(model.outputs)}. Export one keras.Model(inputs, outputs) per output."
        )


def reads_pairs(model: keras.Model) -> bool:
    """Whether a model reads pairs of texts, (b, 2, ...), which an exported signature takes as two arguments.

    Args:
        model: keras.Model.

    Returns:
        bool.
    """
    return any(isinstance(layer, SeparateTexts) or getattr(layer, "reads_pairs", False) for layer in every_layer(model))


def input_names(model: keras.Model) -> tuple[str, ...]:
    """The names of the arguments of an exported signature.

    Args:
        model: keras.Model that `require_exportable` accepts.

    Returns:
        tuple of str: "text" for strings, "tokens" for int32, "images" for tensors of rank 4, else "inputs"; then "pair" or
        "pair_tokens" for the second texts of pairs; then "numbers" for the numbers beside them.
    """
    source, *numbers = model.inputs
    if source.dtype in ("string", "int32"):
        names = ("text", "pair") if source.dtype == "string" else ("tokens", "pair_tokens")
        names = names if reads_pairs(model) else names[:1]
    else:
        names = ("images" if len(source.shape) == 4 else "inputs",)
    return (*names, number_layers.INPUT_NAME) if numbers else names


def input_specs(
    model: keras.Model, *, batch_size: int | None = None, input_shape: tuple[int | None, ...] | None = None
) -> list[tf.TensorSpec]:
    """The arguments of an exported signature, in order.

    Args:
        model: keras.Model that `require_exportable` accepts.
        batch_size: int > 0, or None for a variable batch size.
        input_shape: the shape of the model's input without the batch dimension, or None for the model's own.

    Returns:
        list of tf.TensorSpec, named as by `input_names`.
    """
    source, *numbers = model.inputs
    names, shape = input_names(model), source.shape[1:] if input_shape is None else input_shape
    names = names[: len(names) - len(numbers)]
    shape = shape[len(names) > 1 :]
    specs = [tf.TensorSpec((batch_size, *shape), source.dtype, name=name) for name in names]
    return [*specs, *number_specs(model, batch_size=batch_size)]


def number_specs(model: keras.Model, *, batch_size: int | None = None) -> list[tf.TensorSpec]:
    """The argument of an exported signature for the numbers beside the images or texts.

    Args:
        model: keras.Model that `require_exportable` accepts.
        batch_size: int > 0, or None for a variable batch size.

    Returns:
        list of at most one tf.TensorSpec.
    """
    return [
        tf.TensorSpec((batch_size, *numbers.shape[1:]), numbers.dtype, name=number_layers.INPUT_NAME)
        for numbers in model.inputs[1:]
    ]


def changed(inputs: Values, change: Callable[[np.ndarray], np.ndarray]) -> Values:
    """Inputs whose images or texts are changed, with the same numbers beside them.

    Args:
        inputs: Values.
        change: callable from the array of images or texts to another array (n, ...).

    Returns:
        Values.
    """
    return (change(inputs[0]), *inputs[1:]) if isinstance(inputs, tuple) else change(inputs)


def shape_of(inputs: Values) -> tuple[int, ...]:
    """The shape of one image or text.

    Args:
        inputs: Values.

    Returns:
        tuple of int, without the number of examples.
    """
    return (inputs[0] if isinstance(inputs, tuple) else inputs).shape[1:]


def arguments(model: keras.Model, inputs: Values) -> dict[str, np.ndarray]:
    """Inputs of a model as the arguments of an exported signature.

    Args:
        model: keras.Model that `require_exportable` accepts.
        inputs: Values, as the model takes them.

    Returns:
        dict from each of `input_names` to an array (n, ...).
    """
    names = input_names(model)
    if isinstance(inputs, tuple):
        *names, last = names
        inputs, beside = inputs[0], {last: inputs[1]}
    else:
        beside = {}
    columns = {names[0]: inputs} if len(names) == 1 else {name: inputs[:, place] for place, name in enumerate(names)}
    return {**columns, **beside}


def _model_inputs(model: keras.Model, values: Sequence[tf.Tensor]) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """The inputs of a model, from the arguments of an exported signature."""
    count = len(values) - len(model.inputs) + 1
    source = values[0] if count == 1 else tf.stack(values[:count], axis=1)
    return source if count == len(values) else (source, values[-1])


def output_name(activation: str | None) -> str:
    """The output's name in an exported signature.

    Args:
        activation: a key of `ACTIVATIONS`.

    Returns:
        "probabilities" with an activation, else "logits".
    """
    return "probabilities" if activation else "logits"


def threshold(activation: str | None) -> float:
    """The decision boundary of a single output.

    Args:
        activation: a key of `ACTIVATIONS`.

    Returns:
        float, 0.5 for a probability, 0.0 for a logit.
    """
    return 0.5 if activation else 0.0


def serving_function(model: keras.Model, activation: str | None) -> Callable[..., dict[str, tf.Tensor]]:
    """The model in inference mode.

    Args:
        model: keras.Model that `require_exportable` accepts.
        activation: a key of `ACTIVATIONS`.

    Returns:
        Callable from batches of `input_specs` (images: raw pixels in [0, 255]) to a dict of the model's output by name.
    """

    def serve(*inputs):
        # Without an explicit `training=False`, layers of random augmentation stay active in the traced function.
        outputs = model(_model_inputs(model, inputs), training=False)
        return {output_name(activation): ACTIVATIONS[activation](outputs)}

    return serve


def image_bytes_function(model: keras.Model, activation: str | None) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The model for encoded image files, each decoded to the model's input as in training, by `decoded_images`.

    Args:
        model: keras.Model for which `accepts_image_bytes` is True.
        activation: a key of `ACTIVATIONS`.

    Returns:
        Callable from a string tensor (b,) of encoded files, and the numbers beside them if there are any, to a dict of the
        model's output by name.
    """
    image_size, decoding = tuple(model.inputs[0].shape[1:3]), _decoding(model)

    def serve(image_bytes, *numbers):
        images = tf.map_fn(
            lambda content: decoded_images.decoded_image(content, image_size, decoding),
            image_bytes,
            fn_output_signature=tf.TensorSpec((*image_size, 3), tf.float32),
        )
        if model.inputs[0].dtype == "uint8":
            images = tf.cast(tf.round(images), tf.uint8)
        return serving_function(model, activation)(images, *numbers)

    return serve


def accepts_image_bytes(model: keras.Model) -> bool:
    """Whether the model's input is a batch of RGB images of a fixed size, so that files can be decoded into it.

    Args:
        model: keras.Model with one input.

    Returns:
        bool.
    """
    shape = model.inputs[0].shape
    return len(shape) == 4 and shape[3] == 3 and None not in shape[1:3]


def _decoding(model: keras.Model) -> Decoding:
    has_labels = any(isinstance(layer, model_labels.Labels) for layer in model.layers)
    return model_labels.decoding(model) if has_labels else Decoding()


def predictions(model: keras.Model, inputs: Values, activation: str | None) -> np.ndarray:
    """The model's outputs from `predict`, with `activation` applied: the reference for every export.

    Args:
        model: keras.Model that `require_exportable` accepts.
        inputs: Values, as the model takes them.
        activation: a key of `ACTIVATIONS`.

    Returns:
        float32 (n, ..., outputs).

    Raises:
        InputError: `activation` is "softmax" and the outputs are probabilities already.
    """
    outputs = tracing.predict(model, tf.data.Dataset.from_tensor_slices((inputs,)).batch(_BATCH_SIZE))
    return activated(outputs, activation)


def activated(outputs: np.ndarray, activation: str | None) -> np.ndarray:
    """Applies an activation to the outputs of a model.

    Args:
        outputs: float (n, ..., outputs).
        activation: a key of `ACTIVATIONS`.

    Returns:
        float32 (n, ..., outputs).

    Raises:
        InputError: as for `predictions`.
    """
    if activation == "softmax" and np.all(outputs >= 0) and np.allclose(outputs.sum(-1), 1, atol=1e-3):
        raise InputError(
            "`activation` must be None for a model that returns probabilities. Received: 'softmax', and the model's "
            "outputs sum to 1 already. Leave it out."
        )
    return ACTIVATIONS[activation](tf.constant(outputs)).numpy()
