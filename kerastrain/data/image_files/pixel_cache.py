"""Caches decoded images the first time they are used: in memory, in a file on disk, or not at all.

Takes a `Store`, returns a `Store` of the same pixels, so that epochs after the first need not decode. Nothing is decoded
before it is used: a run that starts at a later step never opens the files that it skips. Must not know targets or import
TensorFlow.
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

from kerastrain.data.image_files import decoder, pictures, pixel_ranges, resizing, row_file
from kerastrain.data.image_files.stores import ImageFiles, Store
from kerastrain.decoding import Decoding
from kerastrain.distribute import cluster
from kerastrain.errors import InputError, unknown
from kerastrain.system import user_folders
from kerastrain.system.resources import available_bytes

Place = Literal["auto", "memory", "disk", "none"]

_UNKNOWN = -1


def cache(store: Store, place: Place = "auto", *, memory_fraction: float = 0.5) -> "CachedImages":
    """Wraps a store so that each image is decoded once, if there is room for its pixels.

    "auto" uses the memory if the pixels fit into `memory_fraction` of the free memory, else the disk if they fit into half
    of its free space, else it decodes in every epoch. "memory" and "disk" use theirs if the pixels fit at all, and decode
    in every epoch if not. The workers of one training on one machine use equal shares of its memory, and one file.

    The file on disk is in `pixels` in the user's cache folder, on Linux `$XDG_CACHE_HOME/kerastrain` or
    `~/.cache/kerastrain`. Every later run over the same files uses it; an image whose file has another size or
    modification time is decoded again.

    Args:
        store: Store of uint8 images, before they are split: all parts, and other splits of it, share the cached pixels.
            Only `ImageFiles` are cached on disk, because a change of an image can be detected only by its file.
        place: "auto", "memory", "disk" or "none".
        memory_fraction: float in [0, 1], the fraction of the free memory that the pixels may fill under "auto".

    Returns:
        CachedImages, whose `where` describes the choice.

    Raises:
        InputError: `place` is unknown or `memory_fraction` outside [0, 1].
    """
    if place not in get_args(Place):
        raise InputError(unknown("`cache`", place, get_args(Place)))
    if not 0 <= memory_fraction <= 1:
        raise InputError(f"`memory_fraction` must lie in [0, 1]. Received: {memory_fraction}.")
    reasons = ["decoded in every epoch"]
    if place in ("auto", "memory"):
        room_bytes = int(available_bytes() * (memory_fraction if place == "auto" else 1)) // _workers_here()
        if math.prod(store.shape) <= room_bytes:
            return _cached(store, _MemoryRows(store.shape), "decoded once and cached in memory")
        reasons.append(f"more than the {_mebibytes(room_bytes)} of memory that the cache may fill")
    if place in ("auto", "disk"):
        try:
            return _cached(store, *_on_disk(store))
        except (OSError, RuntimeError) as error:  # No space, no home folder, or no permission to write to it.
            reasons.append(f"not cached on disk ({error.strerror if isinstance(error, OSError) else error})")
    return _cached(store, _NoRows(), ", ".join(reasons))


@dataclasses.dataclass(frozen=True)
class CachedImages:
    """Images that are decoded when they are first used, and cached if there is room; a `Store`.

    Args:
        store: Store that decodes them.
        cached: the rows of pixels, shared by all subsets.
        rows: int64 array (n,), the row in `cached` of each image of `store`.
        where: str, description of the number of images, where their pixels are cached, and why.
    """

    store: Store
    cached: "_Rows"
    rows: np.ndarray
    where: str
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return self.store.shape

    @property
    def decoding(self) -> Decoding:
        """How the images are decoded."""
        return self.store.decoding

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for image, index in zip(images, indices, strict=True):
            if not self.cached.read(self.rows[index], image):
                image[...] = self.store[np.array([index])][0]
                self.cached.write(self.rows[index], image)
        return images

    @property
    def is_cached(self) -> bool:
        """Whether an image is kept after it was decoded."""
        return not isinstance(self.cached, _NoRows)

    def put(self, index: int, image: np.ndarray) -> None:
        """Caches an image that was decoded elsewhere.

        Args:
            index: int in [0, n).
            image: uint8 array (height, width, 3) in [0, 255].
        """
        self.cached.write(self.rows[index], np.ascontiguousarray(image))

    def subset(self, indices: np.ndarray) -> "CachedImages":
        """Selects images, which share the cache.

        Args:
            indices: int array (m,) in [0, n).

        Returns:
            CachedImages of m images.
        """
        return dataclasses.replace(self, store=self.store.subset(indices), rows=self.rows[indices])

    def content(self, index: int) -> bytes:
        """An image before it is decoded.

        Args:
            index: int in [0, n).

        Returns:
            bytes of an image file.
        """
        return self.store.content(index)


class _Rows(Protocol):
    """Storage for the pixels of images; any number of threads may read and write."""

    def read(self, row: int, out: np.ndarray) -> bool:
        """Reads into `out`, a contiguous uint8 array; returns False, and leaves `out` undefined, if the row is missing."""

    def write(self, row: int, image: np.ndarray) -> None:
        """Stores a contiguous uint8 array, if possible."""


class _MemoryRows:
    """Rows in memory, which the system allocates only as they are written."""

    def __init__(self, shape: tuple[int, ...]):
        self._images = np.empty(shape, np.uint8)
        self._is_written = np.zeros(shape[0], bool)

    def read(self, row: int, out: np.ndarray) -> bool:
        if self._is_written[row]:
            out[...] = self._images[row]
        return bool(self._is_written[row])

    def write(self, row: int, image: np.ndarray) -> None:
        self._images[row] = image
        self._is_written[row] = True


class _DiskRows:
    """Rows in a file; the seed of a row is the size and modification time of the image when this process first uses it."""

    def __init__(self, files: ImageFiles, path: Path):
        self._paths = files.paths
        self._file = row_file.RowFile(path, row_bytes=math.prod(files.shape[1:]))
        self._seeds = np.full(len(files), _UNKNOWN)

    def read(self, row: int, out: np.ndarray) -> bool:
        seed = self._seed(row)
        return seed is not None and self._file.read(row, seed=seed, out=out)

    def write(self, row: int, image: np.ndarray) -> None:
        seed = self._seed(row)
        if seed is not None:
            self._file.write(row, seed=seed, content=image)

    def _seed(self, row: int) -> int | None:
        """The seed of a row; None if the image file is missing, which decoding it will report."""
        if self._seeds[row] == _UNKNOWN:
            with contextlib.suppress(OSError):
                status = os.stat(self._paths[row])
                self._seeds[row] = zlib.crc32(f"{status.st_size} {status.st_mtime_ns}".encode())
        return None if self._seeds[row] == _UNKNOWN else int(self._seeds[row])


class _NoRows:
    """Caches nothing."""

    def read(self, row: int, out: np.ndarray) -> bool:
        return False

    def write(self, row: int, image: np.ndarray) -> None:
        pass


def _on_disk(store: Store) -> tuple[_DiskRows, str]:
    if not isinstance(store, ImageFiles):
        raise RuntimeError("changes can be detected only in image files")
    path = _path(store)
    row_file.make_room(path, row_file.size_bytes(len(store), row_bytes=math.prod(store.shape[1:])))
    return _DiskRows(store, path), f"decoded once and cached in '{path}'"


def _cached(store: Store, rows: _Rows, where: str) -> CachedImages:
    size = f"{len(store):,} images of {_mebibytes(math.prod(store.shape))}"
    return CachedImages(store, rows, np.arange(len(store)), f"{size}, {where}")


def _workers_here() -> int:
    """Number of workers of this training on this machine, each of which has all images."""
    workers = cluster.from_environment()
    if workers is None:
        return 1
    hosts = [address.rpartition(":")[0] for address in workers.addresses]
    return hosts.count(hosts[workers.index])


def _mebibytes(count_bytes: int) -> str:
    return f"{count_bytes / 2**20:,.1f} MiB"


def _path(files: ImageFiles) -> Path:
    """Path of the cache of these files, decoded in this way by this source text and these versions of libraries."""
    sources = [Path(module.__file__).read_bytes() for module in (decoder, pictures, pixel_ranges, resizing)]
    digest = hashlib.sha256(b"\0".join(sources))
    for part in (pictures.versions(), files.image_size, files.decoding, *map(os.path.abspath, files.paths)):
        digest.update(f"{part}\n".encode(errors="surrogateescape"))
    return user_folders.cache_folder() / "pixels" / f"{digest.hexdigest()[:32]}{row_file.SUFFIX}"
