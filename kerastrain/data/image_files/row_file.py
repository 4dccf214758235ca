"""A file of rows of equal length, each with a checksum: the storage of a cache on disk.

Takes and returns bytes. The checksum of a row covers its content and the seed that it was written with. A row that was
never written, was torn by a crash or a full disk, is damaged, or belongs to another seed is treated as missing. So no
lock is needed, and any number of processes may read and write one file at once. Must not know what the rows contain.
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
_MARK = b"kept"  # Tells a row from an empty hole, whose checksum of 0 could be that of a row.
_SEAL_BYTES = 8
_DISK_FRACTION = 0.5  # Of the space that the disk would have free without the files of the cache.
_UNUSED_SECONDS = 30 * 24 * 3600


class RowFile:
    """A file of rows, created if it is missing, that grows as rows are written.

    Args:
        path: Path of the file, which only its owner may read.
        row_bytes: int >= 1, length of every row.

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
        os.utime(path)  # `make_room` removes the files first that were opened longest ago.

    def read(self, row: int, *, seed: int, out: memoryview) -> bool:
        """Reads a row into `out`.

        Args:
            row: int >= 0.
            seed: int in [0, 2**32) that the row was written with.
            out: contiguous writable buffer of `row_bytes` bytes; its content is undefined if the row is missing.

        Returns:
            bool, False if the row is missing.
        """
        seal = bytearray(_SEAL_BYTES)
        with contextlib.suppress(OSError):  # If the disk cannot be read, the image is decoded and the run continues.
            count = os.preadv(self._descriptor, [out, seal], self._start(row))
            return count == self.row_bytes + _SEAL_BYTES and seal == _seal(out, seed)
        return False

    def write(self, row: int, *, seed: int, content: memoryview) -> None:
        """Writes a row. Once the disk is full, it removes the file, logs a warning, and writes no more.

        Args:
            row: int >= 0.
            seed: int in [0, 2**32) that identifies the version of the content.
            content: contiguous buffer of `row_bytes` bytes.
        """
        if self._is_full:
            return
        try:
            os.pwritev(self._descriptor, [content, _seal(content, seed)], self._start(row))
        except OSError as error:
            if self._is_full:  # Another thread was faster.
                return
            self._is_full = True
            # The run needs the space for its checkpoints more than for pixels that can be decoded again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
                self.path.unlink(missing_ok=True)
            logger.warning(
                "cannot write to the cache '%s' (%s): it is removed, and images are decoded each time",
                self.path,
                error.strerror,
            )

    def _start(self, row: int) -> int:
        return int(row) * (self.row_bytes + _SEAL_BYTES)


def size_bytes(count: int, *, row_bytes: int) -> int:
    """Length in bytes of a file of rows.

    Args:
        count: int >= 0, number of rows.
        row_bytes: int >= 1, length of every row.

    Returns:
        int >= 0.
    """
    return count * (row_bytes + _SEAL_BYTES)


def make_room(path: Path, needed_bytes: int) -> None:
    """Removes older files beside `path` until it can grow to `needed_bytes`.

    All files of the folder together may fill half of the space that the disk would have free without them. Files that
    nobody opened for 30 days are always removed, then those opened longest ago. A file that another process still reads
    can be removed; its space becomes free when that process ends.

    Args:
        path: Path of a `RowFile`, which need not exist.
        needed_bytes: int >= 0, its length when all rows are written.

    Raises:
        OSError: the folder cannot be created, or (ENOSPC) there is not enough space even without the other files.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    others = sorted(_times_and_sizes(path.parent, excluded=path))
    used_bytes = sum(size for _, size, _ in others)
    limit = _DISK_FRACTION * (shutil.disk_usage(path.parent).free + used_bytes + _disk_bytes(path))
    if needed_bytes > limit:
        raise OSError(errno.ENOSPC, "the free half of the disk is too small")
    for opened, size, other in others:
        if needed_bytes + used_bytes > limit or time.time() - opened > _UNUSED_SECONDS:
            other.unlink(missing_ok=True)
            used_bytes -= size


def _times_and_sizes(folder: Path, *, excluded: Path) -> list[tuple[float, int, Path]]:
    files = []
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # Another process may be making room as well.
            if path != excluded:
                files.append((path.stat().st_mtime, _disk_bytes(path), path))
    return files


def _disk_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512  # Rows that were never written take no space.
    except FileNotFoundError:
        return 0


def _seal(content: memoryview, seed: int) -> bytes:
    return struct.pack("<4sI", _MARK, zlib.crc32(content, seed))
