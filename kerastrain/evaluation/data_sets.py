"""A model run over whole datasets.

Takes a `keras.Model` and a dataset of (inputs, targets); returns its predictions, or their measures. Must not change the
model, and must not depend on the order of the examples.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain import tracing
from kerastrain.errors import InputError, unknown
from kerastrain.evaluation import model_outputs
from kerastrain.evaluation.measuring import measures
from kerastrain.evaluation.predictions import Predictions
from kerastrain.layers import labels as model_labels
from kerastrain.tasks import TASKS, Task
from kerastrain.train_step import folded_norms


def report(
    model: keras.Model,
    datasets: Mapping[str, tf.data.Dataset],
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool | None = None,
    task: Task | None = None,
    on_predictions: Callable[[str, Predictions], None] | None = None,
) -> dict[str, dict]:
    """Runs `evaluate` on several datasets: the content of a run's `metrics.json`.

    Args:
        model: keras.Model, as for `evaluate`.
        datasets: mapping from a name such as "validation" or "test" to a dataset, as for `evaluate`.
        labels: as for `evaluate`.
        from_logits: as for `evaluate`.
        task: as for `evaluate`.
        on_predictions: callable that gets each name and the `Predictions` for its dataset, such as to write them.

    Returns:
        dict from each name to its measures.

    Raises:
        InputError: as for `evaluate`; the message names the dataset.
        TypeError: as for `evaluate`.

    Example:
        >>> kt.files.write_json("metrics.json", kt.evaluation.report(model, {"test": dataset}))  # doctest: +SKIP
    """
    predicting = predictor(model, labels=labels, from_logits=from_logits, task=task)
    measured = {}
    for name, dataset in datasets.items():
        try:
            predictions = predicting(dataset)
            measured[name] = measures(predictions)
        except InputError as error:
            raise InputError(f"dataset {name!r}: {error}") from error
        if on_predictions is not None:
            on_predictions(name, predictions)
    return measured


def evaluate(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool | None = None,
    task: Task | None = None,
) -> dict:
    """Runs a model over a dataset once and measures it.

    Args:
        model: keras.Model, as for `predict`.
        dataset: tf.data.Dataset, as for `predict`.
        labels: as for `predict`.
        from_logits: as for `predict`.
        task: as for `predict`.

    Returns:
        dict as from `measures`.

    Raises:
        InputError: as for `predict`, or an output is not finite.
        TypeError: as for `predict`.
    """
    return measures(predict(model, dataset, labels=labels, from_logits=from_logits, task=task))


def predict(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool | None = None,
    task: Task | None = None,
    properties: Callable[[tf.Tensor], Mapping[str, tf.Tensor]] | None = None,
) -> Predictions:
    """Runs a model over a dataset once, and returns what it predicted beside the truth.

    Each prediction is returned beside its target, so the order of the examples does not matter. A model made under a
    distribution strategy runs on all its devices.

    The task is that of the model's `Labels` layer, which kerastrain's models have. Of another model the last layer counts: with
    one output it is a binary classifier, of whose class 1 the output is the logit, or the probability if the layer ends in a
    sigmoid; with several sigmoids and a column of targets for each it has any number of labels; else it has one label per
    example. A regression model without `Labels` needs `task`.

    Args:
        model: keras.Model, from inputs to float (batch, outputs).
        dataset: tf.data.Dataset of batches (inputs, targets): one-hot float (batch, classes) or integer (batch,); 0 or 1 for
            a binary classifier; for "multi_label" float (batch, labels) of 0 and 1; for "regression" float (batch, outputs).
            Weights as a third element are ignored.
        labels: sequence of str, names of the outputs, of a binary classifier of both classes; None for those in the model,
            else "0", "1", ….
        from_logits: bool, whether a classifier's outputs are logits; None for what its last layer says: probabilities after a
            softmax or sigmoid, else logits.
        task: "single_label", "multi_label" or "regression"; None as above.
        properties: callable from a batch of inputs to a mapping from a name to float (batch,), which is computed in the same
            pass and becomes `Predictions.properties`; None for none.

    Returns:
        Predictions, without keys and digests.

    Raises:
        InputError: the dataset is empty, infinite or without targets, its targets or `labels` do not fit the model's outputs,
            or `from_logits` contradicts the model's outputs.
        TypeError: `model` is not a keras.Model, or `dataset` is not a tf.data.Dataset.
    """
    return predictor(model, labels=labels, from_logits=from_logits, task=task, properties=properties)(dataset)


def predictor(
    model: keras.Model,
    *,
    labels: Sequence[str] | None = None,
    from_logits: bool | None = None,
    task: Task | None = None,
    properties: Callable[[tf.Tensor], Mapping[str, tf.Tensor]] | None = None,
) -> Callable[[tf.data.Dataset], Predictions]:
    """Prepares a model for `predict` on several datasets, for which TensorFlow traces it once.

    Args:
        model: keras.Model, as for `predict`. It must not get other layers afterwards; its weights may change.
        labels: as for `predict`.
        from_logits: as for `predict`.
        task: as for `predict`.
        properties: as for `predict`.

    Returns:
        callable from a dataset, as for `predict`, to its Predictions; it raises the errors of `predict` about datasets.

    Raises:
        InputError: the task is unknown.
        TypeError: `model` is not a keras.Model.
    """
    _check_model(model)
    if task is not None and task not in TASKS:
        raise InputError(unknown("task", task, TASKS))
    with model.distribute_strategy.scope():
        paired = _Paired(model, properties)
    return lambda dataset: _predicted(paired, dataset, labels=labels, from_logits=from_logits, task=task)


def _predicted(paired: "_Paired", dataset: tf.data.Dataset, *, labels, from_logits, task) -> Predictions:
    _check(dataset)
    model = paired.model
    with warnings.catch_warnings():
        # Keras warns at the end of every dataset of unknown length.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        pairs = dataset.map(lambda inputs, targets, *_: ((inputs, targets),))
        results = tracing.predict(paired, pairs) if tracing.takes_any_size(model) else paired.predict(pairs, verbose=0)
    outputs, targets, found = results
    shape = outputs.shape if isinstance(outputs, np.ndarray) else f"{len(outputs)} tensors"
    if isinstance(shape, str) or len(shape) > 2:
        raise InputError(
            f"the model must return one tensor of shape (batch, outputs). Received: {shape}. Evaluate keras.Model(inputs, "
            "output) of one of its tensors."
        )
    if outputs.ndim == 1:
        outputs = outputs[:, np.newaxis]
    labels_layer = next((layer for layer in model.layers if isinstance(layer, model_labels.Labels)), None)
    if labels is None and labels_layer:
        labels = labels_layer.labels
    ends_in = "linear" if labels_layer else model_outputs.activation(model)
    task = task or (labels_layer.task if labels_layer else _task(ends_in, outputs, targets))
    is_binary = task == "single_label" and outputs.shape[-1] == 1
    names = model_outputs.label_names(labels, 2 if is_binary else outputs.shape[-1], is_binary=is_binary)
    if task == "single_label":
        targets = model_outputs.classes(targets, outputs.shape[-1])
    else:
        targets = model_outputs.columns(targets, outputs)
    if task != "regression":
        outputs = model_outputs.classifier_logits(outputs, from_logits=from_logits, ends_in=ends_in, task=task)
    return Predictions(targets, outputs, names, task, properties=found)


def _task(ends_in: str | None, outputs: np.ndarray, targets: np.ndarray) -> Task:
    has_columns = targets.ndim == 2 and targets.shape == outputs.shape and outputs.shape[1] > 1
    return "multi_label" if ends_in == "sigmoid" and has_columns else "single_label"


class _Paired(keras.Model):
    """A model that returns its targets too, so that Keras's `predict` returns both under any strategy."""

    def __init__(self, model: keras.Model, properties: Callable | None):
        # Of its own precision, so that it rounds neither the targets nor the weights that `forward` reads.
        super().__init__(name="paired", autocast=False, dtype="float32")
        self.model = model
        # A pass takes less time if batch normalizations are part of the convolutions before them.
        self.forward = folded_norms.forward(model) or model
        self.properties = properties

    def call(self, inputs, training=False):
        images, targets = inputs
        found = {} if self.properties is None else dict(self.properties(images))
        return self.forward(images, training=False), targets, found


def _check_model(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with kerastrain.models.load."
        )


def _check(dataset: tf.data.Dataset) -> None:
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
