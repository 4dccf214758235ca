"""Archives from elsewhere, opened so that they can fill neither the disk nor any folder but their own.

Takes the path of a tar file or of a zip file such as `.keras`; unpacks, or refuses. Must not know what the archive is
for, and must not import TensorFlow.

References: https://cwe.mitre.org/data/definitions/22.html (path traversal),
https://cwe.mitre.org/data/definitions/409.html (bombs).
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
    """The files of a tar archive in a new folder.

    Plain files and folders come out, under their names, with neither owner, mode nor time. No link and no device is
    made: `tarfile`'s own "data" filter lets links inside the archive pass, and the older of our Pythons lack it.

    Args:
        archive: path of a `.tar` file, or of one under gzip.
        folder: path of the folder to make.

    Returns:
        Path of the folder; what it holds after an error is for the caller to remove.

    Raises:
        FileExistsError: something stands at `folder`.
        InputError: it is no whole tar file, holds a link, a device or a path that leads out of it, or unpacks to more
            than `MOST_FILES` files, or than 1 GiB and 20 times its own size.
        OSError: the folder cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:" if archive.suffix == ".tar" else "r:gz") as content:
            for member in _within_limits(archive, content, size=lambda member: member.size):
                if not (member.isfile() or member.isdir()):
                    raise InputError(
                        f"the archive '{archive}' must hold files and folders alone. Received: {member.name!r}, a link "
                        "or a device. If you trust it, unpack it yourself and give the folder."
                    )
                target = folder.joinpath(*_inner_path(archive, member.name).parts)
                (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
                if member.isfile():
                    with content.extractfile(member) as source, open(target, "wb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the archive '{archive}' cannot be unpacked: {error}. Fetch it anew.") from error
    return folder


def check_zip(archive: str | os.PathLike) -> None:
    """Refuses a zip file, such as a `.keras` file, that had better not be unpacked.

    Raises:
        InputError: it is no zip file, holds a path that leads out of it, or unpacks to more than `MOST_FILES` files,
            or than 1 GiB and 20 times its own size.
    """
    archive = Path(archive)
    try:
        with zipfile.ZipFile(archive) as content:
            for member in _within_limits(archive, content.infolist(), size=lambda member: member.file_size):
                _inner_path(archive, member.filename)
    except zipfile.BadZipFile as error:
        raise InputError(f"'{archive}' is no zip archive, as a .keras file is, or is damaged: {error}.") from error


def _within_limits(archive: Path, members: Iterable, *, size) -> Iterable:
    """The `members` one by one, until together they are too many or too large."""
    largest = max(FREE_BYTES, MOST_GROWTH * archive.stat().st_size)
    total = 0
    for count, member in enumerate(members, start=1):
        total += size(member)
        if count > MOST_FILES or total > largest:
            rule = f"{MOST_FILES:,} files" if count > MOST_FILES else f"{largest / 1e9:,.1f} GB"
            raise InputError(
                f"the archive '{archive}' unpacks to more than {rule}, as a bomb does, and is not opened. If you trust "
                "it, unpack it yourself and give the folder."
            )
        yield member


def _inner_path(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise InputError(
            f"the archive '{archive}' must keep to its own folder. Received: {name!r}, a path that leads out of it. Do "
            "not use it."
        )
    return path
