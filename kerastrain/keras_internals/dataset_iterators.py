"""Closes the iterators of tf.data that are still open when the interpreter exits.

A data set that calls Python (`tf.numpy_function`) reads ahead in threads. If its iterator is only deleted while the
interpreter shuts down, TensorFlow waits for these threads, and the threads wait for the GIL, which they no longer get: the
process hangs after its last line, or after the traceback of an uncaught exception. TensorFlow checks whether the interpreter
is still there before it calls Python (https://github.com/tensorflow/tensorflow/issues/21277), which does not cover a shutdown
that has begun. Functions of `atexit` run earlier, while threads can still take the GIL.

The private names are `OwnedIterator._iterator_resource` and `OwnedMultiDeviceIterator._multi_device_iterator_resource`, read
in TensorFlow 2.20 and 2.21; there is no public way to close an iterator. `tests/keras_internals/test_dataset_iterators.py`
fails when one of them moves, and when TensorFlow no longer hangs without this module.
"""

import atexit
import contextlib
import functools
import gc

from tensorflow.python.data.ops import iterator_ops, multi_device_iterator_ops

RESOURCES = (
    (iterator_ops.OwnedIterator, "_iterator_resource"),
    (multi_device_iterator_ops.OwnedMultiDeviceIterator, "_multi_device_iterator_resource"),
)
"""The classes of iterators, and the attribute that owns what runs in the background."""


@functools.cache
def close_at_exit() -> None:
    """Closes all open iterators of tf.data when the interpreter exits; calling it again changes nothing."""
    atexit.register(close)


def close() -> int:
    """Closes all open iterators of tf.data and waits for what they are reading.

    Returns:
        int, the number of iterators closed.
    """
    closed = 0
    for candidate in gc.get_objects():
        for kind, attribute in RESOURCES:
            # `type`, since `isinstance` would run the code of proxies that only pretend to have a class.
            if issubclass(type(candidate), kind):
                with contextlib.suppress(AttributeError):  # It was closed before.
                    delattr(candidate, attribute)
                    closed += 1
    return closed
