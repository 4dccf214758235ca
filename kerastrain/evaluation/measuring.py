"""The measures of predictions, by their task.

Takes `Predictions`; returns a dict that can be written as JSON. Must not import TensorFlow.
"""

from kerastrain.evaluation import multi_label, regression, single_label, slices
from kerastrain.evaluation.predictions import Predictions


def measures(predictions: Predictions, *, with_intervals: bool = True, with_rankings: bool = True) -> dict:
    """Measures predictions.

    Args:
        predictions: Predictions of at least one example.
        with_intervals: bool, whether the measures get 95 % intervals, which take most of the time.
        with_rankings: bool, whether the measures of classes have the areas under their curves, which take most of the rest.

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
    measured = _of_all(predictions, with_intervals=with_intervals, with_rankings=with_rankings)
    if predictions.slices or predictions.properties:
        measured["slices"] = slices.measure(predictions)
    return measured


def _of_all(predictions: Predictions, *, with_intervals: bool, with_rankings: bool) -> dict:
    targets, labels = predictions.targets, predictions.labels
    if predictions.task == "regression":
        return regression.measure(targets, predictions.outputs, labels, with_intervals=with_intervals)
    options = {"with_intervals": with_intervals, "with_rankings": with_rankings}
    if predictions.task == "multi_label":
        return multi_label.measure(targets, predictions.probabilities, labels, **options)
    return single_label.measure(targets, predictions.probabilities, labels, **options)
