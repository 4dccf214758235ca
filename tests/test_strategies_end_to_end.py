"""`kerastrain train` on two devices and in two processes, from the command line: the weights of one device."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from kerastrain import testing

pytestmark = [pytest.mark.slow, pytest.mark.multi_worker]
TOLERANCE = 1e-6
# Without dropout, whose masks differ between devices by design; 24 examples in batches of 7 leave an uneven one.
TRAIN = [
    "train",
    "data.path=colours",
    "data.validation_fraction=0.3",
    "model.backbone=module",
    "model.dropout=0",
    "model.hidden_units=[4]",
    "model.batch_norm=true",
    "fit.head_epochs=2",
    "fit.epochs=2",
    "fit.global_batch_size=7",
    "fit.checkpoint_every=2 steps",
    "optimizer.global_clip_norm=0.5",
    "optimizer.ema_momentum=0.9",
    "export.formats=[tflite_float32]",
    "export.samples=8",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    testing.saved_model(place / "module", image_size=(32, 32))
    testing.colour_folder(place / "colours", count=13)
    assert kerastrain(place, *TRAIN, "--run", "alone").returncode == 0
    return place


def started(place, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "XDG_STATE_HOME": str(place / "state")}
    command = [sys.executable, "-m", "kerastrain", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def kerastrain(place, *arguments):
    process = started(place, *arguments)
    words, _ = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, words)


def weights(run):
    found = {}
    with (
        zipfile.ZipFile(run / "model.keras") as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
    ):
        file.visititems(lambda name, one: found.update({name: one[()]}) if isinstance(one, h5py.Dataset) else None)
    return found


def history(run):
    with (run / "history.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if k not in ("phase", "seconds")} for row in csv.DictReader(file)]


def assert_equal(run, alone, tolerance):
    one, other = weights(alone), weights(run)
    assert one.keys() == other.keys()
    assert max(np.abs(one[name].astype("float64") - other[name]).max() for name in one) <= tolerance
    for before, after in zip(history(alone), history(run), strict=True):
        assert after == pytest.approx(before, abs=max(tolerance, 1e-12), rel=tolerance)
    measures = [json.loads((folder / "metrics.json").read_text())["validation"]["accuracy"] for folder in (alone, run)]
    assert measures[0] == measures[1]


def test_two_mirrored_devices_end_with_the_weights_of_one(place):
    done = kerastrain(place, *TRAIN, "runtime.strategy=mirrored", "runtime.devices=2", "--run", "mirrored")
    assert done.returncode == 0, done.stdout
    assert_equal(place / "mirrored", place / "alone", TOLERANCE)


def test_two_processes_end_with_the_weights_of_one_and_the_chief_alone_speaks_and_writes(place):
    done = kerastrain(place, "launch", "--workers", 2, *TRAIN, "--run", "processes")
    assert done.returncode == 0, done.stdout
    assert_equal(place / "processes", place / "alone", TOLERANCE)
    assert not any(line.startswith("[1]") and "epoch" in line and "loss" in line for line in done.stdout.splitlines())
    assert {path.name for path in (place / "processes").iterdir()} == {
        path.name for path in (place / "alone").iterdir()
    }


def _pids(process):
    """The worker processes that a launcher has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def _checkpoints(run):
    return len(list((run / "checkpoints" / "resume").glob("[0-9]*/manifest.json")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_ended_costs_nothing(place, number):
    """Killed, or told to stop by its cluster: all start again from the last saved state, bit for bit."""
    whole = place / "whole"
    if not whole.exists():
        assert kerastrain(place, "launch", "--workers", 2, *TRAIN, "fit.epochs=6", "--run", whole).returncode == 0
    run = place / f"ended_by_{number}"
    process = started(place, "launch", "--workers", 2, *TRAIN, "fit.epochs=6", "--run", run)
    deadline = time.monotonic() + 120
    while _checkpoints(run) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(_pids(process)[1], number)
    words, _ = process.communicate(timeout=300)
    assert process.returncode == 0, words
    assert "restart 1 of 3" in words
    assert_equal(run, whole, 0.0)


def test_a_launcher_that_is_told_to_stop_saves_and_says_that_it_can_be_resumed(place):
    run = place / "stopped"
    process = started(place, "launch", "--workers", 2, *TRAIN, "fit.epochs=30", "--run", run)
    deadline = time.monotonic() + 120
    while _checkpoints(run) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    words, _ = process.communicate(timeout=120)
    assert process.returncode == 75, words
    assert "Traceback" not in words
    assert (run / "config.yaml").is_file()
    assert not (run / "finished.json").exists()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ("{", "TF_CONFIG must be JSON"),
        ('{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 7}}', "index 7"),
    ],
)
def test_a_wrong_cluster_is_one_sentence(place, monkeypatch, environment, sentence):
    monkeypatch.setenv("TF_CONFIG", environment)
    command = [sys.executable, "-m", "kerastrain", *TRAIN, "--resume", "wrong"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (place / "wrong").exists()
