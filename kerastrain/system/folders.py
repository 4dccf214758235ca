"""Folders that a command will write: free paths, permission and room, before the work begins.

Takes paths and sizes; returns paths. Must not create what it checks.
"""

import os
import shutil
import tempfile
from pathlib import Path

from kerastrain.errors import InputError


def refuse_existing(directory: str | Path) -> Path:
    """Checks that a path is free for a new folder, and that the folder can be made.

    Args:
        directory: str or Path.

    Returns:
        Path, `directory` itself.

    Raises:
        FileExistsError: a file or folder exists at the path or a file at one of its parents. For a stopped run, the
            message contains the command that resumes it.
        InputError: nothing can be written there.
    """
    directory = Path(directory)
    if (directory / "config.yaml").is_file() and not (directory / "finished.json").is_file():
        raise FileExistsError(
            f"{str(directory)!r} holds a run that has not finished. Resume it with `kerastrain train --resume {directory}`, "
            "or choose another name."
        )
    if blocking := next((parent for parent in directory.parents if parent.is_file()), None):
        raise FileExistsError(
            f"{str(directory)!r} cannot be created: {str(blocking)!r} is a file. Choose another folder."
        )
    if os.path.lexists(directory):
        raise FileExistsError(
            f"{str(directory)!r} exists already and is not overwritten. Choose another name, or remove it."
        )
    require_writable(directory)
    return directory


def require_writable(directory: str | Path) -> None:
    """Checks that a folder, or a new folder at its path, can be written.

    Args:
        directory: str or Path.

    Raises:
        InputError: a folder cannot be made there; the message has the reason.
    """
    parent = _existing(Path(directory))
    try:
        # Permission bits say nothing about read-only file systems, quotas and the superuser.
        os.rmdir(tempfile.mkdtemp(prefix=".kerastrain.", dir=parent))
    except OSError as error:
        raise InputError(
            f"{str(directory)!r} cannot be written: nothing can be made in {str(parent)!r} "
            f"({(error.strerror or str(error)).lower()}). Choose another folder."
        ) from None


def require_room(directory: str | Path, needed_bytes: int, *, writer: str, advice: str) -> None:
    """Checks that a disk has room.

    Args:
        directory: str or Path of a folder on the disk, which may not exist yet.
        needed_bytes: int >= 0, an estimate of what will be written, in bytes.
        writer: str, what writes it, such as "the run".
        advice: str, a sentence about what to do.

    Raises:
        InputError: less is free than needed; the message has both.
    """
    free_bytes = shutil.disk_usage(_existing(Path(directory))).free
    if needed_bytes > free_bytes:
        raise InputError(
            f"{writer} writes about {needed_bytes / 1e6:,.0f} MB to {str(directory)!r}, and its disk has "
            f"{free_bytes / 1e6:,.0f} MB free. {advice}"
        )


def _existing(path: Path) -> Path:
    """Returns the path, or the nearest of its parents that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())
