"""A forward pass in which each frozen batch normalization is part of the convolution before it.

A batch normalization whose statistics, scale and offset do not train is an affine map of each channel, and the convolution
before it is linear: with s = gamma / sqrt(variance + epsilon),

    s * (conv(x, kernel) + bias - mean) + beta  =  conv(x, s * kernel) + s * (bias - mean) + beta.

The left side reads and writes every activation of the convolution twice more, and once more for the gradient. The right side
does this for the kernel alone, and leaves TensorFlow a convolution with a bias and an activation, which it computes as one.

Takes a functional `keras.Model`; returns a function that computes what a call of it computes, up to rounding, or makes it the
one of the model's steps. Must not change the layers of the model or their weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.keras_internals import program as programs
from kerastrain.train_step import exact_step


def install(model: keras.Model) -> bool:
    """Makes `fit` compute the frozen batch normalizations of a model as part of the convolutions before them.

    Validation and `evaluate` compute all batch normalizations so, unless the model overrides `test_step`. Takes effect on the
    next `fit`, with and without XLA; it belongs to this object and is not saved. Memory settings of `kerastrain.memory` may
    precede or follow; steps with rematerialized blocks and models with placed ones keep their own forward pass.

    Args:
        model: keras.Model, compiled.

    Returns:
        bool, whether there is anything to fold: False too for a model that overrides `train_step`.
    """
    folded = None if exact_step.overrides(model, "train_step") else forward(model)
    if folded is None:
        return False
    if not isinstance(model.train_step, exact_step.ExactStep):
        model.train_step = exact_step.ExactStep(model, frees_memory=False)
    model.train_step.folded = folded
    model.train_function = None
    if not exact_step.overrides(model, "test_step"):
        model.test_step = _TestStep(model, folded)
        model.test_function = None
    return True


def forward(model: keras.Model) -> Callable | None:
    """The folded forward pass of a model.

    Whether a batch normalization is frozen is read in each call, so layers may be frozen and unfrozen between two traces.

    Args:
        model: keras.Model, built.

    Returns:
        callable (inputs, training) -> outputs, for `ExactStep.forward`; None if the model is not functional, or if none of its
        batch normalizations follows a convolution that nothing else reads.
    """
    try:
        program = programs.record(model)
    except InputError:
        return None
    pairs = _pairs(program)
    if not pairs:
        return None

    def folded(x, training: bool):
        values = dict(zip((slot.number for slot in program.inputs), programs.flat_inputs(model, x), strict=True))
        done = set()
        for position, instruction in enumerate(program.instructions):
            if position in done:
                continue
            follower = pairs.get(position)
            norm = follower and program.instructions[follower]
            if norm and _is_affine(norm.operation, training=training) and _is_plain(instruction.operation):
                output = _fused(instruction.operation, norm.operation, values[instruction.inputs[0].number])
                values[norm.outputs[0].number] = output
                done.add(follower)
            else:
                programs.run([instruction], values, training=training)
        return programs.packed_outputs(model, [values[slot.number] for slot in program.outputs])

    return folded


def inference_model(model: keras.Model) -> keras.Model:
    """A model whose `predict` and calls compute every batch normalization as part of the convolution before it.

    Args:
        model: keras.Model, built; it stays as it is, and its weights may change afterwards.

    Returns:
        keras.Model that shares the layers of `model`, for inference on its devices; `model` itself if there is nothing to fold.
    """
    folded = forward(model)
    if folded is None:
        return model
    with model.distribute_strategy.scope():
        return InferenceModel(model, folded)


@dataclass
class _TestStep:
    """A `test_step` for one model, through a folded forward pass."""

    model: keras.Model
    folded: Callable

    def __call__(self, data) -> dict:
        forward = None if exact_step.is_placed(self.model) else self.folded
        return exact_step.test_step(self.model, data, forward=forward)


class InferenceModel(keras.Model):
    """A model that is called through another forward pass than its own, for inference.

    Args:
        model: keras.Model, built.
        folded: callable (inputs, training) -> outputs, such as from `forward`.
    """

    def __init__(self, model: keras.Model, folded: Callable):
        # In mixed precision, a layer rounds the variables that are read in its call, here before the scale is in them.
        super().__init__(name=model.name, autocast=False, dtype="float32")
        self.model, self.folded = model, folded

    @property
    def inputs(self):
        """The inputs of the model."""
        return self.model.inputs

    @property
    def output_shape(self):
        """The shape of the outputs of the model."""
        return self.model.output_shape

    def call(self, inputs):
        """Computes the outputs by `folded`."""
        return self.folded(inputs, training=False)


def _pairs(program: programs.Program) -> dict[int, int]:
    """From the position of each convolution to that of the batch normalization that alone reads its result."""
    readers: dict[programs.Slot, list[int]] = {}
    for position, instruction in enumerate(program.instructions):
        for slot in instruction.inputs:
            readers.setdefault(slot, []).append(position)
    pairs = {}
    for position, instruction in enumerate(program.instructions):
        if type(instruction.operation) not in _CONVOLUTIONS or instruction.outputs[0] in program.outputs:
            continue
        following = readers.get(instruction.outputs[0], [])
        if len(following) == 1 and _can_join(instruction.operation, program.instructions[following[0]].operation):
            pairs[position] = following[0]
    return pairs


def _can_join(convolution: keras.Layer, norm: keras.Operation) -> bool:
    return (
        type(norm) is keras.layers.BatchNormalization
        and not getattr(norm, "renorm", False)  # which Keras 3.13 does not have
        and norm.activity_regularizer is None
        and norm.axis in (-1, 3)
        and convolution.data_format == "channels_last"
        and convolution.compute_dtype == norm.compute_dtype
        # The range of float16 is small: a kernel and a scale may lie within it, and their product or its gradient not.
        and convolution.compute_dtype != "float16"
    )


def _is_affine(norm: keras.layers.BatchNormalization, *, training: bool) -> bool:
    return not (training and norm.trainable)


def _is_plain(convolution: keras.Layer) -> bool:
    """Whether a convolution does no more than its kernel and its bias say."""
    return (
        convolution.activation in (None, keras.activations.linear)
        and convolution.activity_regularizer is None
        and not getattr(convolution, "lora_enabled", False)
        and getattr(convolution, "quantization_mode", None) is None
    )


def _fused(convolution: keras.Layer, norm: keras.layers.BatchNormalization, x: tf.Tensor) -> tf.Tensor:
    # In float32 up to the convolution, as Keras normalizes in float32 in every precision.
    scale = tf.math.rsqrt(_wide(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale *= _wide(norm.gamma)
    offset = -_wide(norm.moving_mean)
    if convolution.use_bias:
        offset += _wide(convolution.bias)
    offset *= scale
    if norm.center:
        offset += _wide(norm.beta)
    dtype = convolution.compute_dtype
    with tf.name_scope(convolution.name):
        kernel = _wide(convolution.kernel)
        kernel = tf.cast(kernel * tf.reshape(scale, _CONVOLUTIONS[type(convolution)](kernel)), dtype)
        return tf.nn.bias_add(_convolved(convolution, tf.cast(x, dtype), kernel), tf.cast(offset, dtype))


def _wide(variable: keras.Variable) -> tf.Tensor:
    """The value of a variable in float32, or in float64 if the variable is."""
    value = tf.convert_to_tensor(variable)
    return tf.cast(value, keras.backend.result_type(value.dtype.name, "float32"))


def _convolved(convolution: keras.Layer, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    operation = keras.ops.depthwise_conv if isinstance(convolution, keras.layers.DepthwiseConv2D) else keras.ops.conv
    return operation(
        x,
        kernel,
        strides=convolution.strides,
        padding=convolution.padding,
        data_format=convolution.data_format,
        dilation_rate=convolution.dilation_rate,
    )


_CONVOLUTIONS = {  # from the type to the shape of one factor for each of its output channels
    keras.layers.Conv2D: lambda kernel: (1, 1, 1, kernel.shape[3]),
    keras.layers.DepthwiseConv2D: lambda kernel: (1, 1, *kernel.shape[2:]),
}
