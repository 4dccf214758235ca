"""An example that cannot be read, told in its own words although TensorFlow was reading.

Takes functions that read, and blocks that train; gives the errors of the former to the latter. Must not read itself.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

from kerastrain.errors import InputError

_met: list[Exception] = []  # Of all threads of tf.data, which cannot hand an exception of Python on as it is.


def recording_errors(read: Callable) -> Callable:
    """`read`, whose errors `surface_read_errors` will find."""

    @functools.wraps(read)
    def noting(*arguments):
        try:
            return read(*arguments)
        except (InputError, OSError) as fault:
            _met.append(fault)
            raise

    return noting


@contextlib.contextmanager
def surface_read_errors() -> Iterator[None]:
    """While the block runs, an example that cannot be read ends it with the error that names its file.

    Every file was readable when the run began; one that has gone since would else be told by an error of TensorFlow's
    graph, forty lines long. Use it around whatever goes through `batches`.

    Raises:
        FileNotFoundError: an image file is no longer there.
        ImageFault: an image file can no longer be read.

    Example:
        >>> with kt.data.surface_read_errors():  # doctest: +SKIP
        ...     model.fit(kt.data.batches(split.train, 32, shuffle=True))
    """
    _met.clear()
    try:
        yield
    except tf.errors.OpError:
        if not _met:
            raise
        raise _met[0] from None
    finally:
        _met.clear()
