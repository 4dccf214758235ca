"""Example weights that compensate for classes of unequal size.

Takes `Examples`, returns class weights, or examples with weights. Examples that may have any number of labels get a weight
for each label, which the loss gives to the examples that have it. The alternative is `batches(…, sampling="balanced")`,
which draws small classes more often instead of giving them a larger weight. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.errors import InputError, unknown


def class_weights(examples: Examples) -> dict[int, float]:
    """Computes weights under which all classes contribute equally to the loss.

        single_label: weight of class c = n / (classes · examples of c), as scikit-learn's "balanced"
        multi_label:  weight of the examples with label c = (n - examples with c) / examples with c

    In the first case the mean weight of the examples is 1, so the learning rate need not change. In the second the examples
    with a label weigh as much as those without it.

    Args:
        examples: Examples of task "single_label" or "multi_label".

    Returns:
        dict from the number of each class that occurs to its weight, float; accepted by `weighted`, and for
        "single_label" by `class_weight` of `keras.Model.fit`.

    Raises:
        InputError: the task is "regression".

    Example:
        >>> class_weights(Examples(np.array([0, 0, 0, 1]), ("a", "b"), np.zeros((4, 1))))
        {0: 0.6666666666666666, 1: 2.0}
        >>> targets = np.array([[1, 0], [1, 0], [0, 0], [1, 1]], np.float32)
        >>> class_weights(Examples(targets, ("a", "b"), np.zeros((4, 1)), "multi_label"))
        {0: 0.3333333333333333, 1: 3.0}

    Reference: King and Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868, section 4.2.
    """
    _check(examples)
    counts = examples.class_counts
    occurring = np.flatnonzero(counts)
    if examples.task == "multi_label":
        # A label that every example has cannot be balanced, and has nothing to learn from: it keeps weight 1.
        return {int(number): float((len(examples) - counts[number]) / counts[number] or 1) for number in occurring}
    return {int(number): float(len(examples) / (len(occurring) * counts[number])) for number in occurring}


def weighted(examples: Examples, weights: Mapping[int, float]) -> Examples:
    """Gives each class a weight in the loss.

    Args:
        examples: Examples of task "single_label" or "multi_label".
        weights: mapping from class numbers to weights >= 0, such as from `class_weights`; 1 for classes that are not in
            it.

    Returns:
        Examples. For "single_label" their weights, which `batches` returns as the third element of each batch, are
        multiplied by that of their class; for "multi_label" the weights are `Examples.positive_weights`, for
        `models.loss`.

    Raises:
        InputError: the task is "regression", a class number is unknown, or a weight is negative.
    """
    _check(examples)
    table = np.ones(len(examples.labels))
    for number, weight in weights.items():
        if number not in range(len(examples.labels)):
            raise InputError(unknown("class number", number, map(str, range(len(examples.labels)))))
        table[number] = weight
    if examples.task == "multi_label":
        return dataclasses.replace(examples, positive_weights=tuple(table.tolist()))
    example_weights = 1.0 if examples.weights is None else examples.weights
    return dataclasses.replace(examples, weights=(table[examples.targets] * example_weights).astype(np.float32))


def _check(examples: Examples) -> None:
    if examples.task == "regression":
        raise InputError(
            "class weights require classes. Received: task 'regression'. Set `weights` for each example instead."
        )
