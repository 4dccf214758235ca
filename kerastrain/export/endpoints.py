"""What an exported file answers: the functions that are traced into it, and the model's own answers to hold against it.

Takes a keras.Model with one input and one output. Must not write files.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, unknown

ACTIVATIONS = {None: lambda x: x, "softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid}


def require_exportable(model: keras.Model, activation: str | None) -> None:
    """Refuses what cannot be exported, before anything is traced or written.

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
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"`model` must have one input and one output. Received: {model.name!r} with {len(model.inputs)} and "
            f"{len(model.outputs)}. Export a keras.Model(inputs, outputs) for each answer."
        )


def input_name(model: keras.Model) -> str:
    """The input's name in an exported signature: "images", "text", "tokens" or "inputs"."""
    if model.inputs[0].dtype in ("string", "int32"):
        return "text" if model.inputs[0].dtype == "string" else "tokens"
    return "images" if len(model.inputs[0].shape) == 4 else "inputs"


def output_name(activation: str | None) -> str:
    """The output's name in an exported signature: "probabilities" where there is an activation, else "logits"."""
    return "probabilities" if activation else "logits"


def threshold(activation: str | None) -> float:
    """The decision boundary of a single output."""
    return 0.5 if activation else 0.0


def raw(model: keras.Model, activation: str | None) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The model in inference mode, for inputs as it takes them (images: raw pixels in [0, 255])."""

    def serve(inputs):
        # `training=False` is said aloud: layers of random augmentation otherwise stay alive in what is traced.
        return {output_name(activation): ACTIVATIONS[activation](model(inputs, training=False))}

    return serve


def encoded(model: keras.Model, activation: str | None) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The model for encoded image files, each decoded and resized to the model's input by `pixels`."""
    image_size = tuple(model.inputs[0].shape[1:3])

    def serve(image_bytes):
        images = tf.map_fn(
            lambda content: pixels(content, image_size),
            image_bytes,
            fn_output_signature=tf.TensorSpec((*image_size, 3), tf.float32),
        )
        if model.inputs[0].dtype == "uint8":
            images = tf.cast(tf.round(images), tf.uint8)
        return raw(model, activation)(images)

    return serve


def pixels(content: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """The picture in an encoded file, by TensorFlow alone: within 1 of what `data.load_image` gives, of 255.

    It takes JPEG, PNG, GIF (its first frame), BMP and WebP without transparency or movement. Other than `load_image` it
    does not read the EXIF orientation (turn such photographs before they are sent), and decodes JPEG files whole, which
    `load_image` decodes small where they are far larger than the input: by 1.7 on average that may differ.

    Args:
        content: string scalar tensor, the bytes of an image file.
        image_size: (height, width) in pixels that it is stretched to.

    Returns:
        float32 tensor (height, width, 3) in [0, 255].
    """

    def jpeg():
        # Without its name, the method is the fast one, which is off by up to 16.
        return tf.cast(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)

    def png():
        # As many channels as the file has: asked for four, TensorFlow 2.21 makes small palettes almost transparent.
        image = tf.cast(tf.io.decode_png(content), tf.float32)
        channels = tf.shape(image)[-1]
        opacity = tf.where(channels % 2 == 0, image[..., -1:] / 255, 1.0)
        return image[..., : channels - 1 + channels % 2] * opacity + 255 * (1 - opacity) * tf.ones(3)

    def other():
        # Three channels by name: for as many as an animated WebP has, TensorFlow 2.21 writes past its memory.
        return tf.cast(tf.io.decode_image(content, channels=3, expand_animations=False), tf.float32)

    starts = tf.strings.substr(content, 0, 3)
    image = tf.case([(starts == b"\xff\xd8\xff", jpeg), (starts == b"\x89PN", png)], default=other)
    image.set_shape((None, None, 3))
    return tf.image.resize(image, image_size, antialias=True)


def takes_encoded_images(model: keras.Model) -> bool:
    """Whether the model's input is a batch of RGB images of one size, so that files can be decoded into it."""
    shape = model.inputs[0].shape
    return len(shape) == 4 and shape[3] == 3 and None not in shape[1:3]


def answers(model: keras.Model, inputs: np.ndarray, activation: str | None) -> np.ndarray:
    """The model's own outputs by `predict`, through `activation`: the reference for every export.

    Raises:
        InputError: `activation` is asked for, but the outputs are probabilities already.
    """
    outputs = model.predict(tf.constant(inputs), verbose=0)
    if activation == "softmax" and np.all(outputs >= 0) and np.allclose(outputs.sum(-1), 1, atol=1e-3):
        raise InputError(
            "`activation` must be None for a model that ends in probabilities. Received: 'softmax', and the model's "
            "outputs sum to 1 already. Leave it out."
        )
    return ACTIVATIONS[activation](tf.constant(outputs)).numpy()
