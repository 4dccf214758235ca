"""`kerastrain train` on two devices and in two processes, from the command line: the weights of one device."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import processes
import pytest
import sharing

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
    "evaluation.batch_size=4",  # several batches of features and of validation
    "fit.checkpoint_every=2 steps",
    "optimizer.global_clip_norm=0.5",
    "optimizer.ema_momentum=0.9",
    "export.formats=[tflite_float32]",
    "export.samples=8",
]
LONGER = [*TRAIN, "fit.epochs=16"]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with data, a backbone and the run `alone` of one device; each test adds runs of other names."""

    def make(place):
        testing.saved_model(place / "module", image_size=(32, 32), l2=1e-2)  # with penalties, as published modules have
        testing.colour_folder(place / "colours", count=13)
        processes.kerastrain(place, *TRAIN, "--run", "alone")

    return sharing.once(tmp_path_factory, "strategies", make)


@pytest.fixture(scope="session")
def pair(place, tmp_path_factory):
    """What a run of two workers, in the folder `pair`, prints."""

    def make(folder):
        (folder / "words").write_text(launched(place, *TRAIN, "--run", "pair"))

    return (sharing.once(tmp_path_factory, "strategies_pair", make) / "words").read_text()


@pytest.fixture(scope="module")
def longer_pair(place):
    """What a longer run of two workers, in the folder `longer_pair`, prints."""
    return launched(place, *LONGER, "--run", "longer_pair")


# The run of two workers that nothing disturbs, by its fixture and folder, and its arguments.
UNDISTURBED = [
    pytest.param("pair", TRAIN, id="short"),
    pytest.param("longer_pair", LONGER, id="longer", marks=pytest.mark.chaos),
]


def started(place, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "XDG_STATE_HOME": str(place / "state")}
    command = [sys.executable, "-m", "kerastrain", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def launched(place, *arguments):
    """What `kerastrain launch` says of two workers, or as many as `arguments` tell, who must end well."""
    process = started(place, "launch", "--workers", 2, *arguments)
    words, _ = process.communicate(timeout=300)
    assert process.returncode == 0, words
    return words


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
    processes.kerastrain(place, *TRAIN, "runtime.strategy=mirrored", "runtime.devices=2", "--run", "mirrored")
    assert_equal(place / "mirrored", place / "alone", TOLERANCE)


@pytest.mark.equality
@pytest.mark.parametrize(
    ("start", "options"),
    [
        (processes.kerastrain, ["runtime.strategy=mirrored", "runtime.devices=2"]),
        (launched, ["runtime.strategy=multi_worker", "runtime.all_reduce=ring"]),
    ],
    ids=["mirrored", "processes in a ring"],
)
def test_several_steps_in_one_execution_end_with_the_weights_of_single_ones(place, start, options):
    # Three batches of validation, which two steps do not divide.
    run = place / f"steps_{start.__name__}"
    start(place, *TRAIN, "fit.steps_per_execution=2", "evaluation.batch_size=6", *options, "--run", run)
    assert_equal(run, place / "alone", TOLERANCE)


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.equality)])
def test_processes_end_with_the_weights_of_one_and_the_chief_alone_speaks_and_writes(place, workers, request):
    run = place / ("pair" if workers == 2 else "three")
    words = request.getfixturevalue("pair") if workers == 2 else launched(place, "--workers", 3, *TRAIN, "--run", run)
    assert "block access to their ports (127.0.0.1:" in words
    assert_equal(run, place / "alone", TOLERANCE)
    others = [line for line in words.splitlines() if line.startswith("[") and not line.startswith("[0]")]
    assert not any("epoch" in line and "loss" in line for line in others)
    assert {path.name for path in run.iterdir()} == {path.name for path in (place / "alone").iterdir()}


def _pids(process):
    """The worker processes that a launcher has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def _newest(run):
    """The number of the newest checkpoint."""
    return max((int(path.parent.name) for path in run.glob("checkpoints/resume/[0-9]*/manifest.json")), default=0)


def _wait(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("undisturbed", "arguments"), UNDISTURBED)
def test_workers_that_are_ended_several_times_lose_nothing(place, undisturbed, arguments, request):
    """Killed, or stopped by their cluster: all start again from the last saved state and end with the same bits.

    The short one is killed once; the test of the launcher below shows that workers save when they are stopped.
    """
    request.getfixturevalue(undisturbed)
    kills = {"pair": 1, "longer_pair": 10}[undisturbed]
    run, seen, words, dice = place / f"ended_{kills}", 0, [], random.Random(0)
    process = started(place, "launch", "--workers", 2, "--restarts", kills, *arguments, "--run", run)
    reader = threading.Thread(target=lambda: words.extend(process.stdout), daemon=True)
    reader.start()  # or the pipe would fill up
    for number in range(kills):
        _wait(lambda seen=seen: _newest(run) > seen or process.poll() is not None)
        time.sleep(dice.uniform(0, 0.1))
        seen = _newest(run)
        os.kill(dice.choice(_pids(process)), signal.SIGTERM if number == 5 else signal.SIGKILL)
        _wait(lambda number=number: sum("; restart " in line for line in words) > number)
    assert process.wait(timeout=300) == 0, "".join(words)
    assert sum("; restart " in line for line in words) == kills
    assert_equal(run, place / undisturbed, 0.0)


def test_a_launcher_that_is_told_to_stop_saves_and_says_that_it_can_be_resumed(place):
    run = place / "stopped"
    process = started(place, "launch", "--workers", 2, *TRAIN, "fit.epochs=30", "--run", run)
    _wait(lambda: _newest(run) > 1)
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
        # Nothing listens there, and no route leads there (RFC 5737).
        (
            '{"cluster": {"worker": ["127.0.0.1:4713", "127.0.0.1:1", "192.0.2.1:4713"]}, '
            '"task": {"type": "worker", "index": 0}}',
            "worker 0 could not reach worker 1 at 127.0.0.1:1, worker 2 at 192.0.2.1:4713 within 3 seconds",
        ),
        ('{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 7}}', "index 7"),
    ],
)
def test_a_wrong_cluster_is_one_sentence(place, monkeypatch, environment, sentence):
    monkeypatch.setenv("TF_CONFIG", environment)
    command = [sys.executable, "-m", "kerastrain", *TRAIN, "runtime.start_timeout_seconds=3", "--resume", "wrong"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (place / "wrong").exists()


@pytest.fixture
def two_hosts():
    """Two network namespaces with a cable between them; gives how a command runs on each, and how the cable is cut."""
    if os.getuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and `ip` (Debian: iproute2)")
    names = [f"kt{os.getpid()}a", f"kt{os.getpid()}b"]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)

    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for number, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.99.0.{number + 1}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
        yield (
            [["ip", "netns", "exec", name] for name in names],
            lambda how: ip("-n", names[0], "link", "set", names[0], how),
        )
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=10)


@pytest.mark.chaos
@pytest.mark.parametrize(("undisturbed", "arguments"), UNDISTURBED)
def test_a_cut_cable_ends_both_workers_and_started_again_they_end_bit_equal(
    place, undisturbed, arguments, two_hosts, request
):
    request.getfixturevalue(undisturbed)
    hosts, cable = two_hosts
    run = place / f"cut_{undisturbed}"
    addresses = ["10.99.0.1:4711", "10.99.0.2:4711"]
    command = [sys.executable, "-m", "kerastrain", *arguments, "runtime.strategy=multi_worker", "--resume", run.name]

    def workers():
        for index, host in enumerate(hosts):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""}
            environment["XDG_STATE_HOME"] = str(place / "state")
            options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            yield subprocess.Popen([*host, *command], cwd=place, env=environment, **options)

    def ended(two):
        words = [worker.communicate(timeout=300)[0] for worker in two]
        return [worker.returncode for worker in two], "\n".join(words)

    first = list(workers())
    _wait(lambda: _newest(run) > 2)
    cable("down")
    codes, words = ended(first)
    assert codes == [75, 75], words
    assert "Traceback" not in words
    cable("up")
    codes, words = ended(list(workers()))
    assert codes == [0, 0], words
    assert_equal(run, place / undisturbed, 0.0)
