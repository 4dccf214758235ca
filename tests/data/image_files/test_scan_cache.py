import json
import os

import PIL.Image
import pytest

from kerastrain.data.image_files.pixel_ranges import Extent
from kerastrain.data.image_files.scan_cache import Finding, ScanCache
from kerastrain.decoding import Decoding

GOOD, BAD = Finding("00ff"), Finding(None, "empty", "the file is empty")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of cached scans."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kerastrain" / "scans"


@pytest.fixture
def paths(tmp_path):
    made = [str(tmp_path / "data" / name) for name in ("a.png", "b/c.png", os.fsdecode(b"caf\xe9\n.png"))]
    os.makedirs(tmp_path / "data" / "b")
    for path in made:
        with open(path, "w") as file:
            file.write(path.encode(errors="replace").decode())
    return made


def add(paths, *findings):
    cache = ScanCache(paths)
    for path, finding in zip(paths, findings, strict=True):
        cache.add(path, os.stat(path), finding)
    cache.write()


def test_findings_are_kept_until_a_file_changes(paths):
    add(paths, GOOD, BAD, GOOD)
    cache = ScanCache(paths)
    assert [cache.get(path, os.stat(path)) for path in paths] == [GOOD, BAD, GOOD]
    os.utime(paths[0], ns=(0, 0))
    with open(paths[1], "a") as file:
        file.write("more")
    assert [cache.get(path, os.stat(path)) for path in paths] == [None, None, GOOD]


def test_relative_paths_and_absolute_ones_are_the_same_files(paths, tmp_path, monkeypatch):
    add(paths, GOOD, BAD, GOOD)
    monkeypatch.chdir(tmp_path)
    assert ScanCache(["data/a.png", "data/b/c.png"]).get("data/a.png", os.stat(paths[0])) == GOOD


def test_findings_of_other_files_stay_when_new_ones_come(paths):
    add(paths, GOOD, BAD, GOOD)
    add([paths[0], paths[2]], BAD, BAD)
    cache = ScanCache(paths)
    assert [cache.get(path, os.stat(path)) for path in paths] == [BAD, BAD, BAD]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"version": "VERSION", "files": 3}',
        b'{"version": "VERSION", "files": {"/a.png": 1, "/b/c.png": [1, 2, 3, null, null, null]}}',
        b'{"version": "VERSION", "files": {"/a.png": ["SIZE", "TIME", "00", null, null, null]}}',
        b'{"version": "older", "files": {"/a.png": [SIZE, TIME, "00", null, null, null]}}',
        b"[" * 100_000,
        b'{"version": "VERSION", "files": {"/a.png": [SIZE, TIME, "00", null, null, [1]]}}',
    ],
)
def test_a_damaged_cache_is_as_if_it_were_not_there(paths, folder, content):
    add(paths, GOOD, BAD, GOOD)
    (file,) = folder.iterdir()
    version, status = json.loads(file.read_text())["version"], os.stat(paths[0])
    for mark, value in ((b"VERSION", version), (b"SIZE", status.st_size), (b"TIME", status.st_mtime_ns)):
        content = content.replace(mark, str(value).encode())
    file.write_bytes(content)
    assert ScanCache(paths).get(paths[0], status) is None
    add(paths, GOOD, BAD, GOOD)
    assert ScanCache(paths).get(paths[0], status) == GOOD


def test_another_decoder_reads_the_files_again(paths, monkeypatch):
    add(paths, GOOD, BAD, GOOD)
    monkeypatch.setattr(PIL, "__version__", "other")
    assert ScanCache(paths).get(paths[0], os.stat(paths[0])) is None


@pytest.mark.parametrize("decoding", [Decoding(largest_megapixels=1), Decoding(pixel_range=(0, 4095))])
def test_each_limit_has_results_of_its_own(paths, decoding):
    add(paths, GOOD, BAD, GOOD)
    assert ScanCache(paths, decoding).get(paths[0], os.stat(paths[0])) is None
    assert ScanCache(paths, Decoding(resize="pad")).get(paths[0], os.stat(paths[0])) == GOOD


def test_the_extent_of_the_pixels_is_stored(paths):
    deep = Finding("02", extent=Extent(0.0, 4012.0, True))
    add(paths, deep, BAD, GOOD)
    assert ScanCache(paths).get(paths[0], os.stat(paths[0])) == deep


def test_a_cache_that_cannot_be_written_costs_nothing(paths, folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder should be")
    add(paths, GOOD, BAD, GOOD)
    assert ScanCache(paths).get(paths[0], os.stat(paths[0])) is None
