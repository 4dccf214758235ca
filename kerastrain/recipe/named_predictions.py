"""Runs a model over examples once, and keeps what it predicted in the folder of the run.

Takes a model and `Examples`; returns `Predictions` that name each example, and writes `predictions/NAME.npz`. Must not change
the model.
"""

import dataclasses
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import data, evaluation
from kerastrain.data import properties
from kerastrain.evaluation import predictions as records


def predict(model: keras.Model, examples: data.Examples, batch_size: int) -> evaluation.Predictions:
    """Predicts examples, and names the example of each prediction.

    Args:
        model: keras.Model.
        examples: data.Examples.
        batch_size: int > 0, examples in a step.

    Returns:
        Predictions in the order of `examples`.

    Raises:
        InputError: as for `evaluation.predict`.
    """
    is_image = examples.image_size is not None
    predictions = evaluation.predict(
        model, data.batches(examples, batch_size), properties=_brightness if is_image else None
    )
    return dataclasses.replace(
        predictions,
        keys=examples.keys,
        digests=data.overlap.digests(examples),
        slices=examples.slices,
        properties={**predictions.properties, **properties.properties(examples)},
    )


def _brightness(inputs: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    images = inputs[0] if isinstance(inputs, tuple) else inputs
    return {"brightness": tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3])}


def write(directory: Path, name: str, predictions: evaluation.Predictions) -> Path:
    """Writes predictions to `predictions/NAME.npz` of a run.

    Args:
        directory: Path of the run.
        name: str, the name of a part or of other data.
        predictions: Predictions.

    Returns:
        Path of the file.

    Raises:
        WriteError: the folder cannot be written to.
    """
    return records.write(predictions, path(directory, name))


def path(directory: Path, name: str) -> Path:
    """The file of a run in which the predictions for a data set are.

    Args:
        directory: Path of the run.
        name: str, the name of a part or of other data.

    Returns:
        Path, which need not exist.
    """
    return directory / records.FOLDER / f"{name}.npz"
