"""Real inputs for checking and calibrating exports, drawn from whatever a person has at hand.

Takes arrays, `tf.data` data sets or kerastrain's own examples; gives one array that fits the model. Must not write files.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError


def draw(source, model: keras.Model, *, count: int, name: str = "samples") -> np.ndarray:
    """Up to `count` inputs for `model` from `source`, checked against the model's input.

    Args:
        source: array (n, ...), or `tf.data.Dataset` of batches (inputs, ...) or of batches of inputs, of which the first
            are taken; or `data.Examples`, from which every stratum (a class, a set of labels, a tenth of the numbers)
            gives its share.
        model: keras.Model with one input.
        count: int > 0, the most inputs to take.
        name: str, the argument's name for errors.

    Returns:
        array (n, ...) of the model's input dtype, 1 <= n <= count.

    Raises:
        InputError: `source` is empty, or its inputs have another shape than the model takes.
        TypeError: `source` is none of the above.
    """
    if isinstance(source, tf.data.Dataset):
        inputs = _from_dataset(source, count)
    elif hasattr(source, "image") and hasattr(source, "strata"):
        inputs = [source.image(index) for index in stratified(source.strata, count)]
    elif isinstance(source, np.ndarray | tf.Tensor | list | tuple):
        inputs = source[:count]
    else:
        raise TypeError(
            f"`{name}` must be an array, a tf.data.Dataset or examples. Received: "
            f"{type(source).__module__}.{type(source).__qualname__}. Give a few hundred real inputs."
        )
    if len(inputs) == 0:
        raise InputError(f"`{name}` must hold at least one input. Received: none. Give a few hundred real inputs.")
    expected, dtype = model.inputs[0].shape, model.inputs[0].dtype
    inputs = np.asarray(inputs) if dtype == "string" else np.asarray(inputs).astype(dtype)
    if not tf.TensorShape(expected[1:]).is_compatible_with(inputs.shape[1:]):
        raise InputError(
            f"`{name}` must have the shape that the model takes, {tuple(expected)}. Received: {inputs.shape}. "
            "Resize or batch them as in training."
        )
    return inputs


def stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of up to `count` examples in which every class has its share, the same at every call.

    The k-th example of a class of n ranks at (k + 1/2) / n, and the lowest ranks are taken: every prefix of the ranking
    holds the classes in their proportions.

    Args:
        labels: int (n,), the class of each example.
        count: int > 0.

    Returns:
        int64 (min(n, count),), ascending.

    Example:
        >>> stratified([0, 0, 0, 0, 1, 1], 3)
        array([0, 1, 4])
    """
    labels = np.asarray(labels)
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(ranks, kind="stable")[:count])


def _from_dataset(dataset: tf.data.Dataset, count: int) -> list:
    inputs = []
    for batch in dataset:
        inputs.extend((batch[0] if isinstance(batch, tuple) else batch).numpy())
        if len(inputs) >= count:
            break
    return inputs[:count]
