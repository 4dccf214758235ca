"""Real inputs for checking and calibrating exports, drawn from arrays, `tf.data` datasets or `data.Examples`.

Returns one array that fits the model, or a tuple of it and of the numbers beside it, and the targets if the source has them.
Must not write files.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.export.endpoints import Values

_LONGEST_TEXT = 20_000  # characters


def draw(source, model: keras.Model, *, count: int | None, name: str = "samples") -> Values:
    """Up to `count` inputs for `model` from `source`, checked against the model's input.

    Args:
        source: array (n, ...), for a model that reads numbers too a tuple of it and of the numbers; or `tf.data.Dataset` of
            batches (inputs, ...) or of batches of inputs, of which the first ones are taken; or `data.Examples`, from which
            each stratum (a class, a set of labels, a tenth of the numbers) is drawn in proportion.
        model: keras.Model with one input, and perhaps numbers beside it.
        count: int > 0, the most inputs to take; None for all.
        name: str, the argument's name for errors.

    Returns:
        array (n, ...) of the model's input dtype, 1 <= n <= count, or a tuple of it and of float32 (n, k). Of a text, only the
        first 20,000 characters count.

    Raises:
        InputError: `source` is empty, or the shape of its inputs differs from that of the model's input.
        TypeError: `source` has another type.
    """
    return draw_with_targets(source, model, count=count, name=name)[0]


def draw_with_targets(
    source, model: keras.Model, *, count: int | None, name: str = "samples"
) -> tuple[Values, np.ndarray | None]:
    """The inputs of `draw`, and the target of each.

    Args:
        source: as for `draw`.
        model: as for `draw`.
        count: as for `draw`.
        name: as for `draw`.

    Returns:
        tuple of the inputs of `draw`, and an array (n, ...) of targets, or None if `source` has none.

    Raises:
        InputError: as for `draw`.
        TypeError: as for `draw`.
    """
    targets, reads_numbers = None, len(model.inputs) > 1
    if isinstance(source, tf.data.Dataset):
        inputs, targets = _from_dataset(source, count)
    elif hasattr(source, "read") and hasattr(source, "strata"):
        chosen = rows(source, count=count)
        inputs, targets = source.model_inputs(chosen), source.targets[chosen]
    elif isinstance(source, tuple) and reads_numbers:
        inputs = tuple(values[:count] for values in source)
    elif isinstance(source, np.ndarray | tf.Tensor | list | tuple):
        inputs = source[:count]
    else:
        raise TypeError(
            f"`{name}` must be an array, a tf.data.Dataset or data.Examples. Received: "
            f"{type(source).__module__}.{type(source).__qualname__}. Pass a few hundred real inputs."
        )
    if isinstance(inputs, tuple) != reads_numbers or (reads_numbers and len(inputs) != 2):
        expected = f"the {model.inputs[1].shape[1]} numbers beside each input too" if reads_numbers else "no numbers"
        raise InputError(f"`{name}` must hold {expected}, as the model reads. Received: something else.")
    if reads_numbers:
        numbers = np.asarray(inputs[1], np.float32)
        if numbers.shape != (len(inputs[0]), model.inputs[1].shape[1]):
            raise InputError(
                f"`{name}` must hold {model.inputs[1].shape[1]} numbers beside each input. Received: shape {numbers.shape} for "
                f"{len(inputs[0])} inputs."
            )
        return (_checked(inputs[0], model, name), numbers), targets
    return _checked(inputs, model, name), targets


def rows(source, *, count: int | None) -> np.ndarray:
    """Which examples `draw` takes.

    Args:
        source: `data.Examples`.
        count: as for `draw`.

    Returns:
        int64 (n,), ascending.
    """
    return np.arange(len(source)) if count is None else stratified(source.strata, count)


def _checked(inputs, model: keras.Model, name: str) -> np.ndarray:
    """Images or texts as an array of the dtype and the shape of the model's input."""
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
    return inputs


def are_shortened(texts: np.ndarray) -> bool:
    """Whether `draw` takes only the start of a text.

    Args:
        texts: object or str (n,) or (n, 2).

    Returns:
        bool.
    """
    return any(len(text) > _LONGEST_TEXT for text in np.ravel(texts))


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


def _from_dataset(dataset: tf.data.Dataset, count: int | None) -> tuple[list | tuple[list, list], np.ndarray | None]:
    if count is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError("all samples of an infinite dataset cannot be drawn. Give a number, or a finite dataset.")
    inputs, numbers, targets = [], [], []
    for element in dataset:
        batch = element if isinstance(element, tuple) else (element,)
        source, *beside = batch[0] if isinstance(batch[0], tuple) else (batch[0],)
        inputs.extend(source.numpy())
        for values in beside:
            numbers.extend(values.numpy())
        if len(batch) > 1 and tf.is_tensor(batch[1]):
            targets.extend(batch[1].numpy())
        if count is not None and len(inputs) >= count:
            break
    targets = np.array(targets[:count]) if len(targets) == len(inputs) and targets else None
    return (inputs[:count], numbers[:count]) if numbers else inputs[:count], targets
