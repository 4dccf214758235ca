"""Example weights that compensate for classes of unequal size.

Takes `Examples`, returns class weights, or examples with weights. The alternative is `batches(…, sampling="balanced")`,
which draws small classes more often instead of giving them a larger weight. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.errors import InputError, unknown


def class_weights(examples: Examples) -> dict[int, float]:
    """Computes weights under which all classes contribute equally to the loss, as scikit-learn's "balanced".

        weight of class c = n / (classes · examples of c)

    The mean weight of the examples is 1, so the learning rate need not change.

    Args:
        examples: Examples of task "single_label".

    Returns:
        dict from the number of each class that occurs to its weight, float > 0; accepted by `weighted` and by
        `class_weight` of `keras.Model.fit`.

    Raises:
        InputError: the task is not "single_label".

    Example:
        >>> class_weights(Examples(np.array([0, 0, 0, 1]), ("a", "b"), np.zeros((4, 1))))
        {0: 0.6666666666666666, 1: 2.0}

    Reference: King and Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868, section 4.2.
    """
    _check(examples)
    counts = examples.class_counts
    occurring = np.flatnonzero(counts)
    return {int(number): float(len(examples) / (len(occurring) * counts[number])) for number in occurring}


def weighted(examples: Examples, weights: Mapping[int, float]) -> Examples:
    """Multiplies the weight of each example by the weight of its class.

    Args:
        examples: Examples of task "single_label".
        weights: mapping from class numbers to weights >= 0, such as from `class_weights`; 1 for classes that are not in
            it.

    Returns:
        Examples with weights, which `batches` returns as the third element of each batch.

    Raises:
        InputError: the task is not "single_label", a class number is unknown, or a weight is negative.
    """
    _check(examples)
    table = np.ones(len(examples.labels))
    for number, weight in weights.items():
        if number not in range(len(examples.labels)):
            raise InputError(unknown("class number", number, map(str, range(len(examples.labels)))))
        table[number] = weight
    example_weights = 1.0 if examples.weights is None else examples.weights
    return dataclasses.replace(examples, weights=(table[examples.targets] * example_weights).astype(np.float32))


def _check(examples: Examples) -> None:
    if examples.task != "single_label":
        raise InputError(
            "class weights require task 'single_label', where each example has one class. Received: "
            f"{examples.task!r}. Set `weights` for each example instead."
        )
