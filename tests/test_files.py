import json
import os
import subprocess
import sys

import pytest

from kerastrain import files


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


def test_atomic_replaces_a_folder_by_a_folder(tmp_path):
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
from kerastrain import files
with files.atomic(sys.argv[1]) as temporary:
    temporary.write_text("torn")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "good"
