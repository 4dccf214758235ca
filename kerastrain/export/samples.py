"""Real inputs for checking and calibrating exports, drawn from whatever a person has at hand.

Takes arrays, `tf.data` data sets or kerastrain's own examples; gives one array that fits the model, and what is right for
each where the source says it. Must not write files.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError


def draw(source, model: keras.Model, *, count: int | None, name: str = "samples") -> np.ndarray:
    """Up to `count` inputs for `model` from `source`, checked against the model's input.

    Args:
        source: array (n, ...), or `tf.data.Dataset` of batches (inputs, ...) or of batches of inputs, of which the first
            are taken; or `data.Examples`, from which every stratum (a class, a set of labels, a tenth of the numbers)
            gives its share.
        model: keras.Model with one input.
        count: int > 0, the most inputs to take; None for all.
        name: str, the argument's name for errors.

    Returns:
        array (n, ...) of the model's input dtype, 1 <= n <= count.

    Raises:
        InputError: `source` is empty, or its inputs have another shape than the model takes.
        TypeError: `source` is none of the above.
    """
    return draw_with_targets(source, model, count=count, name=name)[0]


def draw_with_targets(
    source, model: keras.Model, *, count: int | None, name: str = "samples"
) -> tuple[np.ndarray, np.ndarray | None]:
    """The inputs of `draw`, and what is right for each: array (n, ...), or None where `source` holds inputs alone."""
    targets = None
    if isinstance(source, tf.data.Dataset):
        inputs, targets = _from_dataset(source, count)
    elif hasattr(source, "read") and hasattr(source, "strata"):
        chosen = np.arange(len(source)) if count is None else stratified(source.strata, count)
        inputs, targets = source.read(chosen), source.targets[chosen]
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
    # Of objects, such as texts of a data set, a plain array of strings, which needs no pickle.
    inputs = np.array(list(inputs)) if dtype == "string" else np.asarray(inputs).astype(dtype)
    if not tf.TensorShape(expected[1:]).is_compatible_with(inputs.shape[1:]):
        raise InputError(
            f"`{name}` must have the shape that the model takes, {tuple(expected)}. Received: {inputs.shape}. "
            "Resize or batch them as in training."
        )
    return inputs, targets


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


def _from_dataset(dataset: tf.data.Dataset, count: int | None) -> tuple[list, np.ndarray | None]:
    if count is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError(
            "all samples of a data set without end cannot be drawn. Give a number, or a data set that ends."
        )
    inputs, targets = [], []
    for batch in dataset:
        given = batch if isinstance(batch, tuple) else (batch,)
        inputs.extend(given[0].numpy())
        if len(given) > 1 and tf.is_tensor(given[1]):
            targets.extend(given[1].numpy())
        if count is not None and len(inputs) >= count:
            break
    return inputs[:count], np.array(targets[:count]) if len(targets) == len(inputs) and targets else None
