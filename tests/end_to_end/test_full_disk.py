"""A disk that is full from a moment of a real run on, or from a byte of a file: one sentence, nothing lost, it goes on."""

import os
import shutil
import subprocess
import sys

import kills
import pytest


@pytest.mark.slow
@pytest.mark.multi_worker
@pytest.mark.parametrize(
    ("moments", "sizes", "least"),
    [
        pytest.param(1, [30_000], 2, id="few"),
        # A moment right before the end may find nothing more to make.
        pytest.param(6, [0, 100, 4_000, 30_000, 150_000], 9, id="many", marks=pytest.mark.chaos),
    ],
)
def test_a_disk_that_fills_up_at_any_moment_of_a_run_costs_nothing_that_was_there(
    tmp_path, monkeypatch, prepared, moments, sizes, least
):
    monkeypatch.setitem(os.environ, "TF_CPP_MIN_LOG_LEVEL", "3")
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    said = kills.fill(tmp_path, moments, sizes, seed=0)
    assert len(said) >= least
    for words in said:
        assert "the disk is full" in words or "larger than is allowed here" in words, words
        assert len(words.splitlines()) == 1


@pytest.mark.slow
def test_tensorboard_without_room_is_told_in_one_sentence(tmp_path):
    """The bytes of the writers' first and later records: they fail where they open, where they write and where they end."""
    script = """
import resource, sys
import keras, numpy as np
from kerastrain import callbacks
from kerastrain.system import files
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
data = np.zeros((8, 4)), np.zeros((8, 1))
for size in (0, 60, 100, 200):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    board = callbacks.standard(f"{sys.argv[1]}/{size}", progress=False)[-1]
    try:
        model.fit(*data, validation_data=data, epochs=2, verbose=0, callbacks=[board])
    except files.WriteError as error:
        print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(said) == 4
    for size, words in zip((0, 60, 100, 200), said, strict=True):
        assert words.startswith(f"cannot write '{tmp_path}/{size}/tensorboard/fit': the file would be larger than")


@pytest.mark.chaos
def test_a_disk_that_is_full_for_a_verb_on_a_finished_run_costs_nothing_that_was_there(tmp_path, monkeypatch, prepared):
    monkeypatch.setitem(os.environ, "TF_CPP_MIN_LOG_LEVEL", "3")
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    picture = next((tmp_path / "colours").rglob("*.png"))
    verbs = {
        ("report", "run"): [],
        ("evaluate", "run", "--data", f"more={tmp_path / 'colours'}"): [10_000],
        ("explain", "run", str(picture), "--replace"): [5_000],
        ("export", "run", "--format", "keras", "--format", "tflite_float32", "--replace"): [20_000],
        ("compress", "run", "prune.fraction=0.5", "prune.epochs=1"): [],
    }
    for arguments, sizes in verbs.items():
        said = kills.fill_verb(tmp_path, list(arguments), (0.4,), sizes)
        assert len(said) == 1 + len(sizes)
        for heard in said:
            *progress, words = heard.splitlines()
            assert not any("Traceback" in line or "cannot write" in line for line in progress), heard
            assert words.startswith("kerastrain: cannot write '"), words
            assert ".tmp" not in words
