"""Rows of equal length in one file, each of which proves itself: what a cache on disk is made of.

Takes and gives bytes. A row carries a checksum over its content and over the seed that it was written with. One that was
never written, was torn by a crash or a full disk, was damaged, or belongs to another seed is as if it were not there. So
nothing needs a lock, and any number of processes may read and write one file at once. Must not know what the rows hold.
"""

import contextlib
import errno
import logging
import os
import shutil
import struct
import time
import weakref
import zlib
from pathlib import Path

logger = logging.getLogger("kerastrain")

SUFFIX = ".rows"
_MARK = b"kept"  # The checksum of an empty hole is 0, which could be a row's own.
_SEAL_BYTES = 8
_DISK_FRACTION = 0.5  # What all the files together may fill of the disk that they and nobody else would.
_UNUSED_SECONDS = 30 * 24 * 3600


class RowFile:
    """A file of rows that is made where it is missing and grows as rows are written.

    Args:
        path: Path of the file; only its owner may read it.
        row_bytes: int > 0, length of every row.

    Raises:
        OSError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, row_bytes: int):
        self.path = path
        self.row_bytes = row_bytes
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._is_full = False
        weakref.finalize(self, os.close, self._descriptor)
        os.utime(path)  # Files that nobody opens are removed first.

    def read(self, row: int, *, seed: int, out: memoryview) -> bool:
        """Fills `out`, `row_bytes` writable bytes, with a row; False, and `out` undefined, where it is not there.

        Args:
            row: int >= 0.
            seed: int in [0, 2**32), what the row was written with.
            out: contiguous buffer of `row_bytes` bytes.
        """
        seal = bytearray(_SEAL_BYTES)
        with contextlib.suppress(OSError):  # A disk that cannot be read costs a decoding and not the run.
            count = os.preadv(self._descriptor, [out, seal], self._start(row))
            return count == self.row_bytes + _SEAL_BYTES and seal == _seal(out, seed)
        return False

    def write(self, row: int, *, seed: int, content: memoryview) -> None:
        """Keeps a row; after a full disk it gives back the space of all rows, says so once, and keeps no more."""
        if self._is_full:
            return
        try:
            os.pwritev(self._descriptor, [content, _seal(content, seed)], self._start(row))
        except OSError as fault:
            if self._is_full:  # Another thread was faster.
                return
            self._is_full = True
            # The run needs the space for its checkpoints more than for pixels that can be decoded again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
                self.path.unlink(missing_ok=True)
            logger.warning(
                "no more can be kept in '%s' (%s): it is removed, and images are decoded anew",
                self.path,
                fault.strerror,
            )

    def _start(self, row: int) -> int:
        return int(row) * (self.row_bytes + _SEAL_BYTES)


def size_bytes(count: int, *, row_bytes: int) -> int:
    """Length in bytes of a file of `count` rows."""
    return count * (row_bytes + _SEAL_BYTES)


def make_room(path: Path, needed_bytes: int) -> None:
    """Removes older files beside `path` as far as it needs to grow to `needed_bytes`.

    All files of the folder may fill half of what the disk would have free without them. Those that nobody opened for 30
    days go in any case, then those opened longest ago. One that another process still reads can be removed: its
    space comes free when that process ends.

    Args:
        path: Path of a `RowFile`, which need not exist.
        needed_bytes: int, its length when all rows are written.

    Raises:
        OSError: the folder cannot be made, or (ENOSPC) there would not be room without the others either.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    others = sorted(_times_and_sizes(path.parent, but=path))
    held_bytes = sum(held for _, held, _ in others)
    limit = _DISK_FRACTION * (shutil.disk_usage(path.parent).free + held_bytes + _held_bytes(path))
    if needed_bytes > limit:
        raise OSError(errno.ENOSPC, "the free half of the disk is too small")
    for opened, held, other in others:
        if needed_bytes + held_bytes > limit or time.time() - opened > _UNUSED_SECONDS:
            other.unlink(missing_ok=True)
            held_bytes -= held


def _times_and_sizes(folder: Path, *, but: Path) -> list[tuple[float, int, Path]]:
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # Another process may be making room as well.
            if path != but:
                found.append((path.stat().st_mtime, _held_bytes(path), path))
    return found


def _held_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512  # Rows that were never written take no space.
    except FileNotFoundError:
        return 0


def _seal(content: memoryview, seed: int) -> bytes:
    return struct.pack("<4sI", _MARK, zlib.crc32(content, seed))
