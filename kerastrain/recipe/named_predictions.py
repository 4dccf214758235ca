"""Runs a model over examples once, and keeps what it predicted in the folder of the run.

Takes a model and `Examples`; returns `Predictions` that name each example, and writes `predictions/NAME.npz`. Must not change
the model.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerastrain import data, evaluation
from kerastrain.data import properties
from kerastrain.evaluation import predictions as records
from kerastrain.recipe.backbone_features import BackboneFeatures


def predictor(
    features: BackboneFeatures, *, are_images: bool
) -> Callable[[str, data.Examples], evaluation.Predictions]:
    """Prepares a model to predict several sets of examples, and to name the example of each prediction.

    Args:
        features: BackboneFeatures of the model, which keep those of a sample of each set.
        are_images: bool, whether the examples are images, whose brightness is measured in the same pass.

    Returns:
        callable from the name of a set and its data.Examples to Predictions in their order; it raises InputError as
        `evaluation.predict`.
    """
    measure = _brightness if are_images else None
    predict = evaluation.predictor(features.head, properties=None if features.is_divided else measure)

    def named(name: str, examples: data.Examples) -> evaluation.Predictions:
        if features.is_divided and len(examples):
            predictions = _in_two_steps(features, predict, name, examples, measure)
        else:
            predictions = predict(data.batches(examples, features.batch_size))
        return dataclasses.replace(
            predictions,
            keys=examples.keys,
            digests=data.overlap.digests(examples),
            slices=examples.slices,
            properties={**predictions.properties, **properties.properties(examples)},
        )

    return named


def _in_two_steps(features, predict, name, examples, measure) -> evaluation.Predictions:
    """The predictions for examples in their order, with what `measure` found in their inputs."""
    found, rows, parts = [], [], []
    on_inputs = None if measure is None else lambda inputs: found.append(measure(inputs))
    for numbers, chunk in features.chunks(name, examples, on_inputs=on_inputs):
        rows.append(numbers)
        parts.append(predict(data.batches(chunk, features.batch_size)))
    places = np.argsort(np.concatenate(rows))
    return evaluation.Predictions(
        np.concatenate([part.targets for part in parts])[places],
        np.concatenate([part.outputs for part in parts])[places],
        parts[0].labels,
        parts[0].task,
        properties={key: np.concatenate([each[key] for each in found]) for key in (found[0] if found else ())},
    )


@tf.function(reduce_retracing=True)
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
