"""Predicts new images and texts with a finished run.

Takes a `Run` and inputs; returns predictions. Decodes a batch at a time, so that any number of inputs
fits into memory. Must not change the model.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from kerastrain import models
from kerastrain.errors import counted
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.recipe.input_batches import Values, batches, report_errors
from kerastrain.recipe.inputs import Input
from kerastrain.run_directory import Run
from kerastrain.tasks import Task
from kerastrain.train_step import folded_norms

logger = logging.getLogger("kerastrain")

_ACTIVATIONS = {"single_label": keras.ops.softmax, "multi_label": keras.ops.sigmoid, "regression": np.asarray}


@dataclass(frozen=True)
class Prediction:
    """The prediction for an input.

    Args:
        input: str, the path of the image file, or the text; for a pair of texts, tuple of two str.
        scores: tuple of (label, probability in [0, 1]), most probable first; for regression of (name, number), in the
            model's order. Empty if the input cannot be used.
        row: str, where the input was found, such as "line 3 of 'news.csv'"; empty if it was given itself.
        labels: tuple of str, the labels that are predicted: of single_label one, or none if the operating point rejects the
            prediction; of multi_label any number; of regression none.
        error: str, why the input cannot be used; empty if it can.
        embedding: float32 (features,), see `embed`; None if it is not wanted, or the input cannot be used.
    """

    input: str | tuple[str, str]
    scores: tuple[tuple[str, float], ...]
    row: str = ""
    labels: tuple[str, ...] = ()
    error: str = ""
    embedding: np.ndarray | None = dataclasses.field(default=None, compare=False)


def predict(
    run: Run,
    inputs: Sequence[str | Path | tuple[str, str] | Input],
    *,
    top: int | None = 3,
    on_fault: Callable[[str], None] | None = None,
    keep_faults: bool = False,
    embeddings: bool = False,
    operating_point: OperatingPoint | Literal["of the run"] | None = "of the run",
) -> Iterator[Prediction]:
    """Predicts the labels of image files or texts with probabilities, or the numbers of a regression model.

    Any number of inputs fits into memory: the files of one batch are decoded while the model computes another.

    Args:
        run: Run.
        inputs: sequence of paths of image files, or for a text model of texts or of pairs of texts; or of Input, as from
            `inputs.find`.
        top: int > 0, number of labels per input, or None for all; ignored for regression, which returns every number.
        on_fault: callable that gets a sentence about each file that cannot be used, which is then skipped; None raises
            the error.
        keep_faults: bool, whether such a file has a Prediction, too, with its `error`.
        embeddings: bool, whether predictions have an `embedding`.
        operating_point: OperatingPoint that makes probabilities and labels of the outputs; None for the most probable class, or
            for the labels with a probability of at least a half. By default the one of the run, if it has one.

    Yields:
        Prediction for each input, in order. The probabilities of a multi_label model are independent of each other.

    Raises:
        InputError: a file is not an image that can be decoded, and `on_fault` is None.
        FileNotFoundError: a file does not exist, and `on_fault` is None.
    """
    names, task = models.labels(run.model), models.task(run.model)
    point = run.operating_point if operating_point == "of the run" else operating_point
    compute = _with_features(run.model) if embeddings else _without_features(run.model)
    logger.info("predicting %s", counted(len(inputs), "inputs"))
    for batch in batches(run, inputs, run.config.evaluation.batch_size):
        report_errors(batch, on_fault)
        known = {}
        if batch.usable:
            features, raw = compute(batch.values)
            known = dict(zip(batch.usable, answers(raw, names, task, top, point), strict=True))
        for position, item in enumerate(batch.items):
            if position in known:
                found = None if features is None else features[batch.usable.index(position)]
                scored, labels = known[position]
                yield Prediction(item.value, scored, item.row, labels, embedding=found)
            elif keep_faults:
                yield Prediction(item.value, (), item.row, error=str(batch.errors[position]))


def embed(
    run: Run,
    inputs: Sequence[str | Path | tuple[str, str] | Input],
    *,
    on_fault: Callable[[str], None] | None = None,
) -> np.ndarray:
    """The features of image files or texts that the backbone of a run returns and its head gets.

    Similar inputs have similar features: use them for search, clustering, or a classifier of your own. They are those of the
    trained model, after any fine-tuning. Numbers beside an input are not among them.

    Args:
        run: Run.
        inputs: as for `predict`.
        on_fault: callable that gets a sentence about each file that cannot be used, whose row is then NaN; None raises the
            error.

    Returns:
        float32 (n, features), a row for each input, in order; in memory all at once. `predict` with `embeddings` yields them one
        by one.

    Raises:
        InputError, FileNotFoundError: as for `predict`.
    """
    found = list(predict(run, inputs, on_fault=on_fault, keep_faults=True, embeddings=True, operating_point=None))
    rows = np.full((len(found), features_size(run.model)), np.nan, np.float32)
    for row, item in zip(rows, found, strict=True):
        if item.embedding is not None:
            row[:] = item.embedding
    return rows


def features_size(model: keras.Model) -> int:
    """The number of features that the backbone of a model returns.

    Args:
        model: keras.Model from a builder of `kerastrain.models`.

    Returns:
        int.
    """
    return models.split_at_backbone(model)[0].outputs[0].shape[-1]


def _with_features(model: keras.Model) -> Callable[[Values], tuple[np.ndarray, np.ndarray]]:
    """Runs a model in two steps: the features of its backbone, and the outputs of its head for them."""
    body, head = map(forward, models.split_at_backbone(model))

    def compute(values: Values) -> tuple[np.ndarray, np.ndarray]:
        inputs, *numbers = values if isinstance(values, tuple) else (values,)
        features = np.asarray(body(inputs), np.float32)
        return features, head((features, *numbers) if numbers else features)

    return compute


def _without_features(model: keras.Model) -> Callable[[Values], tuple[None, np.ndarray]]:
    compute = forward(model)
    return lambda values: (None, compute(values))


def answers(
    raw: np.ndarray, names: Sequence[str], task: Task, top: int | None, point: OperatingPoint | None
) -> Iterator[tuple[tuple[tuple[str, float], ...], tuple[str, ...]]]:
    """Makes scores and labels of a model's outputs.

    Args:
        raw: float array (n, outputs), the outputs of the model itself.
        names: sequence of str, the names of the outputs.
        task: Task.
        top: int > 0, scores per row, or None for all.
        point: OperatingPoint, or None.

    Yields:
        tuple of the scores and the predicted labels of each row, as in `Prediction`.
    """
    if task == "regression":
        for row in raw:
            yield tuple(zip(names, map(float, row), strict=True)), ()
        return
    values = activated(raw, task) if point is None else point.probabilities(raw, task)
    decided = (point or OperatingPoint()).decide(values, names, task)
    order = np.argsort(-values, axis=1, kind="stable")
    for row, indices, chosen in zip(values, order, decided, strict=True):
        scored = tuple((names[index], float(row[index])) for index in indices[:top])
        yield scored, tuple(names[index] for index in indices if chosen[index])


def scores(model: keras.Model, values: Values) -> np.ndarray:
    """Runs a model on a batch.

    Args:
        model: keras.Model with a `Labels` layer.
        values: Values.

    Returns:
        float array (n, outputs): probabilities of a classifier, numbers of a regression model.
    """
    return activated(outputs(model, values), models.task(model))


def outputs(model: keras.Model, values: Values) -> np.ndarray:
    """Runs a model on one batch; for several batches, `forward` traces it only once.

    Args:
        model: keras.Model.
        values: Values.

    Returns:
        float array (n, outputs), the outputs of the model itself, such as logits.
    """
    return forward(model)(values)


def forward(model: keras.Model) -> Callable[[Values], np.ndarray]:
    """Prepares a model to run on many batches, for which TensorFlow traces it once.

    `model.predict` makes a dataset for each call, which costs more than a batch of a small network, and with several
    replicas fails for a batch that is smaller than their number. Batch normalizations are computed as part of the convolutions
    before them, so that the outputs are those of `model.predict` up to rounding.

    Args:
        model: keras.Model of one output. It must not get other layers afterwards; its weights may change.

    Returns:
        callable from Values, of any number of rows, to a float array (n, outputs), as `outputs` returns.
    """
    traced, call = None, folded_norms.forward(model) or model

    def run(*tensors: tf.Tensor) -> tf.Tensor:
        return call(tensors if len(tensors) > 1 else tensors[0], training=False)

    def compute(values: Values) -> np.ndarray:
        nonlocal traced
        arrays = values if isinstance(values, tuple) else (values,)
        types = [tf.string if array.dtype == object else array.dtype for array in arrays]
        if traced is None:
            shapes = [(None, *array.shape[1:]) for array in arrays]
            traced = tf.function(run, input_signature=list(map(tf.TensorSpec, shapes, types)), autograph=False)
        return traced(*map(tf.constant, arrays, types)).numpy()

    return compute


def activated(raw: np.ndarray, task: Task) -> np.ndarray:
    """Turns the outputs of a classifier into probabilities; the numbers of a regression model stay the same.

    Args:
        raw: float (n, outputs).
        task: Task.

    Returns:
        float array (n, outputs).
    """
    return keras.ops.convert_to_numpy(_ACTIVATIONS[task](raw))
