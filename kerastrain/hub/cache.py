"""Where tensorflow_hub keeps modules, and whether a copy is whole.

Programs that clean temporary folders delete old files one by one, so that a cached module may lack some. Takes folders;
returns what they lack. Must not download anything or import TensorFlow.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from kerastrain.hub.handles import GRAPH_FILES
from kerastrain.system import files, network

_SHARD = re.compile(r"^variables\.data-\d{5}-of-(\d{5})$")


def root() -> Path:
    """The folder of tensorflow_hub's downloads: TFHUB_CACHE_DIR, or a folder below the system's temporary one."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir(), "tfhub_modules")).expanduser()


def address(location: str) -> str:
    """The address of a module.

    Args:
        location: str, such as "hub:google/nnlm-en-dim50/2".

    Returns:
        str.

    Example:
        >>> address("hub:google/nnlm-en-dim50/2")
        'https://tfhub.dev/google/nnlm-en-dim50/2'
    """
    for prefix, server in (("hub:", "https://tfhub.dev/"), ("kaggle:", "https://www.kaggle.com/models/")):
        if location.startswith(prefix):
            return server + location.removeprefix(prefix)
    return location


def require(location: str) -> None:
    """Checks that a module is in the cache, or that the server with it answers.

    Args:
        location: str, an address that begins with http.

    Raises:
        ConnectionError: neither is so.
    """
    copy = root() / hashlib.sha1(location.encode()).hexdigest()
    server = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(location))
    is_there = copy.is_dir() and any(copy.iterdir()) and lacking(copy) is None
    if not is_there and not network.reachable(server):
        state = "incomplete in the cache. It" if copy.is_dir() and any(copy.iterdir()) else "not in the cache and"
        raise ConnectionError(
            f"the module {location!r} is {state} could not be downloaded: {server} does not answer. {route(copy)}"
        )


def route(copy: Path) -> str:
    """How a module is had without a network.

    Args:
        copy: Path of its folder in the cache.

    Returns:
        str, sentences.
    """
    return (
        f"Load it once on a machine with internet access and copy the folder {copy} here, or pass the path of a downloaded "
        "SavedModel. The environment variable TFHUB_CACHE_DIR moves the cache."
    )


def lacking(folder: Path, *, must_be_recorded: bool = False) -> str | None:
    """The first file that a cached SavedModel lacks.

    Args:
        folder: Path of an existing folder in a cache.
        must_be_recorded: bool, whether a copy without the list that `record` writes counts as incomplete, which costs
            little where it can be made again from a file on this machine.

    Returns:
        str, its name in the folder, or None if the copy is whole as far as that can be known: by the list that `record`
        wrote, else by the files that every SavedModel has.
    """
    recorded = _recorded(folder)
    for name, size in recorded.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            return name
    if recorded or must_be_recorded:
        return None if recorded else _list(folder).name
    if not any((folder / name).is_file() for name in GRAPH_FILES):
        return GRAPH_FILES[0]
    variables = folder / "variables"
    names = set(os.listdir(variables)) if variables.is_dir() else set()
    if "variables.index" not in names:
        # A TF1 module may have no variables.
        return None if (folder / "tfhub_module.pb").is_file() and not names else "variables/variables.index"
    counts = {int(match[1]) for name in names if (match := _SHARD.match(name))}
    count = max(counts, default=1)
    shards = [f"variables.data-{number:05d}-of-{count:05d}" for number in range(count)]
    return next((f"variables/{shard}" for shard in shards if shard not in names), None)


def record(folder: Path) -> None:
    """Writes the list of files of a module that has just been downloaded or unpacked, beside its folder.

    Args:
        folder: Path of the folder in the cache.
    """
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in _files(folder)}
    with contextlib.suppress(OSError):  # A cache that this user may only read.
        files.write_json(_list(folder), sizes)


@contextlib.contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Moves an incomplete copy out of the way while it is fetched again, and back if that fails.

    Args:
        folder: Path of the folder, which may not exist.

    Yields:
        None.
    """
    aside = folder.with_name(f"{folder.name}.incomplete")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
        _list(folder).unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def remove_stale_lock(folder: Path) -> None:
    """Removes the lock of a download whose process on this machine has ended; tensorflow_hub would wait ten minutes for it.

    Args:
        folder: Path of the module in tensorflow_hub's cache.
    """
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        host, process, _ = lock.read_text().rsplit(".", 2)
        if host == socket.gethostname():
            os.kill(int(process), 0)
    except ProcessLookupError:
        lock.unlink(missing_ok=True)
    except (OSError, ValueError):  # no lock, or the process belongs to another user
        return


def _recorded(folder: Path) -> dict[str, int]:
    try:
        return json.loads(_list(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _list(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.files.json")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
