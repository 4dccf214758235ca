"""What the outputs of any Keras model are: logits or probabilities, of which task, and for how many classes.

Takes outputs and targets as a model and a dataset give them; returns those of a `Predictions`: logits with a column for each
class. Whether a plain model ends in a sigmoid is read from its last layer, never guessed from its values.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.tasks import Task

SQUASHING = ("softmax", "sigmoid")
"""The activations that make probabilities."""

_SMALLEST = float(np.finfo("float32").tiny)


def activation(model: keras.Model) -> str | None:
    """Name of the activation of a model's last layer.

    Args:
        model: keras.Model.

    Returns:
        "softmax", "sigmoid", "linear" or another name; None if the last layer has no activation, or is not known because the
        model is neither sequential nor functional.
    """
    # A functional model has operations beside its layers, such as keras.ops.sigmoid.
    steps = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", ())
    if not steps:
        return None
    last = steps[-1]
    if isinstance(last, keras.Model):
        return activation(last)
    name = type(last).__name__.lower()
    return name if name in SQUASHING else getattr(getattr(last, "activation", None), "__name__", None)


def classifier_logits(outputs: np.ndarray, *, from_logits: bool | None, ends_in: str | None, task: Task) -> np.ndarray:
    """The logits of a classifier.

    Args:
        outputs: float (n, outputs) of the model.
        from_logits: bool, whether they are logits; None for what `ends_in` says, else logits.
        ends_in: str from `activation`, or None if that is not known.
        task: "single_label" or "multi_label".

    Returns:
        float (n, classes) whose softmax, for "multi_label" whose sigmoid, are the probabilities. A single output of
        "single_label" becomes two columns, for the classes of the targets 0 and 1.

    Raises:
        InputError: `from_logits` contradicts the outputs or the last layer, or is needed to tell logits from probabilities;
            or outputs that are no logits are no probabilities.
    """
    squashes = ends_in in SQUASHING
    if from_logits and squashes:
        raise InputError(
            f"the model must return logits. Received: probabilities, as its last layer ends in a {ends_in}. "
            "Pass from_logits=False."
        )
    is_binary = task == "single_label" and outputs.shape[-1] == 1
    are_logits = not squashes if from_logits is None else from_logits
    outputs = outputs.astype("float64")
    finite = np.isfinite(outputs).all()  # NaN is reported by `measure`.
    if is_binary or task == "multi_label":
        if from_logits is None and ends_in is None and finite and outputs.min() >= 0 and outputs.max() <= 1:
            raise InputError(
                "it is not clear whether the model returns logits or probabilities. Received: values from "
                f"{outputs.min():.3g} to {outputs.max():.3g}, and a last layer without an activation. Pass from_logits=False "
                "for probabilities, or from_logits=True."
            )
        if not are_logits and finite:
            if outputs.min() < 0 or outputs.max() > 1:
                raise InputError(
                    "the model must return probabilities in [0, 1]. "
                    f"Received: values from {outputs.min():.3g} to {outputs.max():.3g}. Pass from_logits=True."
                )
            outputs = _log(outputs) - _log(1 - outputs)
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1) if is_binary else outputs
    sums_to_one = finite and outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-2)
    if are_logits and sums_to_one:
        raise InputError("the model must return logits. Received: probabilities. Pass from_logits=False.")
    if not are_logits and finite:
        if not sums_to_one:
            raise InputError(
                "each row of `probabilities` must be >= 0 and sum to 1. "
                f"Received: values from {outputs.min():.3g} to {outputs.max():.3g}. Apply a softmax first."
            )
        # A softmax in half precision sums to 1 only within its rounding; the softmax of its logarithm does exactly.
        return _log(outputs)
    return outputs


def classes(targets: np.ndarray, output_count: int) -> np.ndarray:
    """The class of each example.

    Args:
        targets: int or float (n,) or (n, 1), the number of the class; or one-hot (n, classes).
        output_count: int >= 1, the number of the model's outputs; 1 for a binary classifier.

    Returns:
        int64 (n,).

    Raises:
        InputError: the targets do not fit the outputs, name more than one class, or are not whole numbers.
    """
    if targets.ndim == 2 and targets.shape[1] == max(output_count, 2):
        if not np.all((targets == targets.max(axis=1, keepdims=True)).sum(axis=1) == 1):
            raise InputError(
                "targets must name exactly one class per example. Received: rows that are not one-hot. "
                "Pass one-hot or integer targets."
            )
        return targets.argmax(axis=1)
    if targets.ndim == 1 or targets.shape[1] == 1:
        targets = targets.reshape(-1)
        if output_count == 1 and not np.isin(targets, (0, 1)).all():
            raise InputError(
                "the targets of a classifier with one output must be 0 or 1. "
                f"Received: numbers from {targets.min():g} to {targets.max():g}. If the model predicts a number, pass "
                "task='regression'."
            )
        if not np.array_equal(targets, targets.astype("int64")):
            raise InputError(
                "targets must be the numbers of classes. Received: fractions. If the model predicts a number, pass "
                "task='regression'."
            )
        return targets.astype("int64")
    raise InputError(
        f"targets must have as many columns as the model has outputs. Received: {targets.shape[1]} columns and "
        f"{output_count} outputs. Evaluate on data with the classes that the model was trained on."
    )


def columns(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Targets with one column per output.

    Args:
        targets: float (n,) or (n, outputs).
        outputs: float (n, outputs).

    Returns:
        array (n, outputs).

    Raises:
        InputError: the numbers of columns differ.
    """
    targets = targets[:, np.newaxis] if targets.ndim == 1 else targets
    if targets.shape != outputs.shape:
        raise InputError(
            f"targets must have as many columns as the model has outputs. Received: {targets.shape[1]} columns and "
            f"{outputs.shape[-1]} outputs. Evaluate on data with the targets that the model was trained on."
        )
    return targets


def label_names(labels: Sequence[str] | None, count: int, *, is_binary: bool) -> tuple[str, ...]:
    """Checks names for the outputs, or makes them.

    Args:
        labels: sequence of str, or None for "0", "1", ….
        count: int, the number of classes or outputs, two for a binary classifier.
        is_binary: bool, whether one output stands for two classes.

    Returns:
        tuple of `count` str.

    Raises:
        InputError: their number is wrong.
    """
    names = tuple(str(index) for index in range(count)) if labels is None else tuple(map(str, labels))
    if len(names) != count:
        rule = "name both classes of a classifier with one output, that of target 0 first"
        raise InputError(
            f"`labels` must {rule if is_binary else f'have a name for each of the {count} outputs'}. "
            f"Received: {len(names)}: {', '.join(names)}."
        )
    return names


def _log(probabilities: np.ndarray) -> np.ndarray:
    # A sigmoid or a softmax in float32 reaches 0 and 1.
    return np.log(np.maximum(probabilities, _SMALLEST))
