"""What scans found, kept for later runs: a file whose size and time of change are the same is not read again.

Takes paths and findings, gives findings. A cache that is missing, damaged, of another version or impossible to write
costs time and nothing else. Must not read images.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import PIL
import PIL.Image

from kerastrain.data.image_files import decoder, file_signatures
from kerastrain.system import files, user_folders


@dataclass(frozen=True)
class Finding:
    """What reading a file showed.

    Args:
        digest: str, the SHA-256 of its bytes in hexadecimal, where it can be used; else None.
        kind: str, a key of `quarantine.KINDS`, where it cannot be used; else None.
        reason: str, why not; else None.
    """

    digest: str | None
    kind: str | None = None
    reason: str | None = None


class ScanCache:
    """The findings of earlier scans of files in one folder, in `$XDG_CACHE_HOME/kerastrain/scans` or `~/.cache/…`.

    Args:
        paths: at least one path of a file; the cache is that of the lowest folder that holds them all.

    Reference: https://specifications.freedesktop.org/basedir-spec/
    """

    def __init__(self, paths: Sequence[str]):
        self._root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
        self._known = _read(self._path())

    def get(self, path: str, status: os.stat_result) -> Finding | None:
        """The finding on the file at `path`, if it has not changed since."""
        size, time, *finding = self._known.get(self._key(path), (None, None))
        return Finding(*finding) if (size, time) == (status.st_size, status.st_mtime_ns) else None

    def add(self, findings: Mapping[str, tuple[os.stat_result, Finding]]) -> None:
        """Keeps new findings, by path, beside those that are there; the file is written whole or not at all."""
        for path, (status, finding) in findings.items():
            self._known[self._key(path)] = [status.st_size, status.st_mtime_ns, *astuple(finding)]
        with contextlib.suppress(OSError, RuntimeError):  # No home folder, no room, or no right to write to it.
            files.write_text(self._path(), json.dumps({"version": _version(), "files": self._known}))

    def _key(self, path: str) -> str:
        return os.path.abspath(path)[len(self._root) :]

    def _path(self) -> Path:
        name = hashlib.sha256(os.fsencode(self._root)).hexdigest()[:32]
        return user_folders.cache_folder() / "scans" / f"{name}.json"


def _version() -> str:
    """Another one for another Pillow, another limit of it, and another text of what reads the images."""
    texts = [Path(module.__file__).read_text(encoding="utf-8") for module in (decoder, file_signatures)]
    parts = [PIL.__version__, str(PIL.Image.MAX_IMAGE_PIXELS), *texts]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _read(path: Path) -> dict[str, list]:
    try:
        content = json.loads(path.read_bytes())
        known = content["files"] if content["version"] == _version() else {}
        return {key: row for key, row in known.items() if _is_row(row)}
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _is_row(row: object) -> bool:
    if not isinstance(row, list) or len(row) != 5:
        return False
    size, time, digest, kind, reason = row
    is_good = isinstance(digest, str) and kind is None and reason is None
    is_bad = digest is None and isinstance(kind, str) and isinstance(reason, str)
    return isinstance(size, int) and isinstance(time, int) and (is_good or is_bad)
