"""Real inputs for checking and calibrating exports, drawn from arrays, `tf.data` datasets or `data.Examples`.

Returns one array that fits the model, and the targets if the source has them. Must not write files.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError

_LONGEST_TEXT = 20_000  # characters


def draw(source, model: keras.Model, *, count: int | None, name: str = "samples") -> np.ndarray:
    """Up to `count` inputs for `model` from `source`, checked against the model's input.

    Args:
        source: array (n, ...); or `tf.data.Dataset` of batches (inputs, ...) or of batches of inputs, of which the first
            ones are taken; or `data.Examples`, from which each stratum (a class, a set of labels, a tenth of the numbers)
            is drawn in proportion.
        model: keras.Model with one input.
        count: int > 0, the most inputs to take; None for all.
        name: str, the argument's name for errors.

    Returns:
        array (n, ...) of the model's input dtype, 1 <= n <= count. Of a text, only the first 20,000 characters count.

    Raises:
        InputError: `source` is empty, or the shape of its inputs differs from that of the model's input.
        TypeError: `source` has another type.
    """
    return draw_with_targets(source, model, count=count, name=name)[0]


def draw_with_targets(
    source, model: keras.Model, *, count: int | None, name: str = "samples"
) -> tuple[np.ndarray, np.ndarray | None]:
    """The inputs of `draw`, and the target of each.

    Args:
        source: as for `draw`.
        model: as for `draw`.
        count: as for `draw`.
        name: as for `draw`.

    Returns:
        tuple of the array of `draw`, and an array (n, ...) of targets, or None if `source` has none.

    Raises:
        InputError: as for `draw`.
        TypeError: as for `draw`.
    """
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
            f"`{name}` must be an array, a tf.data.Dataset or data.Examples. Received: "
            f"{type(source).__module__}.{type(source).__qualname__}. Pass a few hundred real inputs."
        )
    if len(inputs) == 0:
        raise InputError(f"`{name}` must hold at least one input. Received: none. Pass a few hundred real inputs.")
    expected, dtype = model.inputs[0].shape, model.inputs[0].dtype
    # An array of objects, such as texts from a dataset, becomes an array of strings, which np.savez writes without pickle.
    if dtype == "string":
        inputs = np.array(list(map(_start, np.ravel(inputs)))).reshape(np.shape(inputs))
    else:
        inputs = np.asarray(inputs).astype(dtype)
    if not tf.TensorShape(expected[1:]).is_compatible_with(inputs.shape[1:]):
        raise InputError(
            f"`{name}` must have the shape of the model's input, {tuple(expected)}. Received: {inputs.shape}. "
            "Resize or batch them as in training."
        )
    return inputs, targets


def _start(text: str | bytes) -> str | bytes:
    """The start of a text: an array of strings gives each of them the space of the longest."""
    if len(text) <= _LONGEST_TEXT:
        return text
    start = text[:_LONGEST_TEXT]
    return start.decode(errors="ignore").encode() if isinstance(start, bytes) else start


def stratified(strata: np.ndarray, count: int) -> np.ndarray:
    """Indices of up to `count` examples with every stratum in proportion; the same at every call.

    The k-th example of a stratum of n has the rank (k + 1/2) / n, and the examples of the lowest ranks are taken: every
    prefix of the ranking contains the strata in their proportions.

    Args:
        strata: int (n,), the stratum of each example, such as its class.
        count: int > 0.

    Returns:
        int64 (min(n, count),), ascending.

    Example:
        >>> stratified([0, 0, 0, 0, 1, 1], 3)
        array([0, 1, 4])
    """
    strata = np.asarray(strata)
    ranks = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        ranks[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(ranks, kind="stable")[:count])


def _from_dataset(dataset: tf.data.Dataset, count: int | None) -> tuple[list, np.ndarray | None]:
    if count is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError("all samples of an infinite dataset cannot be drawn. Give a number, or a finite dataset.")
    inputs, targets = [], []
    for element in dataset:
        batch = element if isinstance(element, tuple) else (element,)
        inputs.extend(batch[0].numpy())
        if len(batch) > 1 and tf.is_tensor(batch[1]):
            targets.extend(batch[1].numpy())
        if count is not None and len(inputs) >= count:
            break
    return inputs[:count], np.array(targets[:count]) if len(targets) == len(inputs) and targets else None
