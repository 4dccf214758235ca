"""Spares Python's garbage collector the objects of libraries, which live as long as the process.

Changes the garbage collector of this process. Must not know of models.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Context manager: nothing is collected within it, and what it leaves behind is never searched for garbage.

    TensorFlow and Keras make very many objects when they are imported, which Python would search again and again, then and
    later; in a short training that is a good part of the processor time.

    Example:
        >>> with lasting():
        ...     import tensorflow
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
