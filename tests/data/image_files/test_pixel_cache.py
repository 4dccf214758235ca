import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kerastrain.data.image_files import pixel_cache, row_file
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.distribute.cluster import Cluster
from kerastrain.errors import InputError

COUNT, SIZE = 6, (4, 5)
IMAGE_BYTES = 4 * 5 * 3


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of cached pixels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kerastrain" / "pixels"


@pytest.fixture
def files(tmp_path):
    paths = tuple(str(tmp_path / f"{number}.bmp") for number in range(COUNT))
    for number, path in enumerate(paths):
        draw(path, number)
    return ImageFiles(paths, SIZE)


def draw(path, grey):
    """Writes an image of one grey value; all such files have the same size."""
    Image.new("RGB", (9, 9), (grey, grey, grey)).save(path)


def draw_unnoticed(path, grey):
    """Changes the pixels but neither size nor modification time, so that decoding again shows."""
    before = os.stat(path)
    draw(path, grey)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def greys(store, indices=range(COUNT)):
    images = store[np.array(indices)]
    assert (images.shape, images.dtype) == ((len(indices), *SIZE, 3), np.uint8)
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(("place", "later"), [("memory", 0), ("disk", 0), ("none", 100)])
def test_images_are_decoded_once_where_they_are_kept(files, place, later):
    store = pixel_cache.cache(files, place)
    assert (len(store), store.shape, store.dtype) == (COUNT, (COUNT, *SIZE, 3), np.uint8)
    assert greys(store) == [0, 1, 2, 3, 4, 5]
    for number, path in enumerate(files.paths):
        draw_unnoticed(path, 100 + number)
    assert greys(store, [5, 0, 5]) == [5 + later, later, 5 + later]


@pytest.mark.parametrize("place", ["memory", "disk", "none"])
def test_no_image_is_opened_before_it_is_asked_for(files, place):
    for path in files.paths[:4]:
        os.remove(path)
    assert greys(pixel_cache.cache(files, place), [5, 4]) == [5, 4]


@pytest.mark.parametrize("place", ["memory", "disk", "none"])
def test_subsets_share_what_is_kept(files, place):
    store = pixel_cache.cache(files, place)
    assert greys(store.subset(np.array([4, 2, 0])).subset(np.array([2, 1])), [1, 0]) == [2, 0]
    for path in files.paths:
        draw_unnoticed(path, 9)
    assert greys(store) == ([9] * 6 if place == "none" else [0, 9, 2, 9, 9, 9])


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_put_keeps_what_somebody_else_decoded(files, place):
    store = pixel_cache.cache(files, place)
    store.put(3, np.full((*SIZE, 3), 77, np.uint8))
    assert greys(store, [2, 3]) == [2, 77]


def test_later_runs_find_the_pixels_on_disk(files, folder):
    greys(pixel_cache.cache(files, "disk"), [0, 1, 2])
    for path in files.paths:
        draw_unnoticed(path, 9)
    assert greys(pixel_cache.cache(files, "disk")) == [0, 1, 2, 9, 9, 9]
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_a_changed_image_is_decoded_again_and_alone(files):
    greys(pixel_cache.cache(files, "disk"))
    for path in files.paths[1:]:
        draw_unnoticed(path, 9)
    draw(files.paths[0], 50)
    os.utime(files.paths[0], ns=(0, os.stat(files.paths[0]).st_mtime_ns + 1))
    for _ in range(2):
        assert greys(pixel_cache.cache(files, "disk")) == [50, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("other", ["size", "paths", "order"])
def test_other_sizes_and_files_have_files_of_their_own(files, folder, other):
    greys(pixel_cache.cache(files, "disk"))
    paths = {"size": files.paths, "paths": files.paths[:5], "order": files.paths[::-1]}[other]
    image_size = (5, 4) if other == "size" else SIZE
    store = pixel_cache.cache(ImageFiles(paths, image_size), "disk")
    assert store[np.arange(5)][:, 0, 0, 0].tolist() == [int(Path(path).stem) for path in paths[:5]]
    assert len(list(folder.iterdir())) == 2


def flip_one_bit(content):
    return content[:30] + bytes([content[30] ^ 1]) + content[31:]


@pytest.mark.parametrize(
    "damage",
    [
        flip_one_bit,
        lambda content: content[: IMAGE_BYTES + 20],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content[IMAGE_BYTES:] + content[:IMAGE_BYTES],
        lambda content: content * 2,
    ],
    ids=["bit", "cut", "empty", "zeros", "shifted", "longer"],
)
def test_a_damaged_file_gives_the_right_pixels_and_is_mended(files, folder, damage):
    greys(pixel_cache.cache(files, "disk"))
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert greys(pixel_cache.cache(files, "disk")) == [0, 1, 2, 3, 4, 5]
    assert file.read_bytes()[: len(whole)] == whole


def test_damage_during_a_run_is_noticed(files, folder):
    store = pixel_cache.cache(files, "disk")
    greys(store)
    (file,) = folder.iterdir()
    file.write_bytes(flip_one_bit(file.read_bytes()))
    assert greys(store) == [0, 1, 2, 3, 4, 5]
    os.truncate(file, 100)
    assert greys(store) == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_is_told_once_and_costs_nothing_but_time(files, folder, caplog):
    store = pixel_cache.cache(files, "disk")
    greys(store, [0, 1])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * IMAGE_BYTES, limits[1]))
    try:
        assert greys(store) == [0, 1, 2, 3, 4, 5]
        assert greys(store) == [0, 1, 2, 3, 4, 5]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (message,) = caplog.messages
    assert re.fullmatch(
        r"cannot write to the cache '.*' \(File too large\): it is removed, and images are decoded each time", message
    )
    assert not list(folder.iterdir())
    assert greys(pixel_cache.cache(files, "disk")) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_threads_that_read_and_write_at_once_agree(files, place):
    store = pixel_cache.cache(files, place)
    generator = np.random.default_rng(0)
    queries = [generator.integers(0, COUNT, 8) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda indices: greys(store, indices), queries)) == [list(indices) for indices in queries]


WRITER = """
import sys
import numpy as np
from kerastrain.data.image_files import pixel_cache
from kerastrain.data.image_files.stores import ImageFiles

seed, *paths = sys.argv[1:]
for round in range(20):
    store = pixel_cache.cache(ImageFiles(paths, (40, 50)), "disk")
    order = np.random.default_rng([int(seed), round]).permutation(len(paths))
    assert store[order][:, 0, 0, 0].tolist() == order.tolist()
"""


@pytest.mark.multi_worker
def test_processes_that_write_at_once_agree(tmp_path, folder):
    paths = [str(tmp_path / f"{number}.bmp") for number in range(40)]
    for number, path in enumerate(paths):
        draw(path, number)
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, seed, *paths]) for seed in ("1", "2", "3")]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    (file,) = folder.iterdir()
    assert file.stat().st_size == row_file.size_bytes(40, row_bytes=40 * 50 * 3)


@pytest.mark.parametrize(
    ("place", "memory_bytes", "disk_bytes", "where"),
    [
        ("auto", 2 * 360, 0, "6 images of 0.0 MiB, decoded once and cached in memory"),
        (
            "auto",
            2 * 360 - 1,
            2 * 408,
            "6 images of 0.0 MiB, decoded once and cached in '.*/kerastrain/pixels/.*.rows'",
        ),
        (
            "auto",
            2 * 360 - 1,
            2 * 408 - 1,
            "6 images of 0.0 MiB, decoded in every epoch, more than the 0.0 MiB of memory that the cache may fill, "
            r"not cached on disk \(the free half of the disk is too small\)",
        ),
        ("memory", 360, 0, "6 images of 0.0 MiB, decoded once and cached in memory"),
        ("memory", 359, 10**6, ".*, decoded in every epoch, more than the 0.0 MiB of memory that the cache may fill"),
        ("disk", 10**6, 2 * 408, ".*, decoded once and cached in '.*"),
        (
            "disk",
            10**6,
            2 * 408 - 1,
            r".*, decoded in every epoch, not cached on disk \(the free half of the disk is too small\)",
        ),
        ("none", 10**6, 10**6, "6 images of 0.0 MiB, decoded in every epoch"),
    ],
)
def test_place_follows_from_measured_sizes(files, monkeypatch, place, memory_bytes, disk_bytes, where):
    monkeypatch.setattr(pixel_cache, "available_bytes", lambda: memory_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, disk_bytes))
    store = pixel_cache.cache(files, place)
    assert re.fullmatch(where, store.where)
    assert greys(store) == greys(store) == [0, 1, 2, 3, 4, 5]


def test_workers_of_one_machine_share_its_memory(files, monkeypatch):
    workers = ["here:1", "there:1", "here:2", "there:2"]
    monkeypatch.setenv("TF_CONFIG", Cluster(tuple(workers), 2).tf_config())
    for free_bytes, is_cached in ((4 * 360, True), (4 * 360 - 1, False)):
        monkeypatch.setattr(pixel_cache, "available_bytes", lambda free_bytes=free_bytes: free_bytes)
        assert pixel_cache.cache(files).where.endswith("cached in memory") == is_cached


class Pictures:
    """A store of images in memory, not of files."""

    def __init__(self, images):
        self.images, self.shape, self.read = images, images.shape, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, indices):
        self.read += indices.tolist()
        return self.images[indices]


@pytest.mark.parametrize(
    ("place", "where", "read"),
    [
        ("auto", "once and cached in memory", 1),
        ("disk", "in every epoch, not cached on disk (changes can be detected only in image files)", 2),
    ],
)
def test_any_store_is_kept_in_memory(place, where, read):
    pictures = Pictures(np.arange(COUNT * IMAGE_BYTES, dtype=np.uint16).astype(np.uint8).reshape(COUNT, *SIZE, 3))
    store = pixel_cache.cache(pictures, place)
    assert store.where.endswith(f", decoded {where}")
    for _ in range(2):
        np.testing.assert_array_equal(store[np.array([4, 1])], pictures.images[[4, 1]])
    assert len(pictures.read) == 2 * read


def test_images_are_decoded_when_no_file_can_be_made(files, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    store = pixel_cache.cache(files, "disk")
    assert store.where.endswith(", decoded in every epoch, not cached on disk (Not a directory)")
    assert greys(store) == [0, 1, 2, 3, 4, 5]


def made(folder, name, *, count_bytes, days):
    path = folder / f"{name}.rows"
    path.write_bytes(bytes(range(256)) * (count_bytes // 256))
    opened = path.stat().st_mtime - days * 24 * 3600
    os.utime(path, (opened, opened))
    return path


@pytest.mark.parametrize(
    ("free_blocks", "needed_blocks", "has_room", "left"),
    [
        (100, 1, True, ["a", "b", "c"]),  # all may fill (100 + 15) / 2
        (100, 58, False, ["a", "b", "c", "old"]),
        (100, 55, True, ["a"]),
        (100, 50, True, ["a"]),
        (100, 45, True, ["a", "b", "c"]),
        (100, 48, True, ["a", "b"]),
        (0, 7, True, []),
        (0, 8, False, ["a", "b", "c", "old"]),
    ],
)
def test_room_is_made_by_removing_what_was_opened_longest_ago(
    tmp_path, monkeypatch, free_blocks, needed_blocks, has_room, left
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, free_blocks * 4096))
    for name, blocks, days in [("a", 2, 1), ("b", 6, 2), ("c", 4, 3), ("old", 3, 31)]:
        made(tmp_path, name, count_bytes=blocks * 4096, days=days)
    with contextlib.nullcontext() if has_room else pytest.raises(OSError, match="free half of the disk is too small"):
        row_file.make_room(tmp_path / "new.rows", needed_blocks * 4096)
    assert sorted(path.stem for path in tmp_path.iterdir()) == left


def test_a_removed_file_serves_the_run_that_has_it_open(files, folder):
    store = pixel_cache.cache(files, "disk")
    greys(store)
    (file,) = folder.iterdir()
    file.unlink()
    for path in files.paths:
        draw_unnoticed(path, 9)
    assert greys(store) == [0, 1, 2, 3, 4, 5]


def test_input_error_names_the_argument_and_what_it_may_be(files):
    with pytest.raises(InputError, match="unknown `cache` 'disc'. Known: auto, disk, memory, none. Did you mean"):
        pixel_cache.cache(files, "disc")
    with pytest.raises(InputError, match=r"`memory_fraction` must lie in \[0, 1\]. Received: 2"):
        pixel_cache.cache(files, memory_fraction=2)
