"""Unpacks untrusted archives so that they can neither fill the disk nor write outside their folder.

Takes the path of a tar file or of a zip file such as `.keras`; unpacks it or raises. Must not know the purpose of the
archive or import TensorFlow.

References: https://cwe.mitre.org/data/definitions/22.html (path traversal),
https://cwe.mitre.org/data/definitions/409.html (decompression bombs).
"""

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kerastrain.errors import InputError

MOST_FILES = 100_000
FREE_BYTES = 2**30
MOST_GROWTH = 20


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> Path:
    """Unpacks a tar archive into a new folder.

    Only regular files and folders are unpacked, with their names and contents, but without owner, mode and time. Links and
    devices are errors: `tarfile`'s own "data" filter allows links inside the archive, and our oldest Python versions lack
    it.

    Args:
        archive: path of a `.tar` file, or of a tar file compressed by gzip.
        folder: path of the folder to create.

    Returns:
        Path of the folder. After an error the caller must remove it.

    Raises:
        FileExistsError: `folder` exists.
        InputError: the archive is damaged or not a tar file; contains a link, a device or a path outside of it; or unpacks
            to more than `MOST_FILES` files, or to more than 1 GiB and 20 times its size.
        OSError: the folder cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:" if archive.suffix == ".tar" else "r:gz") as content:
            for member in _within_limits(archive, content, size=lambda member: member.size):
                if not (member.isfile() or member.isdir()):
                    raise InputError(
                        f"the archive '{archive}' may contain only files and folders. Received: {member.name!r}, a link "
                        "or a device. If you trust it, unpack it yourself and pass the folder."
                    )
                target = folder.joinpath(*_inner_path(archive, member.name).parts)
                (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
                if member.isfile():
                    with content.extractfile(member) as source, open(target, "wb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the archive '{archive}' cannot be unpacked: {error}. Download it again.") from error
    return folder


def check_zip(archive: str | os.PathLike) -> None:
    """Checks that a zip file, such as a `.keras` file, is safe to unpack.

    Args:
        archive: path of the file.

    Raises:
        InputError: the file is damaged or not a zip file; contains a path outside of it; or unpacks to more than
            `MOST_FILES` files, or to more than 1 GiB and 20 times its size.
    """
    archive = Path(archive)
    try:
        with zipfile.ZipFile(archive) as content:
            for member in _within_limits(archive, content.infolist(), size=lambda member: member.file_size):
                _inner_path(archive, member.filename)
    except zipfile.BadZipFile as error:
        raise InputError(
            f"'{archive}' is damaged or not a zip archive, which a .keras file must be: {error}."
        ) from error


def _within_limits(archive: Path, members: Iterable, *, size) -> Iterable:
    """Yields the `members` until together they are too many or too large."""
    largest = max(FREE_BYTES, MOST_GROWTH * archive.stat().st_size)
    total = 0
    for count, member in enumerate(members, start=1):
        total += size(member)
        if count > MOST_FILES or total > largest:
            limit = f"{MOST_FILES:,} files" if count > MOST_FILES else f"{largest / 1e9:,.1f} GB"
            raise InputError(
                f"the archive '{archive}' unpacks to more than {limit}, like a decompression bomb, and is not opened. If "
                "you trust it, unpack it yourself and pass the folder."
            )
        yield member


def _inner_path(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise InputError(
            f"the archive '{archive}' may contain only paths inside of it. Received: {name!r}, a path that leads outside. "
            "Do not use it."
        )
    return path
