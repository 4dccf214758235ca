"""Stores the results of scans: a file whose size and modification time are unchanged is not read again.

Takes paths and results, returns results. A cache that is missing, damaged, of another version, or that cannot be written
costs time, and nothing fails. Must not read images.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from kerastrain.data.image_files import decoder, file_signatures, pictures, pixel_ranges
from kerastrain.data.image_files.pixel_ranges import Extent
from kerastrain.decoding import Decoding
from kerastrain.system import files, user_folders


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of reading a file.

    Args:
        digest: str, the SHA-256 of its bytes in hexadecimal; None if the file cannot be used.
        kind: str, a key of `quarantine.KINDS`; None if the file can be used.
        reason: str, why it cannot be used, as in `Quarantined`; None if it can.
        extent: Extent of its pixels if it can be used and has more than 8 bits; else None.
    """

    digest: str | None
    kind: str | None = None
    reason: str | None = None
    extent: Extent | None = None


class ScanCache:
    """The results of earlier scans of the files in one folder, stored in `scans` in the user's cache folder.

    Args:
        paths: at least one path of a file; the cache belongs to the deepest folder that contains all of them.
        decoding: Decoding, whose limits decide which files can be used.
    """

    def __init__(self, paths: Sequence[str], decoding: Decoding | None = None):
        decoding = decoding or Decoding()
        self._root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
        self._limits = f"{decoding.largest_megapixels} {decoding.pixel_range}"
        self._rows, self._is_new = _read(self._path()), False

    def get(self, path: str, status: os.stat_result) -> Finding | None:
        """Looks up a file.

        Args:
            path: path of the file.
            status: os.stat_result of the file now.

        Returns:
            Finding; None for a file that is new or has changed since.
        """
        size, time, *finding = self._rows.get(self._key(path), (None, None))
        if (size, time) != (status.st_size, status.st_mtime_ns):
            return None
        *known, extent = finding
        return Finding(*known, extent and Extent(*extent))

    def add(self, path: str, status: os.stat_result, finding: Finding) -> None:
        """Adds a result to those stored already, for `write`.

        Args:
            path: path of the file.
            status: os.stat_result of the file from before it was read.
            finding: Finding.
        """
        self._rows[self._key(path)] = [status.st_size, status.st_mtime_ns, *astuple(finding)]
        self._is_new = True

    def write(self) -> None:
        """Writes the file with all results, whole or not at all, if any was added."""
        if not self._is_new:
            return
        with contextlib.suppress(OSError, RuntimeError):  # No home folder, no space, or no permission to write.
            files.write_text(self._path(), json.dumps({"version": _version(), "files": self._rows}))

    def _key(self, path: str) -> str:
        return os.path.abspath(path)[len(self._root) :]

    def _path(self) -> Path:
        name = hashlib.sha256(os.fsencode(self._root) + self._limits.encode()).hexdigest()[:32]
        return user_folders.cache_folder() / "scans" / f"{name}.json"


def _version() -> str:
    """Changes with the libraries that decode, and with the source text of the modules that read images."""
    modules = (decoder, file_signatures, pictures, pixel_ranges)
    parts = [pictures.versions(), *(Path(module.__file__).read_text(encoding="utf-8") for module in modules)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _read(path: Path) -> dict[str, list]:
    try:
        content = json.loads(path.read_bytes())
        rows = content["files"] if content["version"] == _version() else {}
        return {key: row for key, row in rows.items() if _is_row(row)}
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _is_row(row: object) -> bool:
    if not isinstance(row, list) or len(row) != 6:
        return False
    size, time, digest, kind, reason, extent = row
    is_good = isinstance(digest, str) and kind is None and reason is None
    is_bad = digest is None and isinstance(kind, str) and isinstance(reason, str)
    has_extent = extent is None or (isinstance(extent, list) and len(extent) == 3)
    return isinstance(size, int) and isinstance(time, int) and (is_good or is_bad) and has_extent
