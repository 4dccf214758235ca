"""The images, classes and scores of an explanation.

Takes a `keras.Model`, images and classes; returns them checked, and in batches with the scores that are explained. Must not
explain.
"""

import functools
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.layers.labels import Labels
from kerastrain.system import isolated_imports


def checked(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Images as float32, if the model takes them.

    Args:
        model: keras.Model of one input and one output.
        images: uint8 or float32 (n, height, width, channels).

    Returns:
        float32 (n, height, width, channels).

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: the model has several inputs or outputs, or the images do not fit it.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with kerastrain.models.load."
        )
    images = np.asarray(images, "float32")
    if images.ndim != 4 or not len(images):
        raise InputError(
            "`images` must be (n, height, width, channels) with n >= 1. "
            f"Received: {images.shape}. Stack images with numpy.stack."
        )
    expected = getattr(model, "inputs", None) or []
    if len(expected) > 1 or len(model.outputs if expected else []) > 1:
        raise InputError(
            f"only models with one input and one output can be explained. Received: {len(expected)} inputs and "
            f"{len(model.outputs)} outputs. Wrap the model in a keras.Model of one image input and one output."
        )
    if expected:
        shape = tuple(expected[0].shape[1:])
        fits = len(shape) == 3 and all(a in (None, b) for a, b in zip(shape, images.shape[1:], strict=True))
        if not fits:
            raise InputError(
                f"`images` must fit the model's input {shape}. Received: {images.shape[1:]}. Resize them first."
            )
    return images


class ClassScores:
    """The score of a class for each image: a logit, a number of a regression model, or what an opaque model returns.

    A classifier of two classes with one output has the classes 0 and 1, whose scores are the negative logit and the logit.

    Args:
        model: keras.Model that is explained, whose `Labels` layer says what its outputs are; without one, they are classes.
        flat: keras.Model from `flattening.flattened`.

    Raises:
        InputError: the outputs are not (batch, outputs).
    """

    def __init__(self, model: keras.Model, flat: keras.Model):
        task = next((layer.task for layer in model.layers if isinstance(layer, Labels)), "single_label")
        if len(flat.output_shape) != 2:
            raise InputError(
                f"the outputs of {model.name!r} must be (batch, classes) to be explained. Received: {flat.output_shape}. Wrap "
                "the model in a keras.Model of one such output."
            )
        self.flat, self.is_regression = flat, task == "regression"
        self.is_single_label = task == "single_label"
        self.outputs = flat.output_shape[-1]
        self.is_binary = self.outputs == 1 and self.is_single_label
        self.count = 2 if self.is_binary else self.outputs

    def indices(self, classes: Sequence[int] | int | None, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """The class of each image: the given one, else the predicted one, or the first number of a regression model.

        Args:
            classes: int, sequence of n int, or None.
            images: float32 (n, height, width, channels).
            batch_size: int > 0.

        Returns:
            int array (n,).

        Raises:
            InputError: a class does not exist, or their number is not that of the images.
        """
        if classes is None and self.is_regression:
            return np.zeros(len(images), "int64")
        if classes is None:
            return self.predicted(self.values(images, batch_size))
        indices = np.broadcast_to(classes, (len(images),)) if np.ndim(classes) == 0 else np.asarray(classes)
        valid = indices.shape == (len(images),) and indices.dtype.kind in "iu"
        if not valid or indices.min() < 0 or indices.max() >= self.count:
            raise InputError(
                f"`classes` must be one int, or one for each of {len(images)} images, from 0 to {self.count - 1}. "
                f"Received: {classes}. Look the index up in the model's labels."
            )
        return indices

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """The class with the largest score of each image.

        Args:
            values: float array (n, outputs).

        Returns:
            int array (n,).
        """
        return (values[:, 0] > 0).astype("int64") if self.is_binary else values.argmax(axis=-1)

    @functools.cached_property
    def _compiled(self):
        signature = tf.TensorSpec((None, *self.flat.input_shape[1:]), tf.float32)
        return tf.function(lambda images: self.flat([images], training=False), input_signature=[signature])

    def values(self, images: np.ndarray, batch_size: int = 32, *, is_repeated: bool = False) -> np.ndarray:
        """The outputs of the flat model.

        Args:
            images: float32 (n, height, width, channels).
            batch_size: int > 0.
            is_repeated: bool, whether it is called often, so that compiling pays.

        Returns:
            float32 array (n, outputs).
        """
        call = self._compiled if is_repeated else lambda part: self.flat([part], training=False)
        starts = range(0, len(images), batch_size)
        outputs = [call(tf.constant(images[start : start + batch_size])) for start in starts]
        return np.concatenate([np.asarray(tf.cast(part, "float32")) for part in outputs])

    def of(self, outputs: tf.Tensor, indices: np.ndarray) -> tf.Tensor:
        """The scores of classes.

        Args:
            outputs: float tensor (n, outputs) of the flat model.
            indices: int array (n,).

        Returns:
            float32 tensor (n,).
        """
        outputs = tf.cast(outputs, "float32")
        if self.is_binary:
            return outputs[:, 0] * tf.constant(2.0 * indices - 1, "float32")
        return tf.gather(outputs, indices, axis=1, batch_dims=1)

    def for_vis(self, indices: np.ndarray) -> object:
        """The same scores for tf-keras-vis.

        Args:
            indices: int array (n,).

        Returns:
            tf_keras_vis.utils.scores.Score.
        """
        scores = isolated_imports.tf_keras_vis().utils.scores
        return (scores.BinaryScore if self.is_binary else scores.CategoricalScore)(indices.tolist())


def parts(images: np.ndarray, indices: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of images with their classes.

    Args:
        images: float32 (n, height, width, channels).
        indices: int array (n,).
        batch_size: int > 0.

    Yields:
        tuple of images and classes.
    """
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], indices[start : start + batch_size]


def scaled(heatmaps: np.ndarray) -> np.ndarray:
    """Heatmaps divided by their maxima, without negative values.

    Args:
        heatmaps: float array (n, height, width).

    Returns:
        float32 (n, height, width) in [0, 1]; 0 everywhere where nothing is positive.
    """
    heatmaps = np.maximum(np.nan_to_num(heatmaps), 0)
    largest = heatmaps.max(axis=(1, 2), keepdims=True)
    return np.divide(heatmaps, largest, out=np.zeros_like(heatmaps), where=largest > 0).astype("float32")


def enlarged(heatmaps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Heatmaps of cells as heatmaps of pixels, bilinearly between the centers of the cells.

    Args:
        heatmaps: float array (n, rows, columns).
        size: (height, width).

    Returns:
        float32 (n, height, width).
    """
    # tf-keras-vis would align the corners, which shifts the outer cells by half a cell.
    return tf.image.resize(np.float32(heatmaps)[..., None], size)[..., 0].numpy()
