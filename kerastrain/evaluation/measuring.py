"""The measures of predictions, by their task.

Takes `Predictions`; returns a dict that can be written as JSON. Must not import TensorFlow.
"""

from kerastrain.evaluation import multi_label, regression, single_label, slices
from kerastrain.evaluation.predictions import Predictions


def measures(predictions: Predictions) -> dict:
    """Measures predictions.

    Args:
        predictions: Predictions of at least one example.

    Returns:
        dict as from `measure`, `multi_label.measure` or `regression.measure`; with "slices", as from `slices.measure`, if the
        predictions have slices or properties.

    Raises:
        InputError: there is no example, an output is not finite, or a target is out of range.

    Example:
        >>> predictions = kt.evaluation.predictions.read("runs/flowers/predictions/test.npz")  # doctest: +SKIP
        >>> measures(predictions)["accuracy"]  # doctest: +SKIP
        0.97
    """
    measured = _of_all(predictions)
    if predictions.slices or predictions.properties:
        measured["slices"] = slices.measure(predictions)
    return measured


def _of_all(predictions: Predictions) -> dict:
    targets, labels = predictions.targets, predictions.labels
    if predictions.task == "regression":
        return regression.measure(targets, predictions.outputs, labels)
    if predictions.task == "multi_label":
        return multi_label.measure(targets, predictions.probabilities, labels)
    return single_label.measure(targets, predictions.probabilities, labels)
