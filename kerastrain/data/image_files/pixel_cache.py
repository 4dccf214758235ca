"""Decoded images that are kept once they have been asked for: in memory, in a file on disk, or not at all.

Takes a `Store`, gives a `Store` of the same pixels, so that an epoch after the first need not decode. Nothing is
decoded before it is asked for: a run that starts at a later step never opens what it skips. Must not know targets or
import TensorFlow.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import PIL

from kerastrain.data.image_files import decoder, row_file
from kerastrain.data.image_files.stores import ImageFiles, Store
from kerastrain.distribute import cluster
from kerastrain.errors import InputError, unknown
from kerastrain.system import user_folders
from kerastrain.system.resources import available_bytes

Place = Literal["auto", "memory", "disk", "none"]

_NOT_MET = -1


def cache(store: Store, place: Place = "auto", *, memory_fraction: float = 0.5) -> "CachedImages":
    """The images of `store`, each decoded once where there is room for its pixels.

    "auto" takes the memory if the pixels fit into `memory_fraction` of what is free, else the disk if they fit into half
    of what is free there, else decodes in every epoch. "memory" and "disk" take theirs if the pixels fit at all, and
    decode in every epoch if not. Workers of one training on one machine take equal shares of its memory, and one file.

    The file on disk lies in the user's cache folder, `$XDG_CACHE_HOME/kerastrain` or `~/.cache/kerastrain`; it serves
    every later run over the same files, and forgets an image when its file's size or time of change differs.

    Args:
        store: Store of uint8 images, before they are split: all parts, and other splits of it, share what is kept. Only
            `ImageFiles` are kept on disk, for they alone tell when an image changes.
        place: "auto", "memory", "disk" or "none".
        memory_fraction: float in [0, 1], the share of the free memory that the pixels may fill under "auto".

    Returns:
        CachedImages, whose `where` says in words what was chosen.

    Raises:
        InputError: `place` is unknown or `memory_fraction` out of range.
    """
    if place not in get_args(Place):
        raise InputError(unknown("`cache`", place, get_args(Place)))
    if not 0 <= memory_fraction <= 1:
        raise InputError(f"`memory_fraction` must lie in [0, 1]. Received: {memory_fraction}.")
    reasons = ["decoded in every epoch"]
    if place in ("auto", "memory"):
        room_bytes = int(available_bytes() * (memory_fraction if place == "auto" else 1)) // _workers_here()
        if math.prod(store.shape) <= room_bytes:
            return _kept(store, _MemoryRows(store.shape), "decoded once and kept in memory")
        reasons.append(f"more than the {_readable(room_bytes)} of memory that they may fill")
    if place in ("auto", "disk"):
        try:
            return _kept(store, *_on_disk(store))
        except (OSError, RuntimeError) as fault:  # No room, no home folder, or no right to write to it.
            reasons.append(f"not on disk ({fault.strerror if isinstance(fault, OSError) else fault})")
    return _kept(store, _NoRows(), ", ".join(reasons))


@dataclasses.dataclass(frozen=True)
class CachedImages:
    """Images, each decoded when it is first asked for and then kept where there is room; a `Store`.

    Args:
        store: Store that decodes them.
        kept: the rows of pixels, shared by all subsets.
        rows: int64 array (n,), where in `kept` each image of `store` stands.
        where: str, in words, how many they are, where their pixels are kept, and why.
    """

    store: Store
    kept: "_Rows"
    rows: np.ndarray
    where: str
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return self.store.shape

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for image, index in zip(images, indices, strict=True):
            if not self.kept.read(self.rows[index], image):
                image[...] = self.store[np.array([index])][0]
                self.kept.write(self.rows[index], image)
        return images

    def put(self, index: int, image: np.ndarray) -> None:
        """Keeps the decoded image at `index`, uint8 (height, width, 3), so that it need not be decoded again."""
        self.kept.write(self.rows[index], np.ascontiguousarray(image))

    def subset(self, indices: np.ndarray) -> "CachedImages":
        """The store of the images at `indices` alone, which keeps them at the same place."""
        return dataclasses.replace(self, store=self.store.subset(indices), rows=self.rows[indices])

    def content(self, index: int) -> bytes:
        """The image at `index` as the bytes of an image file."""
        return self.store.content(index)


class _Rows(Protocol):
    """Where the pixels of one image after the other are kept; any number of threads may read and write."""

    def read(self, row: int, out: np.ndarray) -> bool:
        """Fills `out`, a contiguous uint8 array; False, and `out` undefined, where the row is not there."""

    def write(self, row: int, image: np.ndarray) -> None:
        """Keeps a contiguous uint8 array, if it can."""


class _MemoryRows:
    """Rows in memory, which the system hands out only as they are written."""

    def __init__(self, shape: tuple[int, ...]):
        self._images = np.empty(shape, np.uint8)
        self._is_known = np.zeros(shape[0], bool)

    def read(self, row: int, out: np.ndarray) -> bool:
        if self._is_known[row]:
            out[...] = self._images[row]
        return bool(self._is_known[row])

    def write(self, row: int, image: np.ndarray) -> None:
        self._images[row] = image
        self._is_known[row] = True


class _DiskRows:
    """Rows in a file, sealed with the size and time of change that each image had when this process first met it."""

    def __init__(self, files: ImageFiles, path: Path):
        self._paths = files.paths
        self._file = row_file.RowFile(path, row_bytes=math.prod(files.shape[1:]))
        self._seeds = np.full(len(files), _NOT_MET)

    def read(self, row: int, out: np.ndarray) -> bool:
        seed = self._seed(row)
        return seed is not None and self._file.read(row, seed=seed, out=out)

    def write(self, row: int, image: np.ndarray) -> None:
        seed = self._seed(row)
        if seed is not None:
            self._file.write(row, seed=seed, content=image)

    def _seed(self, row: int) -> int | None:
        """None where the image is gone, which its decoding will tell."""
        if self._seeds[row] == _NOT_MET:
            with contextlib.suppress(OSError):
                met = os.stat(self._paths[row])
                self._seeds[row] = zlib.crc32(f"{met.st_size} {met.st_mtime_ns}".encode())
        return None if self._seeds[row] == _NOT_MET else int(self._seeds[row])


class _NoRows:
    """Nothing is kept."""

    def read(self, row: int, out: np.ndarray) -> bool:
        return False

    def write(self, row: int, image: np.ndarray) -> None:
        pass


def _on_disk(store: Store) -> tuple[_DiskRows, str]:
    if not isinstance(store, ImageFiles):
        raise RuntimeError("only files tell when an image changes")
    path = _path(store)
    row_file.make_room(path, row_file.size_bytes(len(store), row_bytes=math.prod(store.shape[1:])))
    return _DiskRows(store, path), f"decoded once and kept in '{path}'"


def _kept(store: Store, rows: _Rows, where: str) -> CachedImages:
    size = f"{len(store):,} images of {_readable(math.prod(store.shape))}"
    return CachedImages(store, rows, np.arange(len(store)), f"{size}, {where}")


def _workers_here() -> int:
    """How many workers of this training, each with all images, this machine has."""
    workers = cluster.from_environment()
    if workers is None:
        return 1
    hosts = [address.rpartition(":")[0] for address in workers.addresses]
    return hosts.count(hosts[workers.index])


def _readable(count_bytes: int) -> str:
    return f"{count_bytes / 2**20:,.1f} MiB"


def _path(files: ImageFiles) -> Path:
    """The same file for the same paths, image size and decoder, which its own source text tells from any other."""
    digest = hashlib.sha256(Path(decoder.__file__).read_bytes())
    for part in (PIL.__version__, files.image_size, *map(os.path.abspath, files.paths)):
        digest.update(f"{part}\n".encode(errors="surrogateescape"))
    return user_folders.cache_folder() / "pixels" / f"{digest.hexdigest()[:32]}{row_file.SUFFIX}"
