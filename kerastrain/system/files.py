"""Writes files and folders atomically: they are either complete or missing. All writing of kerastrain uses this module.

Takes paths and contents. A file is written to a temporary folder beside it, flushed to the disk and then renamed, so that a
killed process or a full disk never damages the previous version. Must not import TensorFlow.
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
from typing import Any

from kerastrain.errors import InputError

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
    """A file could not be written; its previous version is unchanged.

    Args:
        path: Path of the file.
        number: int, the system's error number, a key of `errno.errorcode`.
    """

    def __init__(self, path: Path, number: int):
        super().__init__(
            f"cannot write '{path}': {_REASONS[number]}. The previous version is unchanged. Free some space or choose "
            "another folder, and start again."
        )
        self.path = path
        self.errno = number


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Context manager that yields a temporary path, and moves it to `path` when the block ends without an error.

    The block may create a file or a folder at the temporary path, which has the name of `path`, because Keras chooses the
    format by the suffix. If the block raises, the temporary file is removed and `path` is unchanged. An existing folder is
    exchanged for the new one by a single system call (renameat2 of Linux). If kernel or file system do not support it,
    there is a moment at which `path` does not exist; a process that is killed at that moment leaves the previous version in
    the hidden folder `.NAME.XXXXXXXX.tmp` beside it.

    Args:
        path: path of the file or folder to write. Missing parent folders are created, and removed again after an error.

    Yields:
        Path, which does not exist yet, on the same file system.

    Raises:
        WriteError: the disk is full or read-only, or permission is missing, whether the error came from the system, HDF5
            or TensorFlow.

    Example:
        >>> with atomic(folder / "model.keras") as temporary:  # doctest: +SKIP
        ...     model.save(temporary)
    """
    path = Path(path)
    with surface_write_errors(path), _parent(path):
        scratch = _scratch(path)
        temporary = scratch / path.name
        try:
            with _named_after_target(path, within=scratch):
                yield temporary
            _flush(temporary)
            _put_in_place(temporary, path, scratch)
            _flush_entry(path.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def surface_write_errors(path: str | os.PathLike) -> Iterator[None]:
    """Context manager that turns errors of a full or read-only disk into `WriteError`.

    For writers other than `atomic`, such as TensorBoard; `atomic` includes it.

    Args:
        path: path of the file or folder that the block writes.

    Yields:
        None.

    Raises:
        WriteError: the disk is full or read-only, or permission is missing, whether the error came from the system, HDF5
            or TensorFlow.
    """
    path = Path(path)
    try:
        yield
    except WriteError:
        raise
    except Exception as error:  # TensorFlow's errors are not OSErrors, and naming their class would import it.
        number = _error_number(error, path.parent)
        if number is None:
            raise
        raise WriteError(path, number) from error


def write_bytes(path: str | os.PathLike, content: bytes) -> Path:
    """Writes a file atomically.

    Args:
        path: path of the file.
        content: bytes of the file.

    Returns:
        Path of the file.

    Raises:
        WriteError: as for `atomic`.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike, content: str) -> Path:
    """Writes a text file as UTF-8, atomically.

    Args:
        path: path of the file.
        content: str, text of the file.

    Returns:
        Path of the file.

    Raises:
        WriteError: as for `atomic`.
    """
    return write_bytes(path, content.encode())


def write_json(path: str | os.PathLike, value: object) -> Path:
    """Writes a value as indented JSON, atomically.

    Args:
        path: path of the file.
        value: object of dicts, lists, str, finite numbers, bools and None.

    Returns:
        Path of the file.

    Raises:
        ValueError: `value` contains NaN or infinity, which JSON cannot represent.
        WriteError: as for `atomic`.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file that kerastrain wrote.

    Args:
        path: path of the file.

    Returns:
        object of dicts, lists, str, numbers, bools and None.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"'{os.fspath(path)}' must hold JSON, as it was written. Received: a damaged file ({error}). Restore it from a copy, "
            "or make what it belongs to again."
        ) from error


def link(source: Path, target: Path) -> None:
    """Creates a hard link, or a copy where the file system has no hard links.

    If `source` is only ever replaced through `atomic`, `target` keeps the present content.

    Args:
        source: Path of a file.
        target: Path of the link, which does not exist, in an existing folder.

    Raises:
        FileNotFoundError: `source` or the folder of `target` does not exist.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def remove(path: str | os.PathLike) -> None:
    """Removes a file or folder atomically: other processes see all of it or none.

    Args:
        path: path of the file or folder.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        WriteError: the disk is read-only, or permission is missing.
    """
    path = Path(path)
    with surface_write_errors(path):
        scratch = _scratch(path)
        try:
            os.replace(path, scratch / path.name)
            _flush_entry(path.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def move(source: Path, target: Path) -> None:
    """Moves a complete file or folder to a free path of the same file system, by one system call.

    Args:
        source: Path of the file or folder, which is flushed to the disk first.
        target: Path at which nothing exists.

    Raises:
        WriteError: the disk is full or read-only, or permission is missing.
    """
    with surface_write_errors(target):
        _flush(source)
        os.replace(source, target)
        _flush_entry(target.parent)


def remove_leftovers(directory: Path) -> None:
    """Removes the temporary folders of `atomic` that killed processes left in a directory and below it.

    Must not run while another process writes there.

    Args:
        directory: Path of the directory.
    """
    for parent, names, _ in os.walk(directory):
        for name in [name for name in names if _LEFT_OVER.fullmatch(name)]:
            names.remove(name)
            shutil.rmtree(Path(parent, name), ignore_errors=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content.

    Args:
        path: Path of the file.

    Returns:
        str of 64 hexadecimal digits.
    """
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
        # A folder cannot be renamed over a folder with files, so the previous one is moved away first.
        os.replace(path, scratch / f"{path.name}.old")
    os.replace(temporary, path)


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges two paths by one system call; returns False if this system cannot."""
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
    """The function renameat2(2) of the C library, which Python does not offer; None if it has none."""
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
    """Creates the missing folders above `path`; after an error, removes those that are empty."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:  # The innermost comes first.
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def _named_after_target(path: Path, within: Path) -> Iterator[None]:
    """Reports errors in the temporary folder `within` under the final path."""
    try:
        yield
    except WriteError as error:
        if error.path.is_relative_to(within):
            raise WriteError(path, error.errno) from error
        raise


def _error_number(error: Exception, folder: Path) -> int | None:
    """The key of `_REASONS` for an error of writing a file in `folder`; None for another error."""
    if isinstance(error, OSError):
        number = error.errno
    elif type(error).__module__.startswith("tensorflow"):
        # TensorFlow reports the system's message, but not its number.
        number = next((code for code in _REASONS if os.strerror(code) in str(error)), None)
    else:
        return None
    if number in (errno.EACCES, errno.EPERM) and isinstance(error, OSError):
        # The block may also have read another file, which does not concern this one.
        return number if error.filename and Path(error.filename).is_relative_to(folder) else None
    return number if number in _REASONS else None
