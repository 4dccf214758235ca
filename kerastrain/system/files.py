"""Files that are either whole or not there: everything kerastrain writes goes through here.

Takes paths and contents; gives files that were written beside their place, flushed to the disk and then renamed, so
that a killed process or a full disk never costs what existed. Must not import TensorFlow.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EIO: "the device failed",
}
_LEFT_OVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class WriteError(OSError):
    """A file could not be written, and what stood in its place is unchanged.

    Args:
        path: Path that should have been written.
        number: int, the system's error number, a key of `errno.errorcode`.
    """

    def __init__(self, path: Path, number: int):
        super().__init__(
            f"cannot write '{path}': {_REASONS[number]}. What stood there before is unchanged. Make room or choose "
            "another folder, and start again."
        )
        self.path = path
        self.errno = number


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place when the block ends without an error.

    The block may make the neighbour a file or a folder. It keeps the suffix of `path`, because Keras chooses the
    format by it. When the block raises, the neighbour is removed and what stood at `path` is untouched. A folder that
    exists is exchanged for the new one in a single step of the Linux kernel (renameat2); where kernel or file system
    cannot do that, there is a moment at which neither stands at `path`, and a process that is killed in it leaves the
    old one in the hidden folder `.NAME.XXXXXXXX.tmp` beside it.

    Args:
        path: path of the file or folder to write; its parent is made if it is missing, and stays only if it is needed.

    Yields:
        Path in the same parent folder, which does not exist yet.

    Raises:
        WriteError: the disk is full or read-only, or the folder is not the user's to write, whether the system, HDF5
            or TensorFlow met it.

    Example:
        >>> with atomic(folder / "model.keras") as temporary:  # doctest: +SKIP
        ...     model.save(temporary)
    """
    path = Path(path)
    with explained(path), _parent(path):
        scratch = _scratch(path)
        temporary = scratch / path.name
        try:
            with _named(path, within=scratch):
                yield temporary
            _flush(temporary)
            _put_in_place(temporary, path, scratch)
            _flush_entry(path.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def explained(path: str | os.PathLike) -> Iterator[None]:
    """Tells of a full or read-only disk that the block meets as `WriteError` of `path`.

    For writers that are not ours, such as TensorBoard's; `atomic` does it by itself.

    Raises:
        WriteError: as for `atomic`.
    """
    path = Path(path)
    try:
        yield
    except WriteError:
        raise
    except Exception as error:  # TensorFlow's are not OSErrors, and their class cannot be named without importing it
        number = _reason(error, path.parent)
        if number is None:
            raise
        raise WriteError(path, number) from error


def write_bytes(path: str | os.PathLike, content: bytes) -> Path:
    """Writes `content` to `path`, whole or not at all, and returns the path."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike, content: str) -> Path:
    """Writes `content` to `path` as UTF-8, whole or not at all, and returns the path."""
    return write_bytes(path, content.encode())


def write_json(path: str | os.PathLike, value: object) -> Path:
    """Writes `value` to `path` as indented JSON, whole or not at all, and returns the path.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON cannot say.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def link(source: Path, target: Path) -> None:
    """Gives the file `source` the second name `target`, or copies it where the file system has no hard links.

    A file that is only ever replaced through `atomic` keeps its contents under its second name.

    Args:
        source: Path of a file.
        target: Path that does not exist, in a folder that does.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def remove(path: str | os.PathLike) -> None:
    """Removes a file or folder, which is there whole or not at all for whoever looks meanwhile."""
    path = Path(path)
    with explained(path):
        scratch = _scratch(path)
        try:
            os.replace(path, scratch / path.name)
            _flush_entry(path.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def remove_leftovers(directory: Path) -> None:
    """Removes the temporary neighbours that killed processes left in `directory` and below it.

    Call it only where no other process is writing.
    """
    for parent, names, _ in os.walk(directory):
        for name in [name for name in names if _LEFT_OVER.fullmatch(name)]:
            names.remove(name)
            shutil.rmtree(Path(parent, name), ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's contents, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _scratch(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent))


def _put_in_place(temporary: Path, path: Path, scratch: Path) -> None:
    if path.is_dir():
        if _exchange(temporary, path):
            return
        # A folder cannot be renamed over a folder that holds files: the old one steps aside first.
        os.replace(path, scratch / f"{path.name}.old")
    os.replace(temporary, path)


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges what stands at two paths in one step, or says that this system cannot."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    if ctypes.get_errno() in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """The system's renameat2(2), which Python does not offer; None where the C library has none."""
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None


def _flush(path: Path) -> None:
    if path.is_dir():
        for child in path.rglob("*"):
            if not child.is_symlink():
                _flush_entry(child)
    _flush_entry(path)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _parent(path: Path) -> Iterator[None]:
    """Makes the folders above `path` that are missing, and takes them back if nothing came to stand in them."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:  # the innermost first
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _named(path: Path, within: Path) -> Iterator[None]:
    """Files of a folder that is in the making are told by the name of what is being made."""
    try:
        yield
    except WriteError as error:
        if error.path.is_relative_to(within):
            raise WriteError(path, error.errno) from error
        raise


def _reason(error: Exception, folder: Path) -> int | None:
    """The number of what kept a file in `folder` from being written, or None for an error of another kind."""
    if isinstance(error, OSError):
        number = error.errno
    elif type(error).__module__.startswith("tensorflow"):
        # TensorFlow hands the system's words on, and not its number.
        number = next((code for code in _REASONS if os.strerror(code) in str(error)), None)
    else:
        return None
    if number in (errno.EACCES, errno.EPERM) and isinstance(error, OSError):
        # Another file may have been read in the block, which is no fault of this one.
        return number if error.filename and Path(error.filename).is_relative_to(folder) else None
    return number if number in _REASONS else None
