"""The measures of predictions, by their task.

Takes `Predictions`; returns a dict that can be written as JSON. Must not import TensorFlow.
"""

from kerastrain.evaluation import multi_label, regression, single_label
from kerastrain.evaluation.predictions import Predictions


def measures(predictions: Predictions) -> dict:
    """Measures predictions.

    Args:
        predictions: Predictions of at least one example.

    Returns:
        dict as from `measure`, `multi_label.measure` or `regression.measure`.

    Raises:
        InputError: there is no example, an output is not finite, or a target is out of range.

    Example:
        >>> predictions = kt.evaluation.predictions.read("runs/flowers/predictions/test.npz")  # doctest: +SKIP
        >>> measures(predictions)["accuracy"]  # doctest: +SKIP
        0.97
    """
    targets, labels = predictions.targets, predictions.labels
    if predictions.task == "regression":
        return regression.measure(targets, predictions.outputs, labels)
    if predictions.task == "multi_label":
        return multi_label.measure(targets, predictions.probabilities, labels)
    return single_label.measure(targets, predictions.probabilities, labels)
