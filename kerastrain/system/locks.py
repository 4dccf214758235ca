"""Locks a folder against a second process that would write there.

Takes a path; returns a context manager. Must not import TensorFlow.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from kerastrain.errors import InputError

logger = logging.getLogger("kerastrain")


@contextlib.contextmanager
def locked(directory: Path, doing: str) -> Iterator[None]:
    """Context manager that locks a folder; the kernel releases the lock when the process ends.

    Args:
        directory: Path of an existing folder.
        doing: str, what the process does there, for the message, such as "training in".

    Yields:
        None.

    Raises:
        InputError: another process has locked the folder.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"another process is {doing} {str(directory)!r}. Wait until it ends, or stop it.") from error
    except OSError:
        logger.warning("the file system of %s has no locks: do not start a second process in this folder", directory)
    try:
        yield
    finally:
        os.close(descriptor)
