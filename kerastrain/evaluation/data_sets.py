"""A model run over whole datasets.

Takes a `keras.Model` and a dataset of (inputs, targets); returns the measures of its predictions. Must not change the
model, and must not depend on the order of the examples.
"""

import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.evaluation import multi_label, regression
from kerastrain.evaluation.single_label import measure
from kerastrain.layers import labels as model_labels
from kerastrain.tasks import Task


def report(
    model: keras.Model,
    datasets: Mapping[str, tf.data.Dataset],
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool = True,
) -> dict[str, dict]:
    """Runs `evaluate` on several datasets: the content of a run's `metrics.json`.

    Args:
        model: keras.Model, as for `evaluate`.
        datasets: mapping from a name such as "validation" or "test" to a dataset, as for `evaluate`.
        labels: as for `evaluate`.
        from_logits: as for `evaluate`.

    Returns:
        dict from each name to its measures.

    Raises:
        InputError: as for `evaluate`; the message names the dataset.
        TypeError: as for `evaluate`.

    Example:
        >>> kt.files.write_json("metrics.json", kt.evaluation.report(model, {"test": dataset}))  # doctest: +SKIP
    """
    measures = {}
    for name, dataset in datasets.items():
        try:
            measures[name] = evaluate(model, dataset, labels=labels, from_logits=from_logits)
        except InputError as error:
            raise InputError(f"dataset {name!r}: {error}") from error
    return measures


def evaluate(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool = True,
    task: Task | None = None,
) -> dict:
    """Runs a model over a dataset once and measures it.

    Each prediction is returned beside its target, so the order of the examples does not matter. A model made under a
    distribution strategy runs on all its devices. The task is that of the model's `Labels` layer, which kerastrain's models
    have; any other model counts as a classifier with one label per example.

    Args:
        model: keras.Model, from inputs to float (batch, outputs).
        dataset: tf.data.Dataset of batches (inputs, targets): one-hot float (batch, classes) or integer (batch,); for
            "multi_label" float (batch, labels) of 0 and 1; for "regression" float (batch, outputs). Weights as a third
            element are ignored.
        labels: sequence of str, names of the outputs; None for those in the model, else "0", "1", …
        from_logits: bool, whether a classifier's outputs are logits; False if it ends in a softmax or sigmoid.
        task: "single_label", "multi_label" or "regression"; None for the model's own.

    Returns:
        dict as from `measure`, `multi_label.measure` or `regression.measure`.

    Raises:
        InputError: the dataset is empty, infinite or without targets, its targets do not fit the model's outputs, or
            `from_logits` contradicts the model's outputs.
        TypeError: `model` is not a keras.Model, or `dataset` is not a tf.data.Dataset.
    """
    _check(model, dataset)
    with model.distribute_strategy.scope():
        paired = _Paired(model)
    with warnings.catch_warnings():
        # Keras warns at the end of every dataset of unknown length.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        results = paired.predict(dataset.map(lambda inputs, targets, *_: ((inputs, targets),)), verbose=0)
    outputs, targets = results
    labels_layer = next((layer for layer in model.layers if isinstance(layer, model_labels.Labels)), None)
    if labels is None:
        labels = labels_layer.labels if labels_layer else [str(index) for index in range(outputs.shape[-1])]
    task = task or (labels_layer.task if labels_layer else "single_label")
    if task == "regression":
        return regression.measure(_columns(targets, outputs), outputs, labels)
    if task == "multi_label":
        probabilities = _sigmoid(outputs) if from_logits else outputs
        return multi_label.measure(_columns(targets, outputs), probabilities, labels)
    return measure(_integers(targets, outputs.shape[-1]), _distribution(outputs, from_logits), labels)


class _Paired(keras.Model):
    """A model that returns its targets too, so that Keras's `predict` returns both under any strategy."""

    def __init__(self, model: keras.Model):
        super().__init__(name="paired")
        self.model = model

    def call(self, inputs, training=False):
        images, targets = inputs
        return self.model(images, training=False), targets


def _check(model: keras.Model, dataset: tf.data.Dataset) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with kerastrain.models.load."
        )
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`dataset` must be a tf.data.Dataset. Received: {type(dataset).__module__}.{type(dataset).__qualname__}. "
            "Make one with kerastrain.data.batches or tf.data.Dataset.from_tensor_slices."
        )
    if not isinstance(dataset.element_spec, tuple) or len(dataset.element_spec) < 2:
        raise InputError(
            f"`dataset` must yield (inputs, targets). Received: {dataset.element_spec}. Pass labelled examples."
        )
    cardinality = dataset.cardinality()
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise InputError("`dataset` must be finite. Received: an infinite dataset. Take one epoch, without repeat().")
    # Only a dataset of unknown length has to be asked for its first batch.
    if cardinality == 0 or (cardinality == tf.data.UNKNOWN_CARDINALITY and not any(True for _ in dataset.take(1))):
        raise InputError("`dataset` must hold at least one example. Received: an empty dataset. Check its source.")


def _columns(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Targets with one column per output."""
    targets = targets[:, np.newaxis] if targets.ndim == 1 else targets
    if targets.shape != outputs.shape:
        raise InputError(
            f"targets must have as many columns as the model has outputs. Received: {targets.shape[1]} columns and "
            f"{outputs.shape[-1]} outputs. Evaluate on data with the targets that the model was trained on."
        )
    return targets


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # The plain formula overflows for large negative logits.
    return np.exp(-np.logaddexp(0, -logits.astype("float64")))


def _integers(targets: np.ndarray, class_count: int) -> np.ndarray:
    if targets.ndim == 2 and targets.shape[1] == class_count and class_count > 1:
        if not np.all((targets == targets.max(axis=1, keepdims=True)).sum(axis=1) == 1):
            raise InputError(
                "targets must name exactly one class per example. Received: rows that are not one-hot. "
                "Pass one-hot or integer targets."
            )
        return targets.argmax(axis=1)
    if targets.ndim == 1 or targets.shape[1] == 1:
        return targets.reshape(-1).astype("int64")
    raise InputError(
        f"targets must have as many columns as the model has outputs. Received: {targets.shape[1]} columns and "
        f"{class_count} outputs. Evaluate on data with the classes that the model was trained on."
    )


def _distribution(outputs: np.ndarray, from_logits: bool) -> np.ndarray:
    outputs = outputs.astype("float64")
    sums_to_one = outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-2)
    if not from_logits:
        # A softmax in half precision sums to 1 only within its rounding; `measure` is strict.
        return outputs / outputs.sum(axis=-1, keepdims=True) if sums_to_one else outputs
    if sums_to_one:
        raise InputError("the model must return logits. Received: probabilities. Pass from_logits=False.")
    with np.errstate(invalid="ignore"):  # `measure` raises for NaN and infinity.
        return np.exp(outputs - np.logaddexp.reduce(outputs, axis=-1, keepdims=True))
