"""Signs of life of the workers of a search: one small file for each in a folder that all machines share.

Takes the folder of a search and the ids of workers. A worker locks its file and changes it every few seconds; the chief reads
which files no longer change, by its own clock, because those of two machines differ. Must not import TensorFlow.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kerastrain.errors import InputError

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_FOLDER = "workers"

logger = logging.getLogger("kerastrain")


class Beating:
    """The signs of life of one machine's workers.

    Args:
        directory: Path of the search folder.
        names: sequence of str, the ids of the workers.
    """

    def __init__(self, directory: Path, names: Sequence[str]):
        self._paths = [directory / _FOLDER / name for name in names]
        self._descriptors: list[int] = []
        self._count = 0

    @property
    def given_up(self) -> bool:
        """Whether the chief presumed a worker of this machine dead and removed its file."""
        return not all(path.exists() for path in self._paths)

    def start(self) -> None:
        """Makes and locks the files.

        Raises:
            InputError: another process has one of the ids.
        """
        for path in self._paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            self._descriptors.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self.stop()
                raise InputError(
                    f"every worker needs its own id. Received: KERASTUNER_TUNER_ID for {path.name!r}, which another process "
                    "has. Give this one another id, such as tuner1."
                ) from error
            except OSError:
                logger.warning("the file system of %s has no locks: give each worker an id of its own", path)
        self.beat()

    def beat(self) -> None:
        """Changes every file, in place: a renamed file would lose its lock."""
        self._count += 1
        for descriptor in self._descriptors:
            os.pwrite(descriptor, f"{os.getpid()} {self._count}\n".encode(), 0)

    def stop(self) -> None:
        """Releases the files; they stay, as a record of who took part."""
        while self._descriptors:
            os.close(self._descriptors.pop())


@contextlib.contextmanager
def beating(directory: Path, names: Sequence[str], *, every_seconds: float = BEAT_SECONDS) -> Iterator[Beating]:
    """Context manager in which the workers of this machine give signs of life.

    Args:
        directory: Path of the search folder.
        names: sequence of str, the ids of the workers.
        every_seconds: float > 0, between two signs.

    Yields:
        Beating.

    Raises:
        InputError: another process has one of the ids.
    """
    signs, ended = Beating(directory, names), threading.Event()
    signs.start()

    def beat() -> None:
        while not ended.wait(every_seconds):
            with contextlib.suppress(OSError):  # such as a full disk; the chief is patient
                signs.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield signs
    finally:
        ended.set()
        thread.join()
        signs.stop()


class Watch:
    """What the chief sees of the signs of life.

    Args:
        directory: Path of the search folder.
        stale_seconds: float, how long a worker may give no sign before it is presumed dead.
    """

    def __init__(self, directory: Path, *, stale_seconds: float = STALE_SECONDS):
        self._folder = directory / _FOLDER
        self._stale_seconds = stale_seconds
        self._seen: dict[str, tuple[bytes, float]] = {}

    def silent(self, name: str) -> bool:
        """Whether a worker has given no sign of life for too long; a worker that never gave one counts from the first question.

        Args:
            name: str, the id of the worker.
        """
        try:
            sign = (self._folder / name).read_bytes()
        except OSError:
            sign = b""
        before, since = self._seen.get(name, (None, 0.0))
        if sign != before:
            self._seen[name] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > self._stale_seconds

    def give_up(self, name: str) -> None:
        """Removes the file of a worker that is presumed dead; if it is alive, it notices.

        Args:
            name: str, the id of the worker.
        """
        self._seen.pop(name, None)
        (self._folder / name).unlink(missing_ok=True)
