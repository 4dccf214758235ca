"""Files that are either whole or not there: everything kerastrain writes goes through here.

Takes paths and contents; gives files that were written beside their place, flushed to the disk and then renamed, so
that a killed process never costs what existed. Must not import TensorFlow.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place when the block ends without an error.

    The block may make the neighbour a file or a folder. It keeps the suffix of `path`, because Keras chooses the
    format by it. When the block raises, the neighbour is removed and what stood at `path` is untouched.

    Args:
        path: path of the file or folder to write; its parent is made if it is missing.

    Yields:
        Path in the same parent folder, which does not exist yet.

    Raises:
        OSError: the parent cannot be written to, or the disk is full.

    Example:
        >>> with atomic(folder / "model.keras") as temporary:  # doctest: +SKIP
        ...     model.save(temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent))
    temporary = scratch / path.name
    try:
        yield temporary
        _flush(temporary)
        if path.is_dir():
            # A folder cannot be renamed over a folder that holds files: the old one steps aside first.
            os.replace(path, scratch / f"{path.name}.old")
        os.replace(temporary, path)
        _flush_entry(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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


def _flush(path: Path) -> None:
    if path.is_dir():
        for child in path.rglob("*"):
            if not child.is_dir():
                _flush_entry(child)
    _flush_entry(path)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
