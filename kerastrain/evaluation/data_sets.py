"""A model run over whole data sets.

Takes a `keras.Model` and batches of (inputs, targets); gives the measures of its predictions. Must not change the
model, and must not depend on the order in which the data comes.
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
    data_sets: Mapping[str, tf.data.Dataset],
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool = True,
) -> dict[str, dict]:
    """What `evaluate` gives, for several data sets by name: the content of a run's `metrics.json`.

    Args:
        model: keras.Model, as for `evaluate`.
        data_sets: mapping from a name such as "validation" or "test" to batches.
        labels: as for `evaluate`.
        from_logits: as for `evaluate`.

    Returns:
        dict from each name to its measures.

    Raises:
        InputError: as for `evaluate`; the sentence names the data set.

    Example:
        >>> kt.files.write_json("metrics.json", kt.evaluation.report(model, {"test": batches}))  # doctest: +SKIP
    """
    measures = {}
    for name, batches in data_sets.items():
        try:
            measures[name] = evaluate(model, batches, labels=labels, from_logits=from_logits)
        except InputError as error:
            raise InputError(f"data set {name!r}: {error}") from error
    return measures


def evaluate(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool = True,
    task: Task | None = None,
) -> dict:
    """Runs a model over a data set once and measures it.

    Each prediction travels beside its target, so the order of the data does not matter, and a model made under a
    distribution strategy is run on all its devices. What is measured follows from the task that the model carries, as
    those of kerastrain do; any other is taken for a classifier with one label for each example.

    Args:
        model: keras.Model, from inputs to float (batch, outputs).
        batches: tf.data.Dataset of (inputs, targets): one-hot float (batch, classes) or integer (batch,); for
            "multi_label" float (batch, labels) of 0 and 1; for "regression" float (batch, outputs). Weights as a third part
            are ignored.
        labels: names of the outputs; None takes those the model carries, else "0", "1", …
        from_logits: bool, whether a classifier's outputs are logits; False where it ends in a softmax or sigmoid.
        task: "single_label", "multi_label" or "regression"; None takes the model's own.

    Returns:
        dict as from `measure`, `multi_label.measure` or `regression.measure`.

    Raises:
        InputError: the data is empty, infinite or without targets, or its targets do not fit the model's outputs, or
            `from_logits` contradicts what the model gives.
        TypeError: `model` is no keras.Model.
    """
    _check(model, batches)
    with model.distribute_strategy.scope():
        paired = _Paired(model)
    with warnings.catch_warnings():
        # Keras warns at the end of every data set whose length it does not know.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        results = paired.predict(batches.map(lambda images, truth, *_: ((images, truth),)), verbose=0)
    outputs, truth = results
    carried = next((layer for layer in model.layers if isinstance(layer, model_labels.Labels)), None)
    if labels is None:
        labels = carried.labels if carried else [str(index) for index in range(outputs.shape[-1])]
    task = task or (carried.task if carried else "single_label")
    if task == "regression":
        return regression.measure(_columns(truth, outputs), outputs, labels)
    if task == "multi_label":
        probabilities = _sigmoid(outputs) if from_logits else outputs
        return multi_label.measure(_columns(truth, outputs), probabilities, labels)
    return measure(_integers(truth, outputs.shape[-1]), _distribution(outputs, from_logits), labels)


class _Paired(keras.Model):
    """A model beside its labels, so that Keras's own predict loop hands out both, whatever the strategy."""

    def __init__(self, model: keras.Model):
        super().__init__(name="paired")
        self.model = model

    def call(self, inputs, training=False):
        images, truth = inputs
        return self.model(images, training=False), truth


def _check(model: keras.Model, batches: tf.data.Dataset) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with kerastrain.models.load."
        )
    if not isinstance(batches, tf.data.Dataset):
        raise TypeError(
            f"`batches` must be a tf.data.Dataset. Received: {type(batches).__module__}.{type(batches).__qualname__}. "
            "Make one with kerastrain.data.batches or tf.data.Dataset.from_tensor_slices."
        )
    if not isinstance(batches.element_spec, tuple) or len(batches.element_spec) < 2:
        raise InputError(
            f"`batches` must yield (images, labels). Received: {batches.element_spec}. Give labelled examples."
        )
    cardinality = batches.cardinality()
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise InputError("`batches` must end. Received: an infinite data set. Take one epoch of it, without repeat().")
    # Only a data set of unknown length has to be asked for its first batch.
    if cardinality == 0 or (cardinality == tf.data.UNKNOWN_CARDINALITY and not any(True for _ in batches.take(1))):
        raise InputError("`batches` must hold at least one example. Received: an empty data set. Check its source.")


def _columns(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Targets with a column for each output."""
    truth = truth[:, np.newaxis] if truth.ndim == 1 else truth
    if truth.shape != outputs.shape:
        raise InputError(
            f"targets must have as many columns as the model has outputs. Received: {truth.shape[1]} columns and "
            f"{outputs.shape[-1]} outputs. Evaluate on data with the targets that the model was trained on."
        )
    return truth


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # Of a large negative logit the plain formula overflows.
    return np.exp(-np.logaddexp(0, -logits.astype("float64")))


def _integers(truth: np.ndarray, class_count: int) -> np.ndarray:
    if truth.ndim == 2 and truth.shape[1] == class_count and class_count > 1:
        if not np.all((truth == truth.max(axis=1, keepdims=True)).sum(axis=1) == 1):
            raise InputError(
                "labels must name exactly one class for each example. Received: rows that are not one-hot. "
                "Give one-hot or integer labels."
            )
        return truth.argmax(axis=1)
    if truth.ndim == 1 or truth.shape[1] == 1:
        return truth.reshape(-1).astype("int64")
    raise InputError(
        f"labels must have as many columns as the model has outputs. Received: {truth.shape[1]} label columns and "
        f"{class_count} outputs. Evaluate on data with the classes that the model was trained on."
    )


def _distribution(outputs: np.ndarray, from_logits: bool) -> np.ndarray:
    outputs = outputs.astype("float64")
    sums_to_one = outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-2)
    if not from_logits:
        # A half-precision softmax sums to 1 only within its rounding; `measure` is strict.
        return outputs / outputs.sum(axis=-1, keepdims=True) if sums_to_one else outputs
    if sums_to_one:
        raise InputError(
            "the model must give logits. Received: outputs that already are probabilities. Pass from_logits=False."
        )
    with np.errstate(invalid="ignore"):  # `measure` speaks of NaN and infinity.
        return np.exp(outputs - np.logaddexp.reduce(outputs, axis=-1, keepdims=True))
