"""Runs a model over examples once, and keeps what it predicted in the folder of the run.

Takes a model and `Examples`; returns `Predictions` that name each example, and writes `predictions/NAME.npz`. Must not change
the model.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import data, evaluation
from kerastrain.data import properties
from kerastrain.evaluation import predictions as records


def predictor(
    model: keras.Model, batch_size: int, *, are_images: bool
) -> Callable[[data.Examples], evaluation.Predictions]:
    """Prepares a model to predict several sets of examples, and to name the example of each prediction.

    Args:
        model: keras.Model.
        batch_size: int > 0, examples in a step.
        are_images: bool, whether the examples are images, whose brightness is measured in the same pass.

    Returns:
        callable from data.Examples to Predictions in their order; it raises InputError as `evaluation.predict`.
    """
    predict = evaluation.predictor(model, properties=_brightness if are_images else None)

    def named(examples: data.Examples) -> evaluation.Predictions:
        predictions = predict(data.batches(examples, batch_size))
        return dataclasses.replace(
            predictions,
            keys=examples.keys,
            digests=data.overlap.digests(examples),
            slices=examples.slices,
            properties={**predictions.properties, **properties.properties(examples)},
        )

    return named


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
