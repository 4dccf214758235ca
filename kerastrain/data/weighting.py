"""How much each example counts in the loss, where classes are of unequal size.

Takes `Examples`, gives weights, and examples that carry them. The alternative is `batches(…, sampling="balanced")`, which
shows small classes more often in place of weighing them more. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.errors import InputError, unknown


def class_weights(examples: Examples) -> dict[int, float]:
    """The weight of each class under which all classes count alike, as scikit-learn's "balanced".

        weight of class c = n / (classes · examples of c)

    Over the examples the weights are 1 in the mean, so that the learning rate need not change.

    Args:
        examples: Examples of task "single_label".

    Returns:
        dict from the number of each class that occurs to its weight: what Keras's `fit` takes as `class_weight`, and
        `weighted` takes.

    Raises:
        InputError: the task is another.

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
    """The same examples, each weighing what its class does, times the weight that it had.

    Args:
        examples: Examples of task "single_label".
        weights: mapping from the number of a class to a weight >= 0, such as from `class_weights`; a class that it
            leaves out weighs 1.

    Returns:
        Examples with weights, which `batches` gives as a third part.

    Raises:
        InputError: the task is another, or a number is of no class or weighs less than 0.
    """
    _check(examples)
    table = np.ones(len(examples.labels))
    for number, weight in weights.items():
        if number not in range(len(examples.labels)):
            raise InputError(unknown("class number", number, map(str, range(len(examples.labels)))))
        table[number] = weight
    own = 1.0 if examples.weights is None else examples.weights
    return dataclasses.replace(examples, weights=(table[examples.targets] * own).astype(np.float32))


def _check(examples: Examples) -> None:
    if examples.task != "single_label":
        raise InputError(
            f"class weights go with task 'single_label', where each example has one class. Received: {examples.task!r}. "
            "Give each example a weight of its own."
        )
