import os
import shutil
import socket
import sys
import tarfile
import types

import pytest
import tensorflow as tf

from kerastrain import testing
from kerastrain.errors import InputError
from kerastrain.hub import cache, modules, operations
from kerastrain.system import isolated_imports
from kerastrain.system.optional_imports import MissingExtra


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return testing.saved_model(tmp_path_factory.mktemp("modules") / "images", features=4)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_each_file_of_a_saved_model_is_missed(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert cache.lacking(copy) is None
    (copy / name).unlink()
    assert cache.lacking(copy) == name


def test_a_shortened_file_and_an_asset_are_missed_where_the_files_were_recorded(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets" / "words.txt").write_text("words")
    cache.record(copy)
    assert cache.lacking(copy) is None
    (copy / "assets" / "words.txt").write_text("word")
    assert cache.lacking(copy) == "assets/words.txt"
    (copy / "assets" / "words.txt").unlink()
    assert cache.lacking(copy) == "assets/words.txt"


def test_an_archive_whose_unpacked_copy_was_half_deleted_is_unpacked_again(folder, tmp_path, cache_folder):
    with tarfile.open(tmp_path / "module.tar.gz", "w:gz") as archive:
        archive.add(folder, "publisher/module/1")
    unpacked = modules.resolve(tmp_path / "module.tar.gz")
    assert modules.fingerprint(unpacked) == modules.fingerprint(folder)
    (unpacked / "variables" / "variables.index").unlink()
    assert modules.fingerprint(modules.resolve(tmp_path / "module.tar.gz")) == modules.fingerprint(folder)


def test_a_download_that_was_half_deleted_is_fetched_again_or_named(folder, tmp_path, cache_folder, monkeypatch):
    address, fetched = "https://tfhub.dev/some/module/1", []
    cached = cache_folder / "1234"
    monkeypatch.setattr(modules.hashlib, "sha1", lambda _: types.SimpleNamespace(hexdigest=lambda: "1234"))

    def resolve(location):
        fetched.append(location)
        return str(shutil.copytree(folder, cached))

    hub = isolated_imports.tensorflow_hub()
    monkeypatch.setattr(hub, "resolve", resolve)
    for _ in range(2):
        assert modules.resolve(address) == cached
    (cached / "saved_model.pb").unlink()
    assert modules.resolve(address) == cached
    assert fetched == [address] * 2
    assert modules.fingerprint(cached) == modules.fingerprint(folder)

    def fail(location):
        raise OSError("no network")

    monkeypatch.setattr(hub, "resolve", fail)
    assert modules.resolve(address) == cached
    shutil.rmtree(cached / "variables")
    with pytest.raises(ConnectionError, match=rf"is incomplete in the cache: {cached} lacks variables/variables.data.* It "
                       "could not be downloaded: no network."):  # fmt: skip
        modules.resolve(address)
    assert (cached / "saved_model.pb").is_file()  # What is left stays.


def test_the_lock_of_a_download_that_was_killed_is_removed(tmp_path):
    lock = tmp_path / "1234.lock"
    lock.write_text(f"{socket.gethostname()}.{os.getpid()}.a1")
    cache.remove_stale_lock(tmp_path / "1234")
    assert lock.exists()
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    lock.write_text(f"{socket.gethostname()}.{child}.a1")
    cache.remove_stale_lock(tmp_path / "1234")
    assert not lock.exists()
    lock.write_text(f"another.host.{child}.a1")
    cache.remove_stale_lock(tmp_path / "1234")
    assert lock.exists()


def unregistered(folder, path):
    """A module whose graph has an operation of tensorflow_text; the bytes of its name are changed in the file."""
    copy = shutil.copytree(folder, path)
    graph = (copy / "saved_model.pb").read_bytes()
    assert b"FusedBatchNorm" in graph or b"Conv2D" in graph
    (copy / "saved_model.pb").write_bytes(graph.replace(b"Conv2D", b"Conv9D"))
    return copy


def test_a_module_with_operations_of_tensorflow_text_names_the_extra(folder, tmp_path, monkeypatch):
    module = unregistered(folder, tmp_path / "module")
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(MissingExtra) as caught:
        modules.load(module)
    assert str(caught.value).startswith(
        f"to load the module at '{module}', whose operation Conv9D is not TensorFlow's own and mostly tensorflow_text's, "
        "kerastrain needs tensorflow_text. Install it: pip install 'kerastrain[text]'."
    )
    monkeypatch.setitem(sys.modules, "tensorflow_text", types.ModuleType("tensorflow_text"))
    with pytest.raises(
        InputError, match="needs the operation Conv9D, which neither TensorFlow .* nor tensorflow_text has"
    ):
        modules.load(module)


def test_other_errors_of_loading_pass(tmp_path):
    def fail():
        raise tf.errors.NotFoundError(None, None, "no such file")

    with pytest.raises(tf.errors.NotFoundError, match="no such file"):
        operations.load(fail, "module")
