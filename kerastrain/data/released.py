"""Lets a data set go, and the examples that it reads, when nobody holds it any longer and the next one is made.

Takes the function that reads, and the `tf.data.Dataset` that calls it. Must not read anything itself.

TensorFlow keeps a function of `tf.numpy_function` until the process ends (TF 2.21: the list `_py_funcs_used_in_graph` of the
default graph). Without this module, a process that trains many models, as a search does, would keep the examples or features of
each of them in memory.
"""

import contextlib
import weakref
from collections.abc import Callable

import tensorflow as tf

_ended: list[list[Callable]] = []  # The functions of data sets that are gone.


def releasable(function: Callable) -> tuple[Callable, Callable[[tf.data.Dataset], None]]:
    """Makes a function for `tf.numpy_function` that does not outlive its data set.

    Args:
        function: callable, which may hold arrays; nobody else should hold it.

    Returns:
        tuple of a callable like `function`, and of a callable that ties it to a data set: when that is deleted, `function` is
            deleted at the next call of `releasable`. A data set that is made from another holds it, and so does an iterator.
            One that is made within a `tf.function`, which is deleted before it is read, is not tied.

    Example:
        >>> read, tie = releasable(lambda step: 2 * step)
        >>> dataset = tf.data.Dataset.range(2).map(lambda step: tf.numpy_function(read, [step], tf.int64))
        >>> tie(dataset)
        >>> [int(number) for number in dataset]
        [0, 2]
        >>> del dataset
        >>> _ = releasable(print)
        >>> read(1)
        Traceback (most recent call last):
        RuntimeError: the data set of this function was deleted before it was read
    """
    with contextlib.suppress(IndexError):
        while True:
            _ended.pop().clear()
    held = [function]

    def call(*arguments):
        try:
            [held_function] = held
        except ValueError:
            raise RuntimeError("the data set of this function was deleted before it was read") from None
        return held_function(*arguments)

    def tie(dataset: tf.data.Dataset) -> None:
        if tf.executing_eagerly():
            # Not cleared at once: an iterator that is broken off deletes its data set before its threads, which read ahead.
            weakref.finalize(dataset, _ended.append, held).atexit = False

    return call, tie
