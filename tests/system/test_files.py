import hashlib
import json
import os
import subprocess
import sys

import pytest

from kerastrain.errors import InputError
from kerastrain.system import files


def test_write_text_makes_parents_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    files.write_text(path, "one")
    files.write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert os.listdir(path.parent) == ["b.txt"]


def test_write_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []
    files.write_json(tmp_path / "a.json", {"loss": 0.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": 0.5}


def test_atomic_keeps_what_existed_when_the_block_raises(tmp_path):
    path = files.write_text(tmp_path / "model.keras", "good")
    with pytest.raises(RuntimeError, match="half way"), files.atomic(path) as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_text("torn")
        raise RuntimeError("half way")
    assert path.read_text() == "good"
    assert os.listdir(tmp_path) == ["model.keras"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_atomic_replaces_a_folder_by_a_folder(tmp_path, monkeypatch, exchanges):
    if not exchanges:  # As on systems without renameat2.
        monkeypatch.setattr(files, "_renameat2", lambda: None)
    for content in ("old", "new"):
        with files.atomic(tmp_path / "saved_model") as temporary:
            (temporary / "variables").mkdir(parents=True)
            (temporary / "variables" / "data").write_text(content)
    assert (tmp_path / "saved_model" / "variables" / "data").read_text() == "new"
    assert os.listdir(tmp_path) == ["saved_model"]


def test_atomic_keeps_the_old_file_when_the_process_is_killed_while_writing(tmp_path):
    path = files.write_text(tmp_path / "a.txt", "good")
    script = """
import os, signal, sys
from kerastrain.system import files
with files.atomic(sys.argv[1]) as temporary:
    temporary.write_text("torn")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "good"


def test_atomic_exchanges_folders_so_that_one_always_stands_there(tmp_path):
    path = tmp_path / "saved_model"
    script = """
import sys
from pathlib import Path
from kerastrain.system import files
for number in range(200):
    with files.atomic(sys.argv[1]) as temporary:
        temporary.mkdir()
        (temporary / "number").write_text(str(number))
"""
    with files.atomic(path) as temporary:
        temporary.mkdir()
        (temporary / "number").write_text("first")
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    seen = []
    while writer.poll() is None:
        seen.append(os.path.isdir(path))
    assert writer.returncode == 0
    assert all(seen)
    assert len(seen) > 200


def limited(tmp_path, script):
    """Runs `script` in a process whose files are limited to 100,000 bytes, and returns its output."""
    start = """
import resource, signal, sys
from pathlib import Path
from kerastrain.system import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path(sys.argv[1])
try:
    WRITE
except OSError as error:
    print(type(error).__qualname__, error)
"""
    command = [sys.executable, "-c", start.replace("WRITE", script), str(tmp_path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_file_that_has_no_room_is_told_in_one_sentence_and_costs_nothing(tmp_path):
    path = files.write_text(tmp_path / "model.keras", "good")
    output = limited(tmp_path, "files.write_bytes(folder / 'model.keras', bytes(200_000))")
    assert output == (
        f"WriteError cannot write '{path}': the file would be larger than is allowed here. The previous version is "
        "unchanged. Free some space or choose another folder, and start again.\n"
    )
    assert path.read_text() == "good"
    assert os.listdir(tmp_path) == ["model.keras"]


def test_a_folder_in_the_making_that_has_no_room_is_told_by_its_own_name(tmp_path):
    script = """
    with files.atomic(folder / "run") as temporary:
        files.write_bytes(temporary / "model.keras", bytes(200_000))
    """
    assert limited(tmp_path, script).startswith(f"WriteError cannot write '{tmp_path / 'run'}': ")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_tensorflow_and_hdf5_without_room_are_told_in_the_same_sentence(tmp_path):
    script = """
    import keras, tensorflow as tf
    for name in ("model.keras", "model.weights.h5", "saved_model"):
        model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(300)])
        save = {"model.keras": model.save, "saved_model": model.export}.get(name, model.save_weights)
        try:
            with files.atomic(folder / name) as temporary:
                save(temporary)
        except OSError as error:
            print(type(error).__qualname__, error)
    """
    errors = [line for line in limited(tmp_path, script.strip()).splitlines() if "Error" in line]
    assert len(errors) == 3
    assert all("the file would be larger than is allowed here" in line for line in errors)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_told_in_one_sentence(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(files.WriteError, match="cannot write '.*': permission is denied"):
        files.write_text(tmp_path / "locked" / "a.txt", "")


def test_an_error_that_has_nothing_to_do_with_writing_stays_as_it_is(tmp_path):
    with pytest.raises(PermissionError, match="no entry"), files.atomic(tmp_path / "a.txt"):
        raise PermissionError(13, "no entry", "/etc/shadow")
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()


def test_remove_and_sweep_leave_only_what_was_not_asked_for(tmp_path):
    files.write_text(tmp_path / "run" / "a.txt", "")
    files.write_text(tmp_path / "run" / "kept.tmp" / "b.txt", "")
    (tmp_path / "run" / "kept.tmp" / ".model.a1b2c3_4.tmp" / "half").mkdir(parents=True)
    (tmp_path / "run" / ".hidden").mkdir()
    files.remove(tmp_path / "run" / "a.txt")
    files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path / "run")) == [".hidden", "kept.tmp"]
    assert os.listdir(tmp_path / "run" / "kept.tmp") == ["b.txt"]


def test_a_linked_file_keeps_its_contents_when_the_first_is_replaced(tmp_path):
    path = files.write_text(tmp_path / "best.keras", "old")
    files.link(path, tmp_path / "second")
    files.write_text(path, "new")
    assert (tmp_path / "second").read_text() == "old"


def test_sha256_is_that_of_the_contents(tmp_path):
    path = files.write_bytes(tmp_path / "a", b"abc" * 1_000_000)
    assert files.sha256(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_a_damaged_json_file_is_named(tmp_path, content):
    path = files.write_json(tmp_path / "a.json", {"a": [1, "ü", None]})
    assert files.read_json(path) == {"a": [1, "ü", None]}
    path.write_bytes(content)
    with pytest.raises(InputError, match="a.json' must hold JSON, as it was written. Received: a damaged file"):
        files.read_json(path)
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "b.json")
