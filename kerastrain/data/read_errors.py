"""Read errors of an input pipeline, raised as themselves instead of as errors of TensorFlow's graph.

Takes reading functions and blocks of code that train; raises in the block the first error that a function recorded.
Must not read anything itself.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

from kerastrain.errors import InputError

_errors: list[Exception] = []  # From all threads of tf.data, which cannot pass on a Python exception unchanged.


def recording_errors(read: Callable) -> Callable:
    """Wraps a reading function so that `surface_read_errors` can raise its errors.

    Args:
        read: callable that reads examples.

    Returns:
        callable with the arguments and the result of `read`; an InputError or OSError is recorded and raised again.
    """

    @functools.wraps(read)
    def recording(*arguments):
        try:
            return read(*arguments)
        except (InputError, OSError) as error:
            _errors.append(error)
            raise

    return recording


@contextlib.contextmanager
def surface_read_errors() -> Iterator[None]:
    """Context manager that raises the original error when an example cannot be read.

    A file that was readable when the run began can disappear or break later. TensorFlow then raises a graph error of
    forty lines; this block raises the error that names the file. Use it around all code that iterates over `batches`.

    Raises:
        FileNotFoundError: an image file no longer exists.
        ImageFault: an image file can no longer be read.

    Example:
        >>> with kt.data.surface_read_errors():  # doctest: +SKIP
        ...     model.fit(kt.data.batches(split.train, 32, shuffle=True))
    """
    _errors.clear()
    try:
        yield
    except tf.errors.OpError:
        if not _errors:
            raise
        raise _errors[0] from None
    finally:
        _errors.clear()
